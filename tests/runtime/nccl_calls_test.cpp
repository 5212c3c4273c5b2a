// Calls of NCCL, worked out from a rank's row tables as a backend does: the right counts, within the op's buffers, and
// the very calls that the recording proves something of.
#include "runtime/nccl_calls.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/recording/check_recording.hpp"
#include "runtime/recording/recording.hpp"
#include "runtime/row_tables.hpp"
#include "tests/runtime/small_plan.hpp"

namespace foretoken::test {
namespace {

using runtime::NcclCall;
using runtime::NcclFamily;
using runtime::NcclFunction;
using runtime::NcclLowering;
using runtime::NcclOperation;
using runtime::Recording;
using runtime::RowTables;

// Elements that a call reads of the op's input, and writes of its output.
struct Extent {
  std::int64_t in = 0;
  std::int64_t out = 0;
};

Extent extent_of(const NcclCall& call, std::int64_t members, bool root) {
  switch (call.function) {
    case NcclFunction::group_start:
    case NcclFunction::group_end: return {};
    case NcclFunction::all_gather: return {call.count, call.count * members};
    case NcclFunction::reduce_scatter: return {call.count * members, call.count};
    case NcclFunction::broadcast: return {root ? call.count : 0, call.count};
    case NcclFunction::reduce: return {call.count, root ? call.count : 0};
    case NcclFunction::all_to_all: return {call.count * members, call.count * members};
    case NcclFunction::send: return {call.count, 0};
    case NcclFunction::recv: return {0, call.count};
    case NcclFunction::all_reduce:
    case NcclFunction::copy: break;
  }
  return {call.count, call.count};
}

// Every call stays within the tensors of a planned op, and none is empty.
void expect_within_buffers(const plan::Plan& plan, const NcclLowering& lowering, RankId rank, const RowTables& tables,
                           const plan::Op& op, const NcclOperation& operation, std::int64_t step) {
  const plan::Role& role = plan.program.role_of(rank);
  const auto elements = [&](const std::vector<TensorId>& side) {
    if (side.empty()) return std::int64_t{0};
    const plan::Tensor& tensor = role.tensors[side.front().index()];
    EXPECT_EQ(tensor.dtype, op.dtype) << op.name;
    return tables.rows(tensor.rows, step) * tensor.cols;
  };
  std::vector<RankId> members{rank};
  if (operation.family >= 0) members = lowering.families()[static_cast<std::size_t>(operation.family)].members(rank);
  const auto own = std::find(members.begin(), members.end(), rank) - members.begin();
  for (const NcclCall& call : operation.calls) {
    if (call.function == NcclFunction::group_start || call.function == NcclFunction::group_end) continue;
    EXPECT_EQ(call.dtype, op.dtype) << op.name;
    EXPECT_GT(call.count, 0) << op.name;
    const Extent extent = extent_of(call, static_cast<std::int64_t>(members.size()), call.peer == own);
    if (extent.in > 0) {
      EXPECT_LE(call.from + extent.in, elements(op.inputs)) << op.name;
    }
    if (extent.out > 0) {
      EXPECT_LE(call.to + extent.out, elements(op.outputs)) << op.name;
    }
  }
}

// What a backend queues is what is recorded, call by call, and that passes the checker.
void expect_recorded(const plan::Plan& plan) {
  const Recording recording = runtime::record(plan);
  EXPECT_EQ(check_recording(plan, recording).problems, std::vector<std::string>());
  const NcclLowering lowering(plan);
  for (std::int32_t r = 0; r < plan.program.ranks; ++r) {
    const RankId rank(r);
    const RowTables tables(plan, rank);
    for (const runtime::RecordedOp& entry : recording.ranks[rank.index()]) {
      const plan::Op& op = plan.program.role_of(rank).ops[entry.op.index()];
      if (!is_communication(op.kind)) continue;
      const std::int64_t step = entry.step % plan.routing.routed_steps();
      const NcclOperation operation = lowering.operation(rank, op, rows_of(tables, op, step));
      ASSERT_EQ(operation.calls, entry.calls) << "rank " << r << ", " << op.name;
      if (!operation.calls.empty()) {
        EXPECT_EQ(operation.family, entry.family) << op.name;
      }
      expect_within_buffers(plan, lowering, rank, tables, op, operation, step);
    }
  }
}

const Settings kRings{R"(deployment.collectives={"all_reduce":"ring","all_gather":"ring","reduce_scatter":"ring"})"};

TEST(NcclCalls, OfSmallDeploymentsAreWhatIsRecorded) {
  const std::vector<Settings> deployments{
      {R"(deployment.attention={"tp":4,"dp":2})"},
      {R"(deployment.attention={"tp":2,"dp":2})", "model.layers=4", R"(deployment.pipeline={"stages":2})",
       "deployment.micro_batches=2"},
      {R"(deployment.experts={"placement":"round_robin","exchange":"dispatch"})",
       R"(deployment.attention={"tp":1,"dp":4})"},
      {R"(deployment.experts={"placement":"round_robin","exchange":"dispatch"})",
       R"(deployment.attention={"tp":2,"dp":4})", "model.experts=11", "model.top_k=3", "workload.sequences=37"},
      {R"(deployment.experts={"placement":"colocated","exchange":"dispatch"})",
       R"(deployment.attention={"tp":2,"dp":2})", "deployment.overlap=two_batch", "deployment.micro_batches=2",
       "workload.sequences=13"},
      {R"(deployment.experts={"placement":"sharded","exchange":"all_reduce"})",
       R"(deployment.attention={"tp":2,"dp":1})"}};
  for (const Settings& deployment : deployments) {
    SCOPED_TRACE(testing::PrintToString(deployment));
    expect_recorded(small_plan(kRings + deployment));
  }
}

TEST(NcclCalls, OfLargeDeploymentsAreWhatIsRecorded) {
  for (const char* name : {"baseline-r64-tp8-pp2-dp4", "large-ep-r64", "baseline-r16-tp8-pp2", "large-ep-r16"}) {
    SCOPED_TRACE(name);
    expect_recorded(laptop_plan(name, kRings));
  }
}

TEST(NcclCalls, CountExactly) {
  // One layer of 32 columns in fp16: 8 rows over 4 members are slices of 2; 7 rows are 2, 2, 2 and 1.
  const Settings sliced{R"(deployment.experts={"placement":"colocated","exchange":"dispatch"})",
                        R"(deployment.attention={"tp":4,"dp":1})", R"(model.dtype={"weights":"fp16"})"};
  for (const std::int64_t sequences : {8, 7}) {
    const plan::Plan plan = small_plan(kRings + sliced + Settings{"workload.sequences=" + std::to_string(sequences)});
    const NcclLowering lowering(plan);
    int found = 0;
    for (const plan::Op& op : plan.program.role_of(RankId(3)).ops) {
      if (op.name != "l0.m0.attention_all_gather" && op.name != "l0.m0.attention_reduce_scatter") continue;
      ++found;
      const bool gathers = op.kind == plan::OpKind::all_gather;
      std::vector<NcclCall> expected{
          {.function = gathers ? NcclFunction::all_gather : NcclFunction::reduce_scatter, .count = 2 * 32}};
      if (sequences == 7) {
        expected = {{.function = NcclFunction::group_start}};
        for (std::int32_t root = 0; root < 4; ++root) {
          const std::int64_t offset = root * 2 * 32;
          expected.push_back({.function = gathers ? NcclFunction::broadcast : NcclFunction::reduce,
                              .peer = root,
                              .count = (root < 3 ? 2 : 1) * 32,
                              .from = gathers ? 0 : offset,
                              .to = gathers ? offset : 0});
        }
        expected.push_back({.function = NcclFunction::group_end});
      }
      EXPECT_EQ(lowering.operation(RankId(3), op).calls, expected) << op.name;
    }
    EXPECT_EQ(found, 2);
  }
}

TEST(NcclCalls, OfOneRankAreCopies) {
  // All 8 tokens' 2 choices stay: 16 rows of 32 columns.
  const plan::Plan plan = small_plan({R"(deployment.experts={"placement":"colocated","exchange":"dispatch"})"});
  const RowTables tables(plan, RankId(0));
  const NcclLowering lowering(plan);
  EXPECT_TRUE(lowering.families().empty());
  int exchanges = 0;
  for (const plan::Op& op : plan.program.role_of(RankId(0)).ops) {
    if (!is_communication(op.kind)) continue;
    const NcclOperation operation = lowering.operation(RankId(0), op, rows_of(tables, op, 0));
    EXPECT_EQ(operation.family, -1);
    EXPECT_EQ(operation.calls,
              (std::vector<NcclCall>{{.function = NcclFunction::copy, .dtype = DType::fp32, .count = 16 * 32}}));
    ++exchanges;
  }
  EXPECT_EQ(exchanges, 2 * 3);
}

// A pipeline of three stages: hidden states go on, tokens go back, each on a way of its own.
TEST(NcclFamilies, EveryWayBetweenStagesHasItsOwn) {
  const plan::Plan plan = small_plan({R"(deployment.pipeline={"stages":3})"});
  const NcclLowering lowering(plan);
  std::vector<std::string> names;
  for (const NcclFamily& family : lowering.families())
    names.push_back(family.name + (family.members(RankId(1)).empty() ? " (not here)" : ""));
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"stage 0 to 1", "stage 1 to 2", "stage 2 to 0 (not here)"}));
}

}  // namespace
}  // namespace foretoken::test
