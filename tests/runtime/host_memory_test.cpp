// What the memory check counts of rows on their way, beside what a run's schedules really hold.
#include "runtime/host/host_memory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

#include "runtime/host/host_compute.hpp"
#include "runtime/schedule.hpp"
#include "tests/runtime/small_plan.hpp"

namespace foretoken::test {
namespace {

using runtime::host::rows_on_their_way_bytes;

using MemorySettings = std::vector<std::string>;

// The rooms of a rank's schedules of dispatches and combines, made as Executor makes them.
double rooms_of(const plan::Plan& plan, RankId rank) {
  runtime::RowTables tables(plan, rank);
  const runtime::host::HostCompute compute(plan, rank, tables);
  runtime::ScheduleBuilder builder(plan, rank, tables);
  double bytes = 0;
  for (const plan::Op& op : plan.program.role_of(rank).ops) {
    if (op.kind != plan::OpKind::dispatch && op.kind != plan::OpKind::combine) continue;
    runtime::CommunicationBuffers buffers;
    if (!op.inputs.empty()) buffers.in = compute.bytes(op.inputs.front());
    if (!op.outputs.empty()) buffers.out = compute.bytes(op.outputs.front());
    if (op.inputs.size() > 1) buffers.in_weights = compute.bytes(op.inputs[1]);
    if (op.outputs.size() > 1) buffers.out_weights = compute.bytes(op.outputs[1]);
    for (std::int64_t step = 0; step < plan.routing.routed_steps(); ++step) {
      const runtime::Schedule schedule = builder.build(op, buffers, step);
      for (const auto& room : schedule.rooms) bytes += static_cast<double>(room.size() * sizeof(float));
    }
  }
  return bytes;
}

struct MemoryCase {
  std::string name;
  MemorySettings settings;
};

std::string name_of_memory(const testing::TestParamInfo<MemoryCase>& info) { return info.param.name; }

class RowsOnTheirWay : public testing::TestWithParam<MemoryCase> {};

TEST_P(RowsOnTheirWay, AreCountedAsTheyAreAllocated) {
  MemorySettings settings = GetParam().settings;
  for (const char* setting : {R"(deployment.experts={"placement":"round_robin","exchange":"dispatch"})",
                              R"(deployment.collectives={"exchange":"hierarchical"})"})
    settings.emplace_back(setting);
  const plan::Plan plan = small_plan(settings);
  const std::vector<double> counted = rows_on_their_way_bytes(plan);
  ASSERT_EQ(counted.size(), static_cast<std::size_t>(plan.program.ranks));
  for (std::size_t r = 0; r < counted.size(); ++r) EXPECT_EQ(counted[r], rooms_of(plan, RankId(r))) << "rank " << r;
  EXPECT_GT(std::accumulate(counted.begin(), counted.end(), 0.0), 0);
}

INSTANTIATE_TEST_SUITE_P(
    HostMemory, RowsOnTheirWay,
    testing::Values(MemoryCase{"two_nodes_of_two",
                               {R"(deployment.attention={"tp":1,"dp":4})", "cluster.nodes=32", "model.experts=11",
                                "model.top_k=3"}},
                    MemoryCase{"two_nodes_of_four_in_chunks",
                               {R"(deployment.attention={"tp":2,"dp":4})", "model.experts=16", "workload.sequences=33",
                                "cluster.nodes=16", "deployment.overlap=micro_stages", "deployment.chunks=4"}},
                    MemoryCase{"stages_and_batches",
                               {R"(deployment.attention={"tp":1,"dp":4})", "cluster.nodes=32",
                                "deployment.micro_batches=2", R"(deployment.pipeline={"stages":2,"schedule":"flow"})",
                                "model.dense_layers=1", "model.dense_hidden=40"}},
                    MemoryCase{"ranks_without_experts",
                               {R"(deployment.attention={"tp":1,"dp":4})", "cluster.nodes=32", "model.experts=3",
                                "model.top_k=2"}}),
    name_of_memory);

TEST(HostMemory, TokensThatGoByThemselvesKeepNoRowsOnTheirWay) {
  const plan::Plan plan = small_plan({R"(deployment.experts={"placement":"round_robin","exchange":"dispatch"})",
                                      R"(deployment.attention={"tp":1,"dp":4})"});
  EXPECT_THAT(rows_on_their_way_bytes(plan), testing::Each(0.0));
}

}  // namespace
}  // namespace foretoken::test
