#include "tools/predict/serving.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace foretoken::predict {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kMost = 1 << 24;

class Server {
 public:
  Server(const ServingCase& serving, Predictor& predictor) : of_(serving), predictor_(predictor) {}

  sim::Estimate tpot() {
    const auto between = static_cast<double>(of_.concurrency - 1) / static_cast<double>(of_.osl);
    sim::Estimate all;
    all.provenance = Provenance::measured;
    all.time = decode_step() + between * prefill();
    all.provenance = provenance_;
    return all;
  }

 private:
  Seconds ask(Json op) {
    op["dtype"] = name_of(of_.dtype);
    if (!of_.framework.empty()) op["framework"] = of_.framework;
    const sim::Estimate answer = predictor_(read_op(JsonDocument::from_text(op.dump(), "serving").root()));
    provenance_ = worst(provenance_, answer.provenance);
    return answer.time;
  }

  Seconds gemm(std::int64_t m, std::int64_t n, std::int64_t k) {
    return ask({{"op", "gemm"}, {"m", m}, {"n", n}, {"k", k}});
  }

  Seconds mlp(std::int64_t tokens) {
    if (of_.experts == 0)
      return gemm(tokens, 2 * of_.ffn / of_.tp, of_.hidden) + gemm(tokens, of_.hidden, of_.ffn / of_.tp);
    return ask({{"op", "moe_module"},
                {"tokens", tokens},
                {"hidden", of_.hidden},
                {"expert_hidden", of_.ffn},
                {"experts", of_.experts},
                {"top_k", of_.top_k},
                {"ep", of_.moe_ep},
                {"tp", of_.tp / of_.moe_ep},
                {"distribution", "uniform"}});
  }

  Seconds all_reduce(std::int64_t tokens) {
    if (of_.tp == 1) return Seconds(0);
    constexpr std::int64_t activation_bytes = 2;  // bf16, whatever the weights are
    Json op{{"op", "all_reduce"}, {"ranks", of_.tp}, {"bytes", tokens * of_.hidden * activation_bytes}};
    const sim::Estimate answer = predictor_(read_op(JsonDocument::from_text(op.dump(), "serving").root()));
    provenance_ = worst(provenance_, answer.provenance);
    return answer.time;
  }

  Seconds attention(const char* op, std::int64_t batch, std::int64_t context) {
    const std::int64_t kv_heads = of_.kv_heads < of_.tp ? 1 : of_.kv_heads / of_.tp;  // fewer are copied
    return ask({{"op", op},
                {"batch", batch},
                {"context", context},
                {"heads", of_.heads / of_.tp},
                {"kv_heads", kv_heads},
                {"head_dim", of_.head_dim},
                {"kv_dtype", "bf16"},
                {"kv", "cold"}});
  }

  Seconds layers(std::int64_t tokens, Seconds attention) {
    const std::int64_t kv_heads = of_.kv_heads < of_.tp ? 1 : of_.kv_heads / of_.tp;
    const Seconds qkv = gemm(tokens, (of_.heads / of_.tp + 2 * kv_heads) * of_.head_dim, of_.hidden);
    const Seconds output = gemm(tokens, of_.hidden, of_.heads / of_.tp * of_.head_dim);
    return static_cast<double>(of_.layers) * (qkv + attention + output + mlp(tokens) + 2.0 * all_reduce(tokens));
  }

  Seconds head(std::int64_t tokens) { return gemm(tokens, of_.vocab / of_.tp, of_.hidden); }

  Seconds decode_step() {
    const std::int64_t context = of_.isl + of_.osl / 2;
    return layers(of_.concurrency, attention("attention_decode", of_.concurrency, context)) + head(of_.concurrency);
  }

  Seconds prefill() { return layers(of_.isl, attention("attention_prefill", 1, of_.isl)) + head(1); }

  const ServingCase& of_;
  Predictor& predictor_;
  Provenance provenance_ = Provenance::measured;
};

}  // namespace

ServingCase read_serving_case(const JsonReader& line) {
  JsonObject whole(line);
  ServingCase serving;
  if (const auto framework = whole.optional("framework")) serving.framework = framework->as_string();
  JsonObject object(whole.require("serving"));
  const auto count = [&](const char* key, std::int64_t least) { return object.require(key).as_integer(least, kMost); };
  const auto count_or = [&](const char* key, std::int64_t otherwise) {
    const auto place = object.optional(key);
    return place ? place->as_integer(1, kMost) : otherwise;
  };
  serving.layers = count("layers", 1);
  serving.hidden = count("hidden", 1);
  serving.heads = count("heads", 1);
  serving.kv_heads = count("kv_heads", 1);
  serving.head_dim = count("head_dim", 1);
  serving.vocab = count("vocab", 1);
  serving.ffn = count("ffn", 1);
  serving.experts = count_or("experts", 0);
  serving.top_k = count_or("top_k", 0);
  serving.tp = count_or("tp", 1);
  serving.moe_ep = count_or("moe_ep", 1);
  serving.concurrency = count("concurrency", 1);
  serving.isl = count("isl", 1);
  serving.osl = count("osl", 2);
  serving.dtype = object.require("dtype").as_enum(kDTypeNames);
  const JsonReader place = object.place();
  object.finish();
  if ((serving.experts == 0) != (serving.top_k == 0))
    place.fail("a mixture of experts has experts and top_k, a dense model neither", "write both, or none");
  if (serving.vocab < serving.tp)
    place.fail(fmt::format("{} ranks share a vocabulary of {}", serving.tp, serving.vocab), "write the model's own");
  if (serving.heads % serving.tp != 0 || serving.ffn % serving.tp != 0 || serving.tp % serving.moe_ep != 0)
    place.fail("tp does not divide heads and ffn, or moe_ep does not divide tp",
               "write a deployment that fits the model");
  return serving;
}

sim::Estimate predict_serving(const ServingCase& serving, Predictor& predictor) {
  return Server(serving, predictor).tpot();
}

}  // namespace foretoken::predict
