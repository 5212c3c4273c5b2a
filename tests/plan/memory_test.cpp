// What a rank's device has to hold, for the two tiny scenarios, added up by hand.
#include "plan/memory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "plan/program/exchange_slots.hpp"
#include "tests/plan/plan_files.hpp"

namespace foretoken::plan::test {
namespace {

using testing::HasSubstr;

MemoryUse use_of(const Plan& plan, std::size_t role) {
  return memory_of(plan.program.roles[role], plan.scenario, plan.placement);
}

TEST(Memory, RankOfAPipelineStage) {
  const MemoryUse use = use_of(plan_of_base("stages"), 0);
  // Elements of one layer on one of two ranks, two bytes each: norms 2 x 8, qkv 8 x 16, o_proj 8 x 8, router 8 x 4, up
  // (gated) 2 experts x 8 x 32, down 2 x 16 x 8.
  EXPECT_EQ(use.weights, 2.0 * (2 * 8 + 8 * 16 + 8 * 8 + 8 * 4 + 2 * 8 * 32 + 2 * 16 * 8));
  // 8 sequences x (3 + 1) tokens x 1 KV head x 4 elements x (K and V) x 2 bytes.
  EXPECT_EQ(use.kv_cache, 8.0 * 4 * 1 * 4 * 2 * 2);
  // The most lives while the activation runs, for the 4 tokens of a micro-batch and the 4 x 2 / 2 rows of its experts
  // here: residual 4 x 8 and routes 4 x (2 + 2), of 2 and 4 bytes; the rows of up, 4 x 32, and of the activation, 4
  // x 16.
  EXPECT_EQ(use.activations, 4.0 * 8 * 2 + 4.0 * 4 * 4 + 4.0 * 32 * 2 + 4.0 * 16 * 2);
  EXPECT_EQ(use.total(), use.weights + use.kv_cache + use.activations);
}

TEST(Memory, RankThatHostsAnExpert) {
  const MemoryUse use =
      use_of(plan_of_base("dispatch", {{"/deployment/overlap", "\"none\""}, {"/deployment/chunks", "1"}}), 0);
  // One byte each, but for norms and router, which stay in the activations' two. Both layers: norms 2 x 8, qkv 8 x 32,
  // o_proj 16 x 8. Dense layer: 8 x 64 and 32 x 8. MoE layer: router 8 x 4, the shared expert and one of four routed
  // ones, each 8 x 32 and 16 x 8.
  EXPECT_EQ(use.weights,
            2.0 * (2 * (2 * 8) + 8 * 32 + 16 * 8) + (8 * 64 + 32 * 8) + 2 * (8 * 4) + 2.0 * (8 * 32 + 16 * 8));
  // 2 layers x 2 sequences x 4 tokens x 2 KV heads x 4 elements x (K and V) x 2 bytes.
  EXPECT_EQ(use.kv_cache, 2.0 * 2 * 4 * 2 * 4 * 2 * 2);
}

// What capacity adds is the slots of messages under way, if at no other time more lives. Rank 0 of 4 has 2 tokens of a
// micro-batch and one of 4 experts: messages have min(top_k, 1) x 2 = 2 slots, a dispatch's one row of header too. Rows
// are 8 elements wide. It sends to 3 hosts and receives from 3 sources.
TEST(Memory, MessagesByCapacityCountWithAllTheirSlots) {
  const std::vector<Edit> plain{{"/deployment/overlap", "\"none\""}, {"/deployment/chunks", "1"}};
  std::vector<Edit> capacity = plain;
  capacity.push_back({"/deployment/experts/dispatch_mode", "\"capacity\""});
  const Plan plan = plan_of_base("dispatch", capacity);
  double most = 0;
  for (const Op& op : plan.program.roles[0].ops) {
    const double staged = staged_bytes(plan.program.roles[0], op, plan.scenario, plan.placement);
    most = std::max(most, staged);
    if (op.kind == OpKind::dispatch)
      EXPECT_EQ(staged, 6.0 * (2 + 1) * 8 * static_cast<double>(bytes_per_element(op.dtype)));
    else if (op.kind == OpKind::combine)
      EXPECT_EQ(staged, 6.0 * 2 * 8 * static_cast<double>(bytes_per_element(op.dtype)));
    else EXPECT_EQ(staged, 0) << op.name;
  }
  EXPECT_GT(most, 0);
  const double without = use_of(plan_of_base("dispatch", plain), 0).activations;
  EXPECT_GE(use_of(plan, 0).activations, without);
  EXPECT_LE(use_of(plan, 0).activations, without + most);
}

// Sizes are doubles: 2^24 sequences x 2^24 tokens x 2^12 heads x 2^13 elements x (K and V) x 2 bytes are 2^75 bytes.
TEST(Memory, SizesBeyondIntegersAreStillSizes) {
  try {
    static_cast<void>(plan_of_base("stages", {{"/workload/sequences", "16777216"},
                                              {"/workload/context", "16777215"},
                                              {"/model/heads", "4096"},
                                              {"/model/kv_heads", "4096"},
                                              {"/model/head_dim", "8192"},
                                              {"/deployment/pipeline/stages", "1"},
                                              {"/deployment/attention/tp", "1"},
                                              {"/deployment/experts/ep", "1"},
                                              {"/model/layers", "1"}}));
    FAIL() << "2^75 bytes were accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::infeasible);
    EXPECT_THAT(error.what(), HasSubstr("37778931862957.16 GB"));  // 2^75 / 10^9
  }
}

TEST(Memory, FitsToTheByte) {
  const Plan plan = plan_of_base("stages");
  const auto needed = static_cast<std::int64_t>(use_of(plan, 0).total());
  EXPECT_GE(needed, static_cast<std::int64_t>(use_of(plan, 1).total()));
  EXPECT_NO_THROW(check_memory(plan.program, plan.scenario, plan.placement, "gpu", Bytes(needed)));
  try {
    check_memory(plan.program, plan.scenario, plan.placement, "gpu", Bytes(needed - 1));
    FAIL() << "one byte short was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::infeasible);
    for (const char* word :
         {"role0 (stage 0)", "role1 (stage 1)", "weights", "KV cache", "activations", "total", "device"})
      EXPECT_THAT(error.what(), HasSubstr(word));
  }
}

}  // namespace
}  // namespace foretoken::plan::test
