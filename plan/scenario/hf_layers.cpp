#include "plan/scenario/hf_layers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <nlohmann/json.hpp>

#include "plan/scenario/limits.hpp"

namespace foretoken::plan {
namespace {

enum class MlpType : std::uint8_t { dense, sparse };
constexpr std::array<std::pair<MlpType, std::string_view>, 2> kMlpTypeNames{
    {{MlpType::dense, "dense"}, {MlpType::sparse, "sparse"}}};

enum class AttentionType : std::uint8_t { full, sliding, chunked, linear };
constexpr std::array<std::pair<AttentionType, std::string_view>, 4> kAttentionTypeNames{
    {{AttentionType::full, "full_attention"},
     {AttentionType::sliding, "sliding_attention"},
     {AttentionType::chunked, "chunked_attention"},
     {AttentionType::linear, "linear_attention"}}};

std::vector<JsonReader> one_per_layer(const JsonReader& list, std::int64_t layers) {
  const auto elements = list.as_array(0, static_cast<std::size_t>(kLayersMax));
  if (static_cast<std::int64_t>(elements.size()) != layers)
    list.fail(fmt::format("the list has {} elements, and there are {} layers", elements.size(), layers),
              "write one for each of num_hidden_layers");
  return elements;
}

std::vector<bool> layers_with_experts(const HfKeys& config, std::int64_t layers) {
  std::vector<bool> has(static_cast<std::size_t>(layers), true);
  const auto keep = [&](const std::function<bool(std::int64_t)>& experts) {
    for (std::int64_t i = 0; i < layers; ++i)
      if (!experts(i)) has[static_cast<std::size_t>(i)] = false;
  };
  const std::int64_t first = config.integer_or({"first_k_dense_replace"}, 0, layers, 0);
  keep([&](std::int64_t i) { return i >= first; });
  if (const auto freq = config.optional({"moe_layer_freq"})) {
    if (freq->is_array()) {
      const auto flags = one_per_layer(*freq, layers);
      keep([&](std::int64_t i) { return flags[static_cast<std::size_t>(i)].as_integer(0, 1) == 1; });
    } else {
      const std::int64_t step = freq->as_integer(1, kLayersMax);
      keep([&](std::int64_t i) { return i % step == 0; });
    }
  }
  const std::int64_t step = config.integer_or({"interleave_moe_layer_step", "decoder_sparse_step"}, 1, kLayersMax, 1);
  keep([&](std::int64_t i) { return (i + 1) % step == 0; });
  if (const auto listed = config.optional({"mlp_only_layers"}))
    for (const std::int64_t layer : listed->as_integers(0, static_cast<std::size_t>(kLayersMax), 0, layers - 1))
      has[static_cast<std::size_t>(layer)] = false;
  if (const auto types = config.optional({"mlp_layer_types"})) {
    const auto names = one_per_layer(*types, layers);
    for (std::int64_t i = 0; i < layers; ++i) {
      const bool sparse = names[static_cast<std::size_t>(i)].as_enum(kMlpTypeNames) == MlpType::sparse;
      if (sparse && i < first)
        names[static_cast<std::size_t>(i)].fail(
            fmt::format("layer {} has experts, but first_k_dense_replace is {}", i, first), "correct one of them");
      if (!sparse) has[static_cast<std::size_t>(i)] = false;
    }
  }
  return has;
}

std::vector<AttentionType> attention_types(const HfKeys& config, const std::string& architecture, std::int64_t layers) {
  std::vector<AttentionType> types;
  if (const auto listed = config.optional({"layer_types"})) {
    for (const JsonReader& type : one_per_layer(*listed, layers)) {
      types.push_back(type.as_enum(kAttentionTypeNames));
      if (types.back() == AttentionType::linear)
        type.fail("linear attention is not known to foretoken", "choose a model without it");
    }
    return types;
  }
  if (architecture.starts_with("llama4")) {
    if (const auto rope = config.optional({"no_rope_layers"}); rope && !rope->json().empty()) {
      for (const JsonReader& flag : one_per_layer(*rope, layers))
        types.push_back(flag.as_integer(0, 1) == 1 ? AttentionType::chunked : AttentionType::full);
      return types;
    }
    const std::int64_t interval = config.integer_or({"no_rope_layer_interval"}, 1, kLayersMax, 4);
    for (std::int64_t i = 0; i < layers; ++i)
      types.push_back((i + 1) % interval == 0 ? AttentionType::full : AttentionType::chunked);
    return types;
  }
  const auto use = config.optional({"use_sliding_window"});
  const bool off = use && !use->as_bool();
  const bool window = config.optional({"sliding_window"}).has_value() && !off;
  for (std::int64_t i = 0; i < layers; ++i)
    types.push_back(!window || (architecture == "gpt_oss" && i % 2 == 1) ? AttentionType::full
                                                                         : AttentionType::sliding);
  return types;
}

}  // namespace

void read_expert_layers(const HfKeys& config, ModelSpec& model) {
  const std::vector<bool> has = layers_with_experts(config, model.layers);
  const auto first = std::find(has.begin(), has.end(), true) - has.begin();
  if (first == model.layers) config.root().fail("no layer has experts", "choose a mixture-of-experts model");
  for (model.moe_every = 1; model.moe_every <= model.layers; ++model.moe_every)
    for (const std::int64_t dense : {std::int64_t{0}, static_cast<std::int64_t>(first)}) {
      model.dense_layers = dense;
      bool fits = true;
      for (std::int64_t i = 0; i < model.layers && fits; ++i) fits = model.dense(i) != has[static_cast<std::size_t>(i)];
      if (fits) return;
    }
  config.root().fail("the layers with experts follow no rule that foretoken knows",
                     "known are the first layers dense, experts in every n-th layer, or both");
}

void read_windowed_layers(const HfKeys& config, const std::string& architecture, ModelSpec& model) {
  const std::vector<AttentionType> types = attention_types(config, architecture, model.layers);
  const auto has = [&](AttentionType type) { return std::find(types.begin(), types.end(), type) != types.end(); };
  const bool chunked = has(AttentionType::chunked);
  if (!chunked && !has(AttentionType::sliding)) return;
  if (chunked && has(AttentionType::sliding))
    config.require({"layer_types"})
        .fail("sliding and chunked attention in one model are not known to foretoken", "write one of them");
  AttentionWindow window;
  window.chunked = chunked;
  window.tokens = config.integer({chunked ? "attention_chunk_size" : "sliding_window"}, 1, kContextMax);
  for (std::size_t i = 0; i < types.size(); ++i)
    if (types[i] == AttentionType::full) window.full_layers.push_back(static_cast<std::int64_t>(i));
  model.window = std::move(window);
}

}  // namespace foretoken::plan
