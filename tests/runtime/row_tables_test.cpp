// The rows that the runtime moves are those that the simulator counts.
#include "runtime/row_tables.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "plan/program/resolve.hpp"
#include "tests/runtime/small_plan.hpp"

namespace foretoken::test {
namespace {

void expect_rows_as_counted(const Settings& settings) {
  const plan::Plan plan = small_plan(settings);
  plan::RowCounter counter(plan.placement, plan.routing, plan.scenario.model.experts);
  for (std::int32_t r = 0; r < plan.program.ranks; ++r) {
    const RankId rank(r);
    const runtime::RowTables tables(plan, rank);
    for (const plan::Op& op : plan.program.role_of(rank).ops) {
      const auto* product = std::get_if<plan::GroupedGemmOp>(&op.detail);
      if (product == nullptr) continue;
      const plan::Extent& extent = product->rows;
      for (std::int64_t step = 0; step < plan.routing.routed_steps(); ++step) {
        const runtime::HostedRows& hosted = tables.hosted(step, extent.layer, extent.micro_batch, extent.chunk);
        const std::vector<std::int64_t> local = counter.local_rows(rank, extent, step);
        EXPECT_EQ(hosted.rows_of_expert, local) << op.name;
        EXPECT_EQ(tables.rows(extent, step), std::accumulate(local.begin(), local.end(), std::int64_t{0})) << op.name;
        EXPECT_LE(tables.rows(extent, step), tables.rows_max(extent)) << op.name;

        // A permutation: every row that arrives is sorted once.
        std::vector<std::int32_t> sorted = hosted.sorted;
        std::sort(sorted.begin(), sorted.end());
        for (std::size_t i = 0; i < sorted.size(); ++i) ASSERT_EQ(sorted[i], static_cast<std::int32_t>(i)) << op.name;

        if (hosted.rows_from.empty()) continue;
        std::vector<std::int64_t> from(hosted.rows_from.size(), 0);
        const std::int64_t instance = r / plan.scenario.deployment.ep;
        for (const plan::PairRows& pair :
             counter.rows(step, extent.layer, extent.micro_batch, extent.chunk, instance).pairs)
          if (pair.host == plan.placement.ep_index_of(rank)) from[static_cast<std::size_t>(pair.source)] = pair.rows;
        EXPECT_EQ(hosted.rows_from, from) << op.name;
      }
    }
  }
}

TEST(RowTables, CountRowsAsTheSimulatorDoes) {
  const Settings dispatch{R"(deployment.experts={"placement":"round_robin","exchange":"dispatch"})",
                          R"(deployment.attention={"tp":2,"dp":4})", "model.experts=11", "model.top_k=3",
                          "workload.sequences=37"};
  expect_rows_as_counted(dispatch);
  Settings chunked = dispatch;
  chunked.insert(chunked.end(),
                 {"deployment.overlap=micro_stages", "deployment.chunks=4", "deployment.micro_batches=2"});
  expect_rows_as_counted(chunked);
  const Settings tp{R"(deployment.attention={"tp":4,"dp":2})"};
  expect_rows_as_counted(tp);
  expect_rows_as_counted({tp[0], "deployment.experts.placement=sharded"});
  expect_rows_as_counted({tp[0], "deployment.experts.placement=round_robin", "model.experts=7"});
}

// By hand: two experts on two hosts, top 1. Whatever a source packs for host 0 comes before what it packs for host 1,
// and within a host tokens ascend.
TEST(RowTables, PackOrdersByHostThenToken) {
  const plan::Plan plan = small_plan({R"(deployment.experts={"placement":"round_robin","exchange":"dispatch"})",
                                      R"(deployment.attention={"tp":1,"dp":2})", "model.experts=2", "model.top_k=1"});
  const runtime::RowTables tables(plan, RankId(0));
  const runtime::RoutedRowTable& table = tables.at(0, 0, 0);
  ASSERT_EQ(table.selected.size(), 4U);
  std::vector<std::int32_t> expected;
  for (const std::int32_t expert : {0, 1})
    for (std::int32_t token = 0; token < 4; ++token)
      if (table.experts[static_cast<std::size_t>(token)] == expert) expected.push_back(token);
  EXPECT_EQ(table.selected, expected);
  EXPECT_EQ(table.rows_to[0] + table.rows_to[1], 4);
  for (std::size_t token = 0; token < 4; ++token)
    EXPECT_EQ(table.selected[static_cast<std::size_t>(table.row_of[token])], static_cast<std::int32_t>(token));
}

}  // namespace
}  // namespace foretoken::test
