#include "plan/scenario/hf_config.hpp"

#include <fmt/format.h>

#include <array>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <system_error>

#include "core/error.hpp"
#include "plan/scenario/hf_keys.hpp"
#include "plan/scenario/hf_layers.hpp"
#include "plan/scenario/hf_quantisation.hpp"
#include "plan/scenario/limits.hpp"

namespace foretoken::plan {
namespace {

constexpr std::uintmax_t kConfigBytesMax = 64u << 20;

// model_type of the architectures that are known, and what they do without saying so.
struct Architecture {
  bool shared_expert = false;  // one of intermediate_size
  bool head_norms = false;     // of queries and keys
  bool sinks = false;          // learned attention sinks, and biases of experts
};

constexpr std::array<std::pair<Architecture, std::string_view>, 14> kArchitectures{
    {{{}, "deepseek_v2"},
     {{}, "deepseek_v3"},
     {{}, "deepseek_v32"},
     {{}, "glm4_moe"},
     {{}, "glm_moe_dsa"},
     {{false, false, true}, "gpt_oss"},
     {{}, "kimi_k2"},
     {{true, true, false}, "llama4"},
     {{true, true, false}, "llama4_text"},
     {{}, "minimax"},
     {{false, true, false}, "minimax_m2"},
     {{}, "mixtral"},
     {{}, "qwen2_moe"},
     {{false, true, false}, "qwen3_moe"}}};

constexpr std::array<std::pair<DType, std::string_view>, 3> kTorchTypeNames{
    {{DType::bf16, "bfloat16"}, {DType::fp16, "float16"}, {DType::fp32, "float32"}}};

// What would change the work and has no words of ours.
void refuse_unknown_work(const HfKeys& config) {
  const auto refuse = [&](std::string_view key, std::string_view what) {
    if (const auto found = config.optional({key}))
      found->fail(fmt::format("{} is not known to foretoken", what), "choose a model without it");
  };
  refuse("linear_attn_config", "linear attention");
  refuse("compress_ratios", "a compressed KV cache");
  refuse("hybrid_layer_pattern", "a pattern of attention layers by number");
  refuse("moe_latent_size", "a width of its own for routed tokens");
  refuse("routed_expert_hidden_size", "a width of its own for routed tokens");
  if (const auto types = config.optional({"attn_type_list"}))
    for (const JsonReader& type : types->as_array(0, static_cast<std::size_t>(kLayersMax)))
      if (type.as_integer(0, 1) == 0) type.fail("linear attention is not known to foretoken", "choose another model");
}

void read_latent(const HfKeys& config, ModelSpec& model) {
  LatentAttention latent;
  latent.kv_rank = config.integer({"kv_lora_rank"}, 1, kHiddenMax);
  latent.q_rank = config.integer_or({"q_lora_rank"}, 0, kHiddenMax, 0);
  latent.nope_dim = config.integer({"qk_nope_head_dim"}, 1, kHeadDimMax);
  latent.rope_dim = config.integer({"qk_rope_head_dim"}, 1, kHeadDimMax);
  latent.value_dim = config.integer({"v_head_dim"}, 1, kHeadDimMax);
  model.kv_heads = 1;
  model.head_dim = latent.nope_dim + latent.rope_dim;
  if (const auto sum = config.optional({"qk_head_dim"}); sum && sum->as_integer(1, 2 * kHeadDimMax) != model.head_dim)
    sum->fail(fmt::format("{} is not qk_nope_head_dim {} + qk_rope_head_dim {}", sum->shown(), latent.nope_dim,
                          latent.rope_dim),
              "correct one of them");
  model.latent = latent;
  if (const auto heads = config.optional({"index_n_heads"})) {
    if (latent.q_rank == 0) heads->fail("an index is given without q_lora_rank", "add q_lora_rank");
    model.index = AttentionIndex{heads->as_integer(1, kHeadsMax), config.integer({"index_head_dim"}, 1, kHeadDimMax),
                                 config.integer({"index_topk"}, 1, kContextMax)};
  }
}

void read_attention(const HfKeys& config, ModelSpec& model) {
  model.heads = config.integer({"num_attention_heads"}, 1, kHeadsMax);
  if (config.optional({"kv_lora_rank"})) return read_latent(config, model);
  model.kv_heads = config.integer_or({"num_key_value_heads"}, 1, kHeadsMax, model.heads);
  if (model.heads % model.kv_heads != 0)
    config.require({"num_key_value_heads"})
        .fail(fmt::format("{} does not divide num_attention_heads, {}", model.kv_heads, model.heads),
              "correct one of them");
  if (const auto given = config.optional({"head_dim"})) {
    model.head_dim = given->as_integer(1, kHeadDimMax);
    return;
  }
  model.head_dim = model.hidden / model.heads;
  if (model.hidden % model.heads != 0 || model.head_dim > kHeadDimMax)
    config.require({"hidden_size"})
        .fail(fmt::format("{} cannot be shared by {} heads, and there is no head_dim", model.hidden, model.heads),
              "add head_dim");
}

void read_experts(const HfKeys& config, const Architecture& architecture, ModelSpec& model) {
  model.experts =
      config.integer({"n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts"}, 1, kExpertsMax);
  const JsonReader top_k = config.require(
      {"num_experts_per_tok", "num_experts_per_token", "top_k_experts", "moe_top_k", "experts_per_token"});
  model.top_k = top_k.as_integer(1, kExpertsMax);
  if (model.top_k > model.experts)
    top_k.fail(fmt::format("{} is more than the {} experts", model.top_k, model.experts), "correct one of them");
  model.expert_hidden = config.integer({"moe_intermediate_size", "intermediate_size"}, 1, kExpertHiddenMax);
  model.gated = true;
  model.shared_experts = config.integer_or({"n_shared_experts", "num_shared_experts"}, 0, kSharedExpertsMax,
                                           architecture.shared_expert ? 1 : 0);
  if (const auto width = config.optional({"shared_expert_intermediate_size", "shared_intermediate_size"})) {
    const std::int64_t elements = width->as_integer(0, kExpertHiddenMax);
    model.shared_experts = elements / model.expert_hidden;
    if (elements % model.expert_hidden != 0)
      width->fail(fmt::format("shared experts {} wide are no whole number of experts {} wide, which is not known to "
                              "foretoken",
                              elements, model.expert_hidden),
                  "write a multiple");
  }
  if (model.dense_layers > 0 || model.moe_every > 1)
    model.dense_hidden =
        config.integer({"dense_intermediate_size", "intermediate_size_mlp", "intermediate_size"}, 1, kExpertHiddenMax);
}

std::vector<std::string> left_out_of(const HfKeys& config, const Architecture& architecture) {
  std::vector<std::string> left_out;
  if (!config.optional({"dtype", "torch_dtype"})) left_out.push_back("no dtype is given: bf16 is assumed");
  if (const auto layers = config.integer_or({"num_nextn_predict_layers", "mtp_num_hidden_layers"}, 0, kLayersMax, 0);
      layers > 0)
    left_out.push_back(fmt::format("{} layer(s) of multi-token prediction", layers));
  if (config.flag({"attention_bias", "qkv_bias"})) left_out.push_back("biases of attention");
  if (architecture.head_norms || config.flag({"use_qk_norm"})) left_out.push_back("norms of queries and keys");
  if (architecture.sinks) left_out.push_back("attention sinks, and biases of experts");
  if (config.integer_or({"n_group"}, 1, kExpertsMax, 1) > 1)
    left_out.push_back("grouped routing: experts are drawn from all groups");
  return left_out;
}

std::string text_of(const std::filesystem::path& file) {
  std::error_code status;
  if (!std::filesystem::is_regular_file(file, status))
    throw input_error(file.string(), "", "no such file", "check the path");
  if (std::filesystem::file_size(file, status) > kConfigBytesMax)
    throw input_error(file.string(), "", fmt::format("larger than {} MiB", kConfigBytesMax >> 20),
                      "name the config.json of a model");
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

}  // namespace

HfModel read_hf_config(const std::string& text, const std::string& name, const std::string& quantisation) {
  const HfKeys config(JsonDocument::from_text(with_quoted_non_numbers(text), name));
  const JsonReader type = config.require({"model_type"});
  const Architecture architecture = type.as_enum(kArchitectures);
  refuse_unknown_work(config);

  HfModel read;
  ModelSpec& model = read.model;
  model.name = config.optional({"_name_or_path"}) && !config.require({"_name_or_path"}).as_string(true).empty()
                   ? config.require({"_name_or_path"}).as_string()
                   : type.as_string();
  model.layers = config.integer({"num_hidden_layers"}, 1, kLayersMax);
  model.hidden = config.integer({"hidden_size"}, 1, kHiddenMax);
  read_attention(config, model);
  read_windowed_layers(config, type.as_string(), model);
  read_expert_layers(config, model);
  read_experts(config, architecture, model);
  model.vocabulary = config.integer({"vocab_size"}, 1, kVocabularyMax);
  model.tied_embeddings = config.flag({"tie_word_embeddings"});
  const auto dtype = config.optional({"dtype", "torch_dtype"});
  model.activation_dtype = dtype ? dtype->as_enum(kTorchTypeNames) : DType::bf16;
  std::optional<JsonDocument> second;
  if (!quantisation.empty()) second = JsonDocument::from_text(quantisation, name + " (hf_quant_config.json)");
  read_quantisation(config, second, model);
  read.left_out = left_out_of(config, architecture);
  return read;
}

HfModel read_hf_config(const std::filesystem::path& file) {
  const std::filesystem::path quantisation = file.parent_path() / "hf_quant_config.json";
  std::error_code status;
  return read_hf_config(text_of(file), file.string(),
                        std::filesystem::is_regular_file(quantisation, status) ? text_of(quantisation) : "");
}

}  // namespace foretoken::plan
