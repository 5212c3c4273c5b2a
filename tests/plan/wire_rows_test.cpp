// What a dispatch mode puts on the wire, and the ops that it lowers to.
#include "plan/program/wire_rows.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/plan/plan_files.hpp"

namespace foretoken::plan::test {
namespace {

// tests/data/plan/dispatch.json with another mode.
Plan plan_with(const std::string& mode, std::vector<Edit> edits = {}) {
  edits.push_back({"/deployment/experts/dispatch_mode", "\"" + mode + "\""});
  return plan_of_base("dispatch", edits);
}

using Rows = std::map<std::pair<std::int32_t, std::int32_t>, std::int64_t>;

Rows by_pair(const RoutedRows& routed) {
  Rows rows;
  for (const PairRows& pair : routed.pairs) rows[{pair.source, pair.host}] = pair.rows;
  return rows;
}

TEST(WireRows, PlannedAndExactMoveTheRowsThatThereAre) {
  for (const char* mode : {"planned", "exact"}) {
    const Plan plan = plan_with(mode);
    RowCounter counter(plan.placement, plan.routing, plan.scenario.model.experts);
    WireRows wire(plan, counter);
    for (const Communication& c : plan.program.communications) {
      if (c.kind != OpKind::dispatch && c.kind != OpKind::combine) continue;
      EXPECT_EQ(by_pair(wire.rows(c, 0, 0)), by_pair(counter.rows(0, c.layer, c.micro_batch, c.chunk, 0))) << c.name;
    }
  }
}

// Every pair of ranks whose one is a source of the chunk and whose other has experts, whatever the routing.
TEST(WireRows, CapacityMovesAllSlotsAndLosesNothing) {
  const Plan plan = plan_with("capacity");
  RowCounter counter(plan.placement, plan.routing, plan.scenario.model.experts);
  WireRows wire(plan, counter);
  const std::int64_t ep = plan.scenario.deployment.ep;
  std::size_t seen = 0;
  for (const Communication& c : plan.program.communications) {
    if (!is_exchange(c.kind)) continue;
    ++seen;
    ASSERT_GT(c.slots, 0) << c.name;
    const Range sources = c.chunk < 0 ? Range{0, ep} : plan.placement.chunk_sources(c.chunk);
    for (std::int64_t step = 0; step < plan.routing.routed_steps(); ++step) {
      const Rows useful = by_pair(counter.rows(step, c.layer, c.micro_batch, c.chunk, 0));
      const Rows moved = by_pair(wire.rows(c, 0, step));
      for (std::int64_t source = 0; source < ep; ++source)
        for (std::int64_t host = 0; host < ep; ++host) {
          const std::pair pair(static_cast<std::int32_t>(source), static_cast<std::int32_t>(host));
          const bool taking_part =
              source >= sources.begin && source < sources.end && !plan.placement.experts_on(c.layer, host).empty();
          const auto there = useful.find(pair);
          const std::int64_t rows = there == useful.end() ? 0 : there->second;
          EXPECT_LE(rows, c.slots) << c.name;
          const std::int64_t wanted = !taking_part ? 0 : source == host ? rows : c.slots + c.header_rows;
          const auto found = moved.find(pair);
          EXPECT_EQ(found == moved.end() ? 0 : found->second, wanted) << c.name << " " << source << " to " << host;
        }
    }
    if (c.kind == OpKind::combine) {
      EXPECT_EQ(c.header_rows, 0);
    }
  }
  EXPECT_GT(seen, 0u);
}

// One op more before every dispatch, on its stream; a number per expert of the host from every source.
TEST(WireRows, ExactExchangesCountsBeforeEachDispatch) {
  const Plan plan = plan_with("exact");
  RowCounter counter(plan.placement, plan.routing, plan.scenario.model.experts);
  WireRows wire(plan, counter);
  std::size_t seen = 0;
  for (const Role& role : plan.program.roles)
    for (std::size_t o = 0; o < role.ops.size(); ++o) {
      if (role.ops[o].kind != OpKind::dispatch) continue;
      ASSERT_GT(o, 0u);
      const Op& counts = role.ops[o - 1];
      EXPECT_EQ(counts.kind, OpKind::exchange_counts);
      EXPECT_EQ(counts.stream, role.ops[o].stream);
      EXPECT_EQ(counts.dtype, DType::int32);
      const auto& detail = std::get<ExchangeOp>(counts.detail);
      const Communication& c = plan.program.communications[detail.communication.index()];
      for (const PairRows& pair : wire.rows(c, 0, 0).pairs)
        EXPECT_EQ(pair.rows, static_cast<std::int64_t>(plan.placement.experts_on(c.layer, pair.host).size()));
      ++seen;
    }
  EXPECT_GT(seen, 0u);
}

// The work does not depend on who goes where, so that a run whose own router decides and the plan that replays it have
// one program.
TEST(WireRows, ProgramsDoNotDependOnTheRouting) {
  for (const char* mode : {"capacity", "exact"}) {
    const Plan drawn = plan_with(mode);
    const Plan model = plan_with(mode, {{"/routing", R"({"kind":"model","seed":1,"routed_steps":2})"}});
    EXPECT_EQ(drawn.program_hash, model.program_hash);
    EXPECT_NE(drawn.routing_hash, model.routing_hash);
  }
}

}  // namespace
}  // namespace foretoken::plan::test
