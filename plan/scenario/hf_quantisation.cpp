#include "plan/scenario/hf_quantisation.hpp"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

namespace foretoken::plan {
namespace {

enum class Method : std::uint8_t { fp8, mxfp4, compressed_tensors, modelopt };
constexpr std::array<std::pair<Method, std::string_view>, 4> kMethodNames{
    {{Method::fp8, "fp8"},
     {Method::mxfp4, "mxfp4"},
     {Method::compressed_tensors, "compressed-tensors"},
     {Method::modelopt, "modelopt"}}};

enum class Algorithm : std::uint8_t { fp8, nvfp4 };
constexpr std::array<std::pair<Algorithm, std::string_view>, 2> kAlgorithmNames{
    {{Algorithm::fp8, "FP8"}, {Algorithm::nvfp4, "NVFP4"}}};

constexpr std::array<std::pair<Packing, std::string_view>, 2> kExpertTypeNames{
    {{Packing::none, "fp8"}, {Packing::mxfp4, "fp4"}}};

// Whether a list of excluded modules names attention: then what is quantised is the experts.
bool excludes_attention(JsonObject& object, HfKeys::Names keys) {
  for (const std::string_view key : keys)
    if (const auto list = object.optional(key); list && list->is_array())
      for (const JsonReader& module : list->as_array(0, 100'000))
        if (module.as_string(true).find("attn") != std::string::npos) return true;
  return false;
}

void store(ModelSpec& model, WeightFormat format, bool experts_alone, const JsonReader& place) {
  model.expert_format = format;
  if (experts_alone) return;
  if (format.packing != Packing::none)
    place.fail("4-bit weights of attention are not known to foretoken",
               "choose a checkpoint that excludes attention from quantisation");
  model.weight_dtype = format.dtype;
}

void read_compressed_tensors(JsonObject& object, ModelSpec& model) {
  JsonObject groups(object.require("config_groups"));
  const auto members = groups.members();
  if (members.empty()) groups.place().fail("there is no group", "add one");
  JsonObject group(members.front().second);
  JsonObject weights(group.require("weights"));
  const JsonReader bits = weights.require("num_bits");
  const bool is_float = weights.require("type").as_string() == "float";
  const bool experts_alone = excludes_attention(object, {"ignore"});
  const auto size = weights.optional("group_size");
  if (bits.as_integer(1, 64) == 8 && is_float) return store(model, {DType::fp8, Packing::none}, experts_alone, bits);
  if (bits.as_integer(1, 64) != 4)
    bits.fail(fmt::format("{}-bit {} weights are not known to foretoken", bits.shown(), is_float ? "float" : "integer"),
              "known are 8-bit floats and 4 bits");
  const bool wide = size && !size->json().is_null() && size->as_integer(-1, 1 << 20) == 32;
  const Packing packing = !is_float ? Packing::int4 : wide ? Packing::mxfp4 : Packing::nvfp4;
  store(model, {model.activation_dtype, packing}, experts_alone, bits);
}

void read_modelopt(JsonObject& object, ModelSpec& model) {
  const JsonReader place = object.require("quant_algo");
  const bool experts_alone = excludes_attention(object, {"exclude_modules", "ignore"});
  if (place.as_enum(kAlgorithmNames) == Algorithm::fp8) store(model, {DType::fp8, Packing::none}, experts_alone, place);
  else store(model, {model.activation_dtype, Packing::nvfp4}, experts_alone, place);
  if (const auto kv = object.optional("kv_cache_quant_algo"); kv && !kv->json().is_null()) {
    static constexpr std::array<std::pair<DType, std::string_view>, 1> kNames{{{DType::fp8, "FP8"}}};
    model.kv_dtype = kv->as_enum(kNames);
  }
}

void read_method(const JsonReader& place, const HfKeys& config, ModelSpec& model) {
  JsonObject object(place);
  switch (object.require("quant_method").as_enum(kMethodNames)) {
    case Method::fp8:
      store(model, {DType::fp8, Packing::none}, excludes_attention(object, {"modules_to_not_convert"}), place);
      if (const auto experts = config.optional({"expert_dtype"}))
        if (experts->as_enum(kExpertTypeNames) == Packing::mxfp4)
          model.expert_format = {model.activation_dtype, Packing::mxfp4};
      return;
    case Method::mxfp4: return store(model, {model.activation_dtype, Packing::mxfp4}, true, place);
    case Method::compressed_tensors: return read_compressed_tensors(object, model);
    case Method::modelopt: return read_modelopt(object, model);
  }
}

}  // namespace

void read_quantisation(const HfKeys& config, const std::optional<JsonDocument>& second, ModelSpec& model) {
  model.weight_dtype = model.kv_dtype = model.dispatch_dtype = model.activation_dtype;
  model.expert_format = {model.activation_dtype, Packing::none};
  if (second) {
    JsonObject root(second->root());
    JsonObject quantisation(root.require("quantization"));
    read_modelopt(quantisation, model);
  } else if (const auto place = config.optional({"quantization_config"})) {
    read_method(*place, config, model);
  }
  if (model.expert_format == WeightFormat{DType::fp8, Packing::none}) model.dispatch_dtype = DType::fp8;
}

}  // namespace foretoken::plan
