#include "plan/scenario/read_model.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "core/schema_header.hpp"
#include "plan/scenario/hf_config.hpp"
#include "plan/scenario/limits.hpp"
#include "plan/scenario/names.hpp"

namespace foretoken::plan {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kWindowMax = kContextMax;

std::int64_t integer(JsonObject& object, std::string_view key, std::int64_t min, std::int64_t max) {
  return object.require(key).as_integer(min, max);
}

std::int64_t integer_or(JsonObject& object, std::string_view key, std::int64_t min, std::int64_t max,
                        std::int64_t otherwise) {
  const auto place = object.optional(key);
  return place ? place->as_integer(min, max) : otherwise;
}

LatentAttention read_latent(const JsonReader& place) {
  JsonObject object(place);
  LatentAttention latent;
  latent.kv_rank = integer(object, "kv_rank", 1, kHiddenMax);
  latent.q_rank = integer_or(object, "q_rank", 0, kHiddenMax, 0);
  latent.nope_dim = integer(object, "nope_dim", 1, kHeadDimMax);
  latent.rope_dim = integer(object, "rope_dim", 1, kHeadDimMax);
  latent.value_dim = integer(object, "value_dim", 1, kHeadDimMax);
  object.finish();
  return latent;
}

AttentionIndex read_index(const JsonReader& place) {
  JsonObject object(place);
  AttentionIndex index;
  index.heads = integer(object, "heads", 1, kHeadsMax);
  index.head_dim = integer(object, "head_dim", 1, kHeadDimMax);
  index.top_k = integer(object, "top_k", 1, kContextMax);
  object.finish();
  return index;
}

AttentionWindow read_window(const JsonReader& place, std::int64_t layers) {
  JsonObject object(place);
  AttentionWindow window;
  window.tokens = integer(object, "tokens", 1, kWindowMax);
  if (const auto chunked = object.optional("chunked")) window.chunked = chunked->as_bool();
  const auto every = object.optional("full_every");
  const auto listed = object.optional("full_layers");
  if (every && listed) listed->fail("full_every is given too", "remove one of them");
  if (every)
    for (std::int64_t layer = every->as_integer(2, kLayersMax); layer <= layers;
         layer += every->as_integer(2, kLayersMax))
      window.full_layers.push_back(layer - 1);
  if (listed) {
    window.full_layers = listed->as_integers(0, static_cast<std::size_t>(kLayersMax), 0, kLayersMax - 1);
    for (std::size_t i = 0; i < window.full_layers.size(); ++i)
      if (window.full_layers[i] >= layers || (i > 0 && window.full_layers[i] <= window.full_layers[i - 1]))
        listed->fail(fmt::format("{} is no list of layers", listed->shown()),
                     fmt::format("write numbers from 0 to {}, each larger than the one before", layers - 1));
  }
  object.finish();
  return window;
}

void read_attention(JsonObject& object, ModelSpec& model) {
  model.heads = integer(object, "heads", 1, kHeadsMax);
  const auto kv_heads = object.optional("kv_heads");
  if (const auto latent = object.optional("latent")) {
    model.latent = read_latent(*latent);
    for (const char* key : {"kv_heads", "head_dim"})
      if (const auto unused = object.optional(key))
        unused->fail(fmt::format("{} is given beside latent attention", key), "remove it: all heads share one latent");
    model.kv_heads = 1;
    model.head_dim = model.latent->nope_dim + model.latent->rope_dim;
  } else {
    model.kv_heads = kv_heads ? kv_heads->as_integer(1, kHeadsMax) : model.heads;
    if (model.heads % model.kv_heads != 0)
      kv_heads->fail(fmt::format("{} does not divide the number of heads, {}", model.kv_heads, model.heads),
                     fmt::format("write a divisor of {}", model.heads));
    model.head_dim = integer(object, "head_dim", 1, kHeadDimMax);
  }
  if (const auto index = object.optional("index")) {
    model.index = read_index(*index);
    if (!model.latent || model.latent->q_rank == 0)
      index->fail("an index is given without latent attention that has a q_rank",
                  "remove it, or give latent: the index's queries are made from that latent");
  }
  if (const auto window = object.optional("window")) model.window = read_window(*window, model.layers);
}

void read_mlp(JsonObject& object, ModelSpec& model) {
  model.experts = integer(object, "experts", 1, kExpertsMax);
  model.top_k = integer(object, "top_k", 1, kExpertsMax);
  if (model.top_k > model.experts)
    object.require("top_k").fail(fmt::format("{} is more than the {} experts", model.top_k, model.experts),
                                 "a token goes to distinct experts: write at most their number");
  model.expert_hidden = integer(object, "expert_hidden", 1, kExpertHiddenMax);
  model.gated = object.require("gated").as_bool();
  model.shared_experts = integer_or(object, "shared_experts", 0, kSharedExpertsMax, 0);
  model.dense_layers = integer_or(object, "dense_layers", 0, model.layers, 0);
  model.moe_every = integer_or(object, "moe_every", 1, kLayersMax, 1);
  if (model.moe_every > model.layers)
    object.require("moe_every")
        .fail(fmt::format("{} is more than the {} layers", model.moe_every, model.layers),
              "write at most their number: no layer would have experts");
  if (model.dense_layers > 0 || model.moe_every > 1) {
    model.dense_hidden = integer(object, "dense_hidden", 1, kExpertHiddenMax);
  } else if (const auto unused = object.optional("dense_hidden")) {
    unused->fail("dense_hidden is given but no layer is dense", "remove it, or give dense_layers");
  }
}

void read_dtypes(const JsonReader& place, ModelSpec& model) {
  JsonObject dtypes(place);
  const auto choice_or = [&](std::string_view key, const auto& names, auto otherwise) {
    const auto given = dtypes.optional(key);
    return given ? given->as_enum(names) : otherwise;
  };
  model.weight_dtype = choice_or("weights", kFloatTypeNames, DType::fp16);
  model.activation_dtype = choice_or("activations", kFloatTypeNames, model.weight_dtype);
  model.kv_dtype = choice_or("kv_cache", kFloatTypeNames, model.activation_dtype);
  model.dispatch_dtype = choice_or("dispatch", kFloatTypeNames, model.activation_dtype);
  model.expert_format = choice_or("experts", kExpertFormatNames, WeightFormat{model.weight_dtype, Packing::none});
  if (model.expert_format.packing != Packing::none) model.expert_format.dtype = model.activation_dtype;
  dtypes.finish();
}

ModelSpec read_members(JsonObject& object) {
  ModelSpec model;
  model.name = object.require("name").as_string();
  model.layers = integer(object, "layers", 1, kLayersMax);
  model.hidden = integer(object, "hidden", 1, kHiddenMax);
  read_attention(object, model);
  read_mlp(object, model);
  model.vocabulary = integer_or(object, "vocabulary", 1, kVocabularyMax, 0);
  if (const auto tied = object.optional("tied_embeddings")) {
    model.tied_embeddings = tied->as_bool();
    if (model.vocabulary == 0) tied->fail("there is no vocabulary to embed", "remove it, or give vocabulary");
  }
  read_dtypes(object.require("dtype"), model);
  return model;
}

// The file that a model names by "file" or "hf", in our own words.
Json base_of(const JsonReader& named, bool hf) {
  const std::filesystem::path path = (named.directory() / named.as_string()).lexically_normal();
  std::error_code status;
  if (!std::filesystem::is_regular_file(path, status))
    named.fail(fmt::format("there is no file {}", path.string()),
               hf ? "name the config.json of a model, relative to this file"
                  : "name a file of kind \"model\", relative to this one");
  return to_json(hf ? read_hf_config(path).model : read_model_file(JsonDocument::from_file(path)));
}

}  // namespace

ModelSpec read_model(const JsonReader& place) {
  JsonObject object(place);
  for (const char* key : {"file", "hf"})
    if (const auto named = object.optional(key))
      named->fail(fmt::format("{} names a file of a model", key), "write the model out here");
  ModelSpec model = read_members(object);
  object.finish();
  return model;
}

ModelSpec read_model_file(const JsonDocument& document) {
  JsonObject root(document.root());
  read_schema_header(root, "model", 1);
  if (const auto about = root.optional("about")) static_cast<void>(about->as_string(true));
  static_cast<void>(root.require("source").as_string());
  ModelSpec model = read_members(root);
  root.finish();
  return model;
}

ModelSpec read_scenario_model(const JsonReader& place, const std::string& scenario) {
  JsonObject object(place);
  const auto file = object.optional("file");
  const auto hf = object.optional("hf");
  if (!file && !hf) return read_model(place);
  if (file && hf) hf->fail("file is given too", "remove one of them");
  Json model = base_of(file ? *file : *hf, hf.has_value());
  for (const auto& [key, value] : place.json().items()) {
    if (key == "file" || key == "hf") continue;
    if (value.is_null()) model.erase(key);  // --set model.index=null
    else if (key == "dtype" && value.is_object()) model[key].update(value);
    else model[key] = value;
  }
  // Under the scenario's own name and pointer, so that errors lead to what stands there.
  const JsonDocument merged = JsonDocument::from_text(Json{{"model", std::move(model)}}.dump(), scenario);
  JsonObject root(merged.root());
  return read_model(root.require("model"));
}

Json to_json(const ModelSpec& model) {
  Json json{{"name", model.name},
            {"layers", model.layers},
            {"hidden", model.hidden},
            {"heads", model.heads},
            {"experts", model.experts},
            {"top_k", model.top_k},
            {"expert_hidden", model.expert_hidden},
            {"gated", model.gated}};
  if (const auto& latent = model.latent) {
    json["latent"] = {{"kv_rank", latent->kv_rank},
                      {"q_rank", latent->q_rank},
                      {"nope_dim", latent->nope_dim},
                      {"rope_dim", latent->rope_dim},
                      {"value_dim", latent->value_dim}};
  } else {
    json["kv_heads"] = model.kv_heads;
    json["head_dim"] = model.head_dim;
  }
  if (const auto& index = model.index)
    json["index"] = {{"heads", index->heads}, {"head_dim", index->head_dim}, {"top_k", index->top_k}};
  if (const auto& window = model.window)
    json["window"] = {{"tokens", window->tokens}, {"chunked", window->chunked}, {"full_layers", window->full_layers}};
  if (model.shared_experts > 0) json["shared_experts"] = model.shared_experts;
  if (model.dense_layers > 0) json["dense_layers"] = model.dense_layers;
  if (model.moe_every > 1) json["moe_every"] = model.moe_every;
  if (model.dense_hidden > 0) json["dense_hidden"] = model.dense_hidden;
  if (model.vocabulary > 0) {
    json["vocabulary"] = model.vocabulary;
    json["tied_embeddings"] = model.tied_embeddings;
  }
  const WeightFormat& experts = model.expert_format;
  json["dtype"] = {
      {"weights", foretoken::name_of(model.weight_dtype)},
      {"activations", foretoken::name_of(model.activation_dtype)},
      {"kv_cache", foretoken::name_of(model.kv_dtype)},
      {"dispatch", foretoken::name_of(model.dispatch_dtype)},
      {"experts", experts.packing == Packing::none ? foretoken::name_of(experts.dtype) : name_of(experts.packing)}};
  return json;
}

}  // namespace foretoken::plan
