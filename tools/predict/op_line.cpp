#include "tools/predict/op_line.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "plan/machine/limits.hpp"

namespace foretoken::predict {
namespace {

// Far beyond any kernel, and products of a few of them fit in 64 bits.
constexpr std::int64_t kDimensionMax = std::int64_t{1} << 31;
constexpr std::int64_t kWidthMax = std::int64_t{1} << 20;
constexpr std::int64_t kTokensMax = std::int64_t{1} << 24;
constexpr std::int64_t kExpertsMax = std::int64_t{1} << 16;
constexpr std::int64_t kTopKMax = 4096;
constexpr std::int64_t kRanksMax = plan::kGpusMax;
constexpr std::int64_t kBytesMax = std::int64_t{1} << 50;
constexpr std::int64_t kSmsMax = 1024;

enum class Op : std::uint8_t {
  gemm,
  grouped_gemm,
  attention_decode,
  attention_prefill,
  mla_decode,
  mla_prefill,
  moe_module,
  all_reduce,
  all_gather,
  reduce_scatter,
  all_to_all,
  send_recv,
  dispatch,
  combine
};

constexpr std::array<std::pair<Op, std::string_view>, 14> kOpNames{{{Op::gemm, "gemm"},
                                                                    {Op::grouped_gemm, "grouped_gemm"},
                                                                    {Op::attention_decode, "attention_decode"},
                                                                    {Op::attention_prefill, "attention_prefill"},
                                                                    {Op::mla_decode, "mla_decode"},
                                                                    {Op::mla_prefill, "mla_prefill"},
                                                                    {Op::moe_module, "moe_module"},
                                                                    {Op::all_reduce, "all_reduce"},
                                                                    {Op::all_gather, "all_gather"},
                                                                    {Op::reduce_scatter, "reduce_scatter"},
                                                                    {Op::all_to_all, "all_to_all"},
                                                                    {Op::send_recv, "send_recv"},
                                                                    {Op::dispatch, "dispatch"},
                                                                    {Op::combine, "combine"}}};

// Ours first, which messages propose, then PyTorch's.
constexpr std::array<std::pair<DType, std::string_view>, 9> kDTypeWords{{{DType::bf16, "bf16"},
                                                                         {DType::fp16, "fp16"},
                                                                         {DType::fp8, "fp8"},
                                                                         {DType::fp32, "fp32"},
                                                                         {DType::int32, "int32"},
                                                                         {DType::bf16, "bfloat16"},
                                                                         {DType::fp16, "float16"},
                                                                         {DType::fp16, "half"},
                                                                         {DType::fp32, "float32"}}};

constexpr std::array<std::pair<sim::Residency, std::string_view>, 2> kResidencyNames{
    {{sim::Residency::repeated, "repeated"}, {sim::Residency::cold, "cold"}}};

// What is left of a key when nobody cares how it is written.
std::string simplified(std::string_view key) {
  std::string plain;
  for (const char c : key)
    if (std::isalnum(static_cast<unsigned char>(c)) != 0)
      plain += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (plain.size() > 1 && plain.back() == 's') plain.pop_back();
  return plain;
}

// The members of a line, and which of them the op may have.
class Members {
 public:
  explicit Members(const JsonReader& line) : object_(line) {}

  std::int64_t integer(std::string_view key, std::int64_t max, std::int64_t min = 1) {
    return object_.require(key).as_integer(min, max);
  }
  std::int64_t integer_or(std::string_view key, std::int64_t otherwise, std::int64_t max) {
    const auto member = optional(key);
    return member ? member->as_integer(1, max) : otherwise;
  }
  template <class Names>
  auto name_or(std::string_view key, typename Names::value_type::first_type otherwise, const Names& names) {
    const auto member = optional(key);
    return member ? member->as_enum(names) : otherwise;
  }
  DType dtype_or(std::string_view key, DType otherwise) { return name_or(key, otherwise, kDTypeWords); }
  std::optional<JsonReader> optional(std::string_view key) {
    optional_.push_back(key);
    return object_.optional(key);
  }
  JsonReader require(std::string_view key) { return object_.require(key); }
  [[nodiscard]] bool has(std::string_view key) const { return object_.has(key); }
  [[noreturn]] void fail(std::string_view key, const std::string& found, const std::string& expected) {
    require(key).fail(found, expected);
  }

  void refuse_misspelt() const {
    for (const auto& item : object_.place().json().items())
      for (const std::string_view known : optional_)
        if (item.key() != known && !has(known) && simplified(item.key()) == simplified(known))
          object_.place().fail(fmt::format("the key \"{}\" is not known", item.key()),
                               fmt::format("did you mean \"{}\"?", known));
  }

 private:
  JsonObject object_;
  std::vector<std::string_view> optional_;
};

Gemm read_gemm(Members& line) {
  return {line.integer("m", kDimensionMax), line.integer("n", kDimensionMax), line.integer("k", kDimensionMax)};
}

GroupedGemm read_grouped_gemm(Members& line) {
  const std::string_view key = line.has("rows_per_expert") ? "rows_per_expert" : "rows";
  return {line.require(key).as_integers(1, kExpertsMax, 0, kDimensionMax), line.integer("n", kDimensionMax),
          line.integer("k", kDimensionMax)};
}

// All but heads and their dimensions.
Attention read_sequences(Members& line, sim::AttentionPhase phase, DType dtype) {
  Attention attention;
  attention.phase = phase;
  sim::AttentionShape& shape = attention.shape;
  shape.batch = line.integer("batch", kDimensionMax);
  shape.context = line.integer("context", kDimensionMax);
  shape.query = 1;
  if (phase == sim::AttentionPhase::prefill) {
    shape.query = line.integer_or("query", shape.context, kDimensionMax);
    if (shape.query > shape.context)
      line.fail("query", fmt::format("{} new tokens are more than the context, {}", shape.query, shape.context),
                "count the new tokens in the context too");
  }
  shape.dtype = dtype;
  shape.kv_dtype = line.dtype_or("kv_dtype", dtype);
  shape.kv = line.name_or("kv", sim::Residency::repeated, kResidencyNames);
  return attention;
}

Attention read_attention(Members& line, sim::AttentionPhase phase, DType dtype) {
  Attention attention = read_sequences(line, phase, dtype);
  sim::AttentionShape& shape = attention.shape;
  shape.heads = line.integer("heads", kWidthMax);
  shape.kv_heads = line.integer("kv_heads", kWidthMax);
  shape.head_dim = line.integer("head_dim", kWidthMax);
  if (shape.heads % shape.kv_heads != 0)
    line.fail("kv_heads", fmt::format("{} heads do not share {} KV heads evenly", shape.heads, shape.kv_heads),
              "write a divisor of heads");
  return attention;
}

// See attention_roofline: with its projections absorbed, all heads share the latent; expanded, every head has keys and
// values of its own.
Attention read_latent_attention(Members& line, sim::AttentionPhase phase, DType dtype) {
  Attention attention = read_sequences(line, phase, dtype);
  sim::AttentionShape& shape = attention.shape;
  shape.heads = line.integer("heads", kWidthMax);
  const std::int64_t rank = line.integer_or("kv_lora_rank", 512, kWidthMax);
  const std::int64_t rope = line.integer_or("qk_rope_head_dim", 64, kWidthMax);
  const std::int64_t nope = line.integer_or("qk_nope_head_dim", 128, kWidthMax);
  const std::int64_t value = line.integer_or("v_head_dim", 128, kWidthMax);
  const auto absorbed = line.optional("absorbed");
  shape.latent = absorbed ? absorbed->as_bool() : phase == sim::AttentionPhase::decode;
  shape.kv_heads = shape.latent ? 1 : shape.heads;
  shape.head_dim = rope + (shape.latent ? rank : nope);
  shape.value_dim = shape.latent ? rank : value;
  return attention;
}

sim::ExpertLoad read_distribution(Members& line) {
  const auto member = line.optional("distribution");
  if (!member) return {};
  const std::string name = member->as_string();
  if (name == "balanced") return {};
  if (name == "uniform") return {sim::ExpertLoad::Kind::uniform, 0};
  constexpr std::string_view power_law = "power_law_";
  if (name.starts_with(power_law)) {
    sim::ExpertLoad load{sim::ExpertLoad::Kind::power_law, 0};
    const char* const end = name.data() + name.size();
    const auto [rest, status] = std::from_chars(name.data() + power_law.size(), end, load.exponent);
    if (status == std::errc() && rest == end && load.exponent > 0 && load.exponent <= 64) return load;
  }
  member->fail(fmt::format("{} is not known", member->shown()),
               "write balanced, uniform, or for example power_law_1.2 (an exponent up to 64)");
}

MoeModule read_moe_module(Members& line, DType dtype) {
  MoeModule moe;
  moe.load = read_distribution(line);
  moe.ep = line.integer_or("ep", 1, kExpertsMax);
  const std::int64_t tp = line.integer_or("tp", 1, kRanksMax);
  sim::MoeModule& module = moe.module;
  module.tokens = line.integer("tokens", kTokensMax);
  module.hidden = line.integer("hidden", kWidthMax);
  module.expert_hidden = line.integer("expert_hidden", kWidthMax);
  module.experts = line.integer("experts", kExpertsMax);
  module.top_k = line.integer("top_k", kTopKMax);
  module.dtype = dtype;
  const auto gated = line.optional("gated");
  module.gated = !gated || gated->as_bool();
  if (module.expert_hidden % tp != 0)
    line.fail("tp", fmt::format("{} does not divide the experts' width, {}", tp, module.expert_hidden),
              "write a divisor of expert_hidden");
  module.expert_hidden /= tp;
  if (module.experts % moe.ep != 0)
    line.fail("ep", fmt::format("{} experts are spread unevenly over {} GPUs", module.experts, moe.ep),
              "write a divisor of experts");
  if (module.top_k > module.experts)
    line.fail("top_k", fmt::format("a token cannot have {} of {} experts", module.top_k, module.experts),
              "write at most as many as there are experts");
  return moe;
}

template <class Algorithms>
std::string algorithm_among(Members& line, const Algorithms& algorithms) {
  const auto member = line.optional("algorithm");
  if (!member || member->json() == "auto") return "auto";
  return std::string(name_of(member->as_enum(algorithms)));
}

Communication read_communication(Members& line, collective::Operation op, DType dtype) {
  const bool exchange = collective::is_exchange(op);
  Communication communication;
  collective::Query& query = communication.query;
  query.op = op;
  query.dtype = dtype;
  const std::string_view who = exchange ? "ep" : "ranks";
  query.ranks = static_cast<std::int32_t>(line.integer(who, kRanksMax));
  communication.nodes = line.integer_or("nodes", 0, plan::kNodesMax);
  if (communication.nodes > 0 && query.ranks % communication.nodes != 0)
    line.fail("nodes", fmt::format("{} ranks are spread unevenly over {} nodes", query.ranks, communication.nodes),
              fmt::format("write a divisor of {}", who));
  if (!exchange) {
    query.sizes = {line.integer("bytes", kBytesMax)};
    if (collective::is_collective(op)) query.algorithm = algorithm_among(line, kCollectiveAlgorithmNames);
    else if (op == collective::Operation::all_to_all) query.algorithm = algorithm_among(line, kAllToAllAlgorithmNames);
    return communication;
  }
  query.sizes = {line.integer("tokens", kTokensMax)};
  query.algorithm = algorithm_among(line, kExchangeAlgorithmNames);
  collective::ExchangeShape& shape = query.exchange;
  shape.hidden = static_cast<int>(line.integer("hidden", kWidthMax));
  shape.top_k = static_cast<int>(line.integer("top_k", kTopKMax));
  shape.experts = static_cast<int>(line.integer("experts", kWidthMax));
  shape.sms = static_cast<int>(line.integer_or("sms", shape.sms, kSmsMax));
  if (shape.experts % query.ranks != 0)
    line.fail("ep", fmt::format("{} experts are spread unevenly over {} ranks", shape.experts, query.ranks),
              "write a divisor of experts");
  if (shape.top_k > shape.experts)
    line.fail("top_k", fmt::format("a token cannot have {} of {} experts", shape.top_k, shape.experts),
              "write at most as many as there are experts");
  return communication;
}

}  // namespace

OpLine read_op(const JsonReader& place) {
  Members line(place);
  OpLine result;
  const Op op = line.require("op").as_enum(kOpNames);
  result.op = kOpNames[static_cast<std::size_t>(op)].second;
  result.dtype = line.dtype_or("dtype", op == Op::dispatch ? DType::fp8 : DType::bf16);
  if (const auto framework = line.optional("framework")) result.framework = framework->as_string();
  using collective::Operation;
  const auto communication = [&](Operation which) { return read_communication(line, which, result.dtype); };
  switch (op) {
    case Op::gemm: result.shape = read_gemm(line); break;
    case Op::grouped_gemm: result.shape = read_grouped_gemm(line); break;
    case Op::attention_decode: result.shape = read_attention(line, sim::AttentionPhase::decode, result.dtype); break;
    case Op::attention_prefill: result.shape = read_attention(line, sim::AttentionPhase::prefill, result.dtype); break;
    case Op::mla_decode: result.shape = read_latent_attention(line, sim::AttentionPhase::decode, result.dtype); break;
    case Op::mla_prefill: result.shape = read_latent_attention(line, sim::AttentionPhase::prefill, result.dtype); break;
    case Op::moe_module: result.shape = read_moe_module(line, result.dtype); break;
    case Op::all_reduce: result.shape = communication(Operation::all_reduce); break;
    case Op::all_gather: result.shape = communication(Operation::all_gather); break;
    case Op::reduce_scatter: result.shape = communication(Operation::reduce_scatter); break;
    case Op::all_to_all: result.shape = communication(Operation::all_to_all); break;
    case Op::send_recv: result.shape = communication(Operation::send_recv); break;
    case Op::dispatch: result.shape = communication(Operation::dispatch); break;
    case Op::combine: result.shape = communication(Operation::combine); break;
  }
  line.refuse_misspelt();
  return result;
}

}  // namespace foretoken::predict
