// What the parts of a model become that only some models have: latent and windowed attention, a vocabulary, experts in
// every n-th layer, dtypes of their own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "plan/live_limits.hpp"
#include "plan/memory.hpp"
#include "plan/program/work.hpp"
#include "plan/scenario/model_size.hpp"
#include "tests/plan/plan_files.hpp"

namespace foretoken::plan::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string kLatent = R"("heads":4,"latent":{"kv_rank":6,"q_rank":5,"nope_dim":4,"rope_dim":2,"value_dim":3})";
const std::string kGrouped = R"("heads":4,"kv_heads":2,"head_dim":4)";

/// 8 sequences with 3 tokens in the cache, on one rank or on two that share attention and experts.
Plan plan_of_model(const std::string& members, int tp = 1) {
  JsonDocument document = JsonDocument::from_text(base_scenario("stages").dump(), "case.json");
  document.set(R"(model={"name":"tiny","hidden":8,"experts":4,"top_k":2,"expert_hidden":16,"gated":true,)" + members +
               "}");
  document.set(R"(deployment={"attention":{"tp":)" + std::to_string(tp) +
               R"(,"dp":1},"experts":{"placement":"colocated","exchange":"all_reduce"}})");
  return plan_of(document);
}

std::vector<std::string> names_of(const Role& role, const std::string& prefix) {
  std::vector<std::string> names;
  for (const Op& op : role.ops)
    if (op.name.rfind(prefix, 0) == 0) names.push_back(op.name.substr(prefix.size()));
  return names;
}

const Op& op_of(const Role& role, const std::string& name) {
  const auto found = std::find_if(role.ops.begin(), role.ops.end(), [&](const Op& op) { return op.name == name; });
  if (found == role.ops.end()) throw std::runtime_error("no op " + name);
  return *found;
}

const Tensor& tensor_of(const Role& role, const std::string& name) {
  const auto found =
      std::find_if(role.tensors.begin(), role.tensors.end(), [&](const Tensor& tensor) { return tensor.name == name; });
  if (found == role.tensors.end()) throw std::runtime_error("no tensor " + name);
  return *found;
}

MemoryUse memory_of_one(const Plan& plan) {
  return memory_of(plan.program.roles.front(), plan.scenario, plan.placement);
}

TEST(ModelLowering, LatentAttentionWithAbsorbedProjections) {
  const Plan plan = plan_of_model(R"("layers":1,"dtype":{},)" + kLatent, 2);
  const Role& role = plan.program.roles.front();
  EXPECT_THAT(names_of(role, "l0.m0."),
              ElementsAre("attention_norm", "latent_down", "latent_norm", "q_up", "k_up", "rope_kv", "attention",
                          "v_up", "o_proj", "attention_all_reduce", "mlp_norm", "route", "permute", "expert_up",
                          "expert_activation", "expert_down", "unpermute", "expert_all_reduce"));
  // Both ranks make all of the latents, 5 + 6 + 2, and 2 of the 4 heads each.
  EXPECT_EQ(std::get<GemmOp>(op_of(role, "l0.m0.latent_down").detail).n, 5 + 6 + 2);
  const auto& q_up = std::get<GemmOp>(op_of(role, "l0.m0.q_up").detail);
  EXPECT_EQ(q_up.n, 2 * (4 + 2));
  EXPECT_EQ(q_up.k, 5);
  const auto& k_up = std::get<GroupedGemmOp>(op_of(role, "l0.m0.k_up").detail);
  EXPECT_EQ(k_up.rows, Extent::fixed(2 * 8));
  EXPECT_EQ(std::vector({k_up.experts, k_up.n, k_up.k}), (std::vector<std::int64_t>{2, 6, 4}));
  const auto& v_up = std::get<GroupedGemmOp>(op_of(role, "l0.m0.v_up").detail);
  EXPECT_EQ(std::vector({v_up.experts, v_up.n, v_up.k}), (std::vector<std::int64_t>{2, 3, 6}));
  EXPECT_EQ(std::get<GemmOp>(op_of(role, "l0.m0.o_proj").detail).k, 2 * 3);

  const Op& attention = op_of(role, "l0.m0.attention");
  const auto& shape = std::get<AttentionOp>(attention.detail);
  EXPECT_EQ(std::vector({shape.context, shape.heads, shape.kv_heads, shape.head_dim, shape.value_dim}),
            (std::vector<std::int64_t>{4, 2, 1, 6 + 2, 6}));
  // 8 sequences x 4 tokens x 2 heads, 2 FLOPs for each of 8 + 6 elements; 8 x 4 x 8 elements of the cache, read once,
  // and 8 x 2 x (8 + 6) of queries and results, 2 bytes each.
  const Work work = work_of(attention, 0, 0);
  EXPECT_EQ(work.flops.value(), 2.0 * 8 * 4 * 2 * (8 + 6));
  EXPECT_EQ(work.traffic.value(), 2 * (8 * 4 * 8 + 8 * 2 * (8 + 6)));
  // A product per head reads all of its matrices.
  EXPECT_EQ(work_of(op_of(role, "l0.m0.k_up"), 0, 0).traffic.value(), 2 * (16 * 4 + 16 * 6 + 2 * 4 * 6));
  // The cache is on every rank whole: 8 sequences x 4 tokens x 8 elements.
  EXPECT_EQ(memory_of_one(plan).kv_cache, 2.0 * 8 * 4 * 8);
}

TEST(ModelLowering, LatentAttentionWithoutALatentOfQueries) {
  const Plan plan = plan_of_model(
      R"("layers":1,"dtype":{},"heads":4,"latent":{"kv_rank":6,"nope_dim":4,"rope_dim":2,"value_dim":3})");
  const Role& role = plan.program.roles.front();
  EXPECT_THAT(names_of(role, "l0.m0.q_up"), testing::IsEmpty());
  EXPECT_EQ(std::get<GemmOp>(op_of(role, "l0.m0.latent_down").detail).n, 4 * (4 + 2) + 6 + 2);
}

// Layers 0 and 2 see 2 tokens, layers 1 and 3 all 4 (3 and the new one).
TEST(ModelLowering, WindowedLayersReadAndKeepTheirWindow) {
  const Plan plan = plan_of_model(R"("layers":4,"dtype":{},"window":{"tokens":2,"full_every":2},)" + kGrouped);
  const Role& role = plan.program.roles.front();
  const auto context = [&](const char* name) { return std::get<AttentionOp>(op_of(role, name).detail).context; };
  EXPECT_EQ(context("l0.m0.attention"), 2);
  EXPECT_EQ(context("l1.m0.attention"), 4);
  EXPECT_EQ(context("l2.m0.attention"), 2);
  // 8 sequences x (2 + 4 + 2 + 4) tokens x 2 KV heads x 2 x 4 elements of 2 bytes.
  EXPECT_EQ(memory_of_one(plan).kv_cache, 2.0 * 8 * 12 * 16);
}

// The new token is number 3 from 0, the first of the second block of 3: it sees itself alone, and the block is kept.
TEST(ModelLowering, BlocksBeginAgain) {
  const Plan plan = plan_of_model(R"("layers":1,"dtype":{},"window":{"tokens":3,"chunked":true},)" + kGrouped);
  EXPECT_EQ(std::get<AttentionOp>(op_of(plan.program.roles.front(), "l0.m0.attention").detail).context, 1);
  EXPECT_EQ(memory_of_one(plan).kv_cache, 2.0 * 8 * 3 * 16);
}

TEST(ModelLowering, ExpertsInEverySecondLayer) {
  const Plan plan = plan_of_model(R"("layers":4,"moe_every":2,"dense_hidden":24,"dtype":{},)" + kGrouped);
  const Role& role = plan.program.roles.front();
  for (const char* layer : {"l0.m0.", "l2.m0."}) EXPECT_THAT(names_of(role, layer), testing::Contains("mlp_up"));
  for (const char* layer : {"l1.m0.", "l3.m0."}) EXPECT_THAT(names_of(role, layer), testing::Contains("expert_up"));
}

TEST(ModelLowering, VocabularyIsSharedByTheGroup) {
  const Plan plan = plan_of_model(R"("layers":1,"vocabulary":101,"dtype":{},)" + kGrouped, 2);
  const Role& role = plan.program.roles.front();
  EXPECT_THAT(names_of(role, "m0."),
              ElementsAre("input", "embedding", "embedding_all_reduce", "output_norm", "lm_head", "step_end"));
  // Half of 101, rounded up.
  EXPECT_EQ(std::get<GemmOp>(op_of(role, "m0.lm_head").detail).n, 51);
  EXPECT_EQ(tensor_of(role, "w_embedding").rows, Extent::fixed(51));
  const Plan tied = plan_of_model(R"("layers":1,"vocabulary":101,"tied_embeddings":true,"dtype":{},)" + kGrouped, 2);
  EXPECT_EQ(memory_of_one(plan).weights - memory_of_one(tied).weights, 2.0 * 51 * 8);
}

TEST(ModelLowering, DtypesOfTheirOwn) {
  const Plan plan = plan_of_model(R"("layers":1,"vocabulary":10,"dtype":{"weights":"fp8","activations":"bf16",)"
                                  R"("experts":"mxfp4"},)" +
                                  kGrouped);
  const Role& role = plan.program.roles.front();
  EXPECT_EQ(op_of(role, "l0.m0.qkv").dtype, DType::fp8);
  EXPECT_EQ(op_of(role, "l0.m0.expert_up").dtype, DType::bf16);
  EXPECT_EQ(tensor_of(role, "l0.w_expert_up").packing, Packing::mxfp4);
  EXPECT_EQ(tensor_of(role, "l0.w_router").dtype, DType::bf16);
  EXPECT_EQ(tensor_of(role, "w_lm_head").dtype, DType::bf16);
  // 5 rows of 8 and 32 elements of 2 bytes; of two experts 8 x 32 weights each at 4.25 bits.
  EXPECT_EQ(work_of(op_of(role, "l0.m0.expert_up"), 5, 2).traffic.value(), 2 * 5 * (8 + 32) + 2 * 8 * 32 * 17 / 32);

  JsonDocument document = JsonDocument::from_text(base_scenario("dispatch").dump(), "case.json");
  document.set(R"(model.dtype={"weights":"bf16","dispatch":"fp8"})");
  const Plan dispatched = plan_of(document);
  for (const Communication& communication : dispatched.program.communications) {
    if (communication.kind == OpKind::dispatch) {
      EXPECT_EQ(communication.dtype, DType::fp8);
    }
    if (communication.kind == OpKind::combine) {
      EXPECT_EQ(communication.dtype, DType::bf16);
    }
  }
}

// One rank holds the model: its weights in the program are the parameters that were counted, to the byte.
TEST(ModelLowering, OneRankHoldsWhatTheModelHas) {
  for (const std::string& members : {
           R"("layers":3,"dtype":{},)" + kGrouped,
           R"("layers":3,"dtype":{"weights":"bf16","experts":"nvfp4"},"vocabulary":50,)" + kGrouped,
           R"("layers":4,"moe_every":2,"dense_hidden":24,"shared_experts":1,"dtype":{},)" + kGrouped,
           R"("layers":4,"dense_layers":1,"dense_hidden":24,"dtype":{"weights":"fp8","activations":"bf16"},)" + kLatent,
           R"("layers":2,"vocabulary":50,"tied_embeddings":true,"dtype":{},)" + kLatent,
       }) {
    const Plan plan = plan_of_model(members);
    EXPECT_EQ(memory_of_one(plan).weights, size_of(plan.scenario.model).weight_bytes) << members;
    // 8 sequences of 4 tokens.
    EXPECT_EQ(memory_of_one(plan).kv_cache, 8 * 4 * size_of(plan.scenario.model).kv_bytes) << members;
  }
}

// ---- what is refused by name ---------------------------------------------------------------------------------------

std::string live_refusal_of(const std::string& members) {
  try {
    require_live_model(plan_of_model(members));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    return error.what();
  }
  return "accepted";
}

TEST(ModelLowering, RefusesSparseAttention) {
  EXPECT_EQ(
      live_refusal_of(R"("layers":1,"dtype":{},"index":{"heads":2,"head_dim":4,"top_k":8},)" + kLatent),
      "case.json#/model/index: sparse attention cannot be planned yet; remove it (--set model.index=null) to plan "
      "attention over the whole context");
}

TEST(ModelLowering, LiveRunsRefuseByName) {
  EXPECT_EQ(live_refusal_of(R"("layers":2,"dtype":{},)" + kGrouped), "accepted");
  EXPECT_THAT(live_refusal_of(R"("layers":1,"dtype":{},)" + kLatent), HasSubstr("latent attention (model.latent)"));
  EXPECT_THAT(live_refusal_of(R"("layers":1,"dtype":{},"window":{"tokens":2},)" + kGrouped), HasSubstr("model.window"));
  EXPECT_THAT(live_refusal_of(R"("layers":1,"vocabulary":9,"dtype":{},)" + kGrouped), HasSubstr("model.vocabulary"));
  EXPECT_THAT(live_refusal_of(R"("layers":2,"moe_every":2,"dense_hidden":8,"dtype":{},)" + kGrouped),
              HasSubstr("model.moe_every"));
  EXPECT_THAT(live_refusal_of(R"("layers":1,"dtype":{"experts":"int4"},)" + kGrouped),
              HasSubstr("model.dtype.experts"));
  EXPECT_THAT(live_refusal_of(R"("layers":1,"dtype":{"dispatch":"fp8"},)" + kGrouped),
              HasSubstr("model.dtype.dispatch"));
}

}  // namespace
}  // namespace foretoken::plan::test
