// Configs in the form in which models are published: minimal files with the published dimensions of ten models.
//
// Expected parameters: 10^9, from the vendors' own figures where there are any, within 0.5 %. KV elements: per token,
// by hand from the dimensions (2 x kv_heads x head_dim x layers, or (kv_rank + rope_dim) x layers), exactly.
#include "plan/scenario/hf_config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "foretoken_places.hpp"
#include "plan/scenario/hf_keys.hpp"
#include "plan/scenario/model_size.hpp"
#include "plan/scenario/read_model.hpp"

namespace foretoken::plan {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

std::string path_of(const std::string& file) { return std::string(FORETOKEN_SOURCE_DIR) + "/" + file; }

Json published() {
  static const Json table = Json::parse(std::ifstream(path_of("tests/data/model/published.json")));
  return table;
}

Json config_of(const std::string& name) {
  for (const Json& entry : published())
    if (entry.at("name") == name) return entry.at("config");
  throw std::runtime_error(name);
}

ModelSpec read(const Json& config) { return read_hf_config(config.dump(), "config.json").model; }

class PublishedModel : public testing::TestWithParam<std::size_t> {};

TEST_P(PublishedModel, ComesToItsPublishedSize) {
  const Json entry = published().at(GetParam());
  const ModelSpec model = read(entry.at("config"));
  const ModelSize size = size_of(model);
  const auto within = [](std::int64_t count, double e9, double share) {
    EXPECT_NEAR(static_cast<double>(count) / 1e9, e9, share * e9);
  };
  within(size.parameters(), entry.at("parameters_e9"), 0.005);
  // Given to three digits or fewer; of GLM-5 without the index, which is 0.7e9 here.
  within(size.active_parameters(), entry.at("active_e9"), model.index ? 0.02 : 0.015);
  EXPECT_EQ(size.kv_elements, entry.at("kv_elements"));
  EXPECT_EQ(size.index_elements, entry.at("index_elements"));
  EXPECT_EQ(size.windowed_layers, entry.at("windowed_layers"));
}

// What we write of a model says all that we know of it.
TEST_P(PublishedModel, ComesBackFromOurOwnWords) {
  const ModelSpec model = read(published().at(GetParam()).at("config"));
  const Json written = to_json(model);
  const ModelSpec again = read_model(JsonDocument::from_text(written.dump(), "model.json").root());
  EXPECT_EQ(to_json(again), written);
  EXPECT_EQ(size_of(again).parameters(), size_of(model).parameters());
  EXPECT_EQ(size_of(again).weight_bytes, size_of(model).weight_bytes);
  EXPECT_EQ(size_of(again).kv_bytes, size_of(model).kv_bytes);
}

INSTANTIATE_TEST_SUITE_P(Models, PublishedModel, testing::Range(std::size_t{0}, std::size_t{10}),
                         [](const auto& tested) {
                           return published().at(tested.param).at("name").template get<std::string>();
                         });

TEST(HfConfig, DenseAndExpertLayers) {
  const auto expert_layers = [](const std::string& name) { return read(config_of(name)).expert_layers(); };
  EXPECT_EQ(expert_layers("DeepSeekV3"), 58);
  EXPECT_EQ(expert_layers("KimiK2"), 60);
  EXPECT_EQ(expert_layers("Llama4Maverick"), 24);
  EXPECT_EQ(expert_layers("Glm5"), 75);
  const ModelSpec llama = read(config_of("Llama4Maverick"));
  EXPECT_TRUE(llama.dense(0));
  EXPECT_FALSE(llama.dense(1));
  EXPECT_EQ(llama.dense_hidden, 16384);
  EXPECT_EQ(llama.shared_experts, 1);
}

// Four layers: 1 and 3 have experts by each of the ways to say so.
TEST(HfConfig, WaysToSayWhichLayersHaveExperts) {
  Json config = config_of("Mixtral8x7B");
  config["num_hidden_layers"] = 4;
  for (const char* patch :
       {R"({"moe_layer_freq": [0, 1, 0, 1]})", R"({"interleave_moe_layer_step": 2})", R"({"decoder_sparse_step": 2})",
        R"({"mlp_only_layers": [0, 2]})", R"({"mlp_layer_types": ["dense", "sparse", "dense", "sparse"]})"}) {
    Json changed = config;
    changed.update(Json::parse(patch));
    const ModelSpec model = read(changed);
    EXPECT_EQ(model.dense_layers, 0) << patch;
    EXPECT_EQ(model.moe_every, 2) << patch;
    EXPECT_EQ(model.dense_hidden, 14336) << patch;
  }
}

TEST(HfConfig, WindowedLayers) {
  // Layers 0, 2, ... of gpt-oss see 128 tokens; of Llama-4 layers 3, 7, ... see everything, others their block of 8192.
  const ModelSpec oss = read(config_of("GptOss120B"));
  EXPECT_EQ(oss.attended(0, 4097), 128);
  EXPECT_EQ(oss.attended(0, 100), 100);
  EXPECT_EQ(oss.attended(1, 4097), 4097);
  const ModelSpec llama = read(config_of("Llama4Maverick"));
  EXPECT_EQ(llama.attended(3, 10'000), 10'000);
  EXPECT_EQ(llama.attended(0, 8'192), 8'192);
  EXPECT_EQ(llama.attended(0, 8'193), 1);
  EXPECT_EQ(llama.kept(0, 8'193), 8'192);
  // Without layer_types gpt-oss alternates all the same; a window that is switched off is none.
  Json config = config_of("GptOss120B");
  config.erase("layer_types");
  EXPECT_EQ(read(config).window, oss.window);
  config = config_of("Qwen3_30B_A3B");
  config["sliding_window"] = 4096;
  EXPECT_FALSE(read(config).window.has_value());
  config.erase("use_sliding_window");
  EXPECT_TRUE(read(config).windowed(0));
}

struct Formats {
  DType weights;
  WeightFormat experts;
  DType dispatch;
  DType kv;
};

Formats formats_of(const Json& config, const std::string& second = "") {
  const ModelSpec model = read_hf_config(config.dump(), "config.json", second).model;
  EXPECT_EQ(model.activation_dtype, DType::bf16);
  return {model.weight_dtype, model.expert_format, model.dispatch_dtype, model.kv_dtype};
}

bool operator==(const Formats& a, const Formats& b) {
  return a.weights == b.weights && a.experts == b.experts && a.dispatch == b.dispatch && a.kv == b.kv;
}

TEST(HfConfig, Quantisation) {
  const DType bf16 = DType::bf16, fp8 = DType::fp8;
  const auto whole = [](DType dtype) { return WeightFormat{dtype, Packing::none}; };
  EXPECT_EQ(formats_of(config_of("Mixtral8x7B")), (Formats{bf16, whole(bf16), bf16, bf16}));
  EXPECT_EQ(formats_of(config_of("DeepSeekV3")), (Formats{fp8, whole(fp8), fp8, bf16}));
  EXPECT_EQ(formats_of(config_of("GptOss120B")), (Formats{bf16, {bf16, Packing::mxfp4}, bf16, bf16}));

  const auto with = [](const char* quantisation) {
    Json config = config_of("KimiK2");
    config["quantization_config"] = Json::parse(quantisation);
    return config;
  };
  EXPECT_EQ(formats_of(with(R"({"quant_method": "compressed-tensors", "ignore": ["re:.*self_attn.*", "lm_head"],
      "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int", "group_size": 32}}}})")),
            (Formats{bf16, {bf16, Packing::int4}, bf16, bf16}));
  EXPECT_EQ(formats_of(with(R"({"quant_method": "compressed-tensors", "ignore": ["lm_head"],
      "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "float", "group_size": null}}}})")),
            (Formats{fp8, whole(fp8), fp8, bf16}));
  EXPECT_EQ(formats_of(with(R"({"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["*self_attn*"],
      "kv_cache_quant_algo": "FP8"})")),
            (Formats{bf16, {bf16, Packing::nvfp4}, bf16, fp8}));
  // The second file decides.
  EXPECT_EQ(formats_of(config_of("KimiK2"), R"({"quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": null,
      "exclude_modules": ["model.layers.*.self_attn*"]}})"),
            (Formats{bf16, {bf16, Packing::nvfp4}, bf16, bf16}));
  Json v4 = config_of("DeepSeekV3");
  v4["expert_dtype"] = "fp4";
  EXPECT_EQ(formats_of(v4), (Formats{fp8, {bf16, Packing::mxfp4}, bf16, bf16}));
}

TEST(HfConfig, SaysWhatItLeavesOut) {
  const auto left_out = [](const std::string& name) {
    return read_hf_config(config_of(name).dump(), "config.json").left_out;
  };
  EXPECT_THAT(left_out("Mixtral8x7B"), testing::IsEmpty());
  EXPECT_THAT(left_out("DeepSeekV3"), testing::ElementsAre("1 layer(s) of multi-token prediction",
                                                           "grouped routing: experts are drawn from all groups"));
  EXPECT_THAT(left_out("GptOss120B"), testing::ElementsAre("no dtype is given: bf16 is assumed", "biases of attention",
                                                           "attention sinks, and biases of experts"));
}

// Nulls are no keys, bare NaN and Infinity are let through where nobody needs them, and so is what is not known.
TEST(HfConfig, Tolerates) {
  const ModelSpec model = read_hf_config(std::filesystem::path(path_of("tests/data/model/small/config.json"))).model;
  EXPECT_EQ(model.hidden, 256);
  EXPECT_EQ(with_quoted_non_numbers(R"({"a": NaN, "b": "NaN \" Infinity", "c": [-Infinity,Infinity]})"),
            R"({"a": "NaN", "b": "NaN \" Infinity", "c": ["-Infinity","Infinity"]})");
}

}  // namespace
}  // namespace foretoken::plan
