// Tokens that go once per node: what the runtime lists is what the simulator counts, and both ends of a message agree.
#include "runtime/node_exchange.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "plan/program/wire_rows.hpp"
#include "runtime/row_tables.hpp"
#include "runtime/run.hpp"
#include "tests/runtime/agreement.hpp"
#include "tests/runtime/small_plan.hpp"

namespace foretoken::test {
namespace {

using runtime::NodeExchange;

const Settings kOncePerNode{R"(deployment.experts={"placement":"round_robin","exchange":"dispatch"})",
                            R"(deployment.collectives={"exchange":"hierarchical"})"};

using Rows = std::map<std::tuple<std::int32_t, std::int32_t, std::int32_t>, std::int64_t>;  // from, to, round

void add(Rows& rows, std::int32_t from, std::int32_t to, std::int32_t round, std::int64_t count) {
  if (count > 0) rows[{from, to, round}] += count;
}

// Of one exchange, by what each rank sends and by what each gets: messages alone.
void expect_as_counted(const plan::Plan& plan, const plan::Communication& communication, std::int64_t instance,
                       std::int64_t step) {
  const std::int64_t ep = plan.scenario.deployment.ep;
  const bool combine = communication.kind == plan::OpKind::combine;
  Rows sent;
  Rows received;
  Rows of_itself;
  for (std::int64_t i = 0; i < ep; ++i) {
    const auto own = static_cast<std::int32_t>(i);
    const RankId rank(static_cast<std::int32_t>(instance * ep + i));
    const NodeExchange all =
        runtime::node_exchange(plan, rank, step, communication.layer, communication.micro_batch, communication.chunk);
    std::int64_t visitors = 0;
    for (const NodeExchange::Arrival& arrival : all.arriving) {
      EXPECT_EQ(arrival.first, visitors);
      visitors += arrival.direct + arrival.forwarded;
      if (arrival.peer == own) continue;
      add(received, arrival.peer, own, combine && !arrival.same_node ? 1 : 0, arrival.direct);
      add(received, arrival.peer, own, combine ? 0 : 1, arrival.forwarded);
    }
    EXPECT_EQ(all.visitors, visitors);
    for (const NodeExchange::Lot& lot : all.leaving)
      if (lot.peer != own) add(sent, own, lot.peer, combine && !lot.same_node ? 1 : 0, std::ssize(lot.rows));
    for (const NodeExchange::Lot& lot : all.passing) {
      EXPECT_TRUE(lot.same_node);
      EXPECT_NE(lot.peer, own);
      add(sent, own, lot.peer, combine ? 0 : 1, std::ssize(lot.rows));
    }
    add(of_itself, own, own, combine ? 2 : 0, rows_of(all.leaving));
    add(of_itself, own, own, 1, rows_of(all.passing));
    add(of_itself, own, own, combine ? 0 : 2, std::ssize(all.uses));

    // Each row of an expert is used once, and its number is the one that sorting knows.
    const runtime::RowTables tables(plan, rank);
    std::vector<std::int32_t> rows;
    for (const NodeExchange::Use& use : all.uses) rows.push_back(use.row);
    std::sort(rows.begin(), rows.end());
    for (std::size_t row = 0; row < rows.size(); ++row) EXPECT_EQ(rows[row], static_cast<std::int32_t>(row));
    EXPECT_EQ(std::ssize(rows),
              tables.hosted(step, communication.layer, communication.micro_batch, communication.chunk).rows);
  }
  EXPECT_EQ(sent, received);

  plan::RowCounter counter(plan.placement, plan.routing, plan.scenario.model.experts);
  plan::NodeRows counted(plan, counter, plan::NodeRows::Legs::apart);
  Rows messages;
  Rows copies;
  for (const plan::PairRows& pair : counted.rows(communication, instance, step).pairs)
    add(pair.source == pair.host ? copies : messages, pair.source, pair.host, pair.round, pair.rows);
  EXPECT_EQ(sent, messages);
  EXPECT_EQ(of_itself, copies);
}

TEST(NodeExchange, ListsWhatTheSimulatorCounts) {
  for (const char* nodes : {"cluster.nodes=1", "cluster.nodes=21", "cluster.nodes=32", "cluster.nodes=64"})
    for (const Settings& more :
         {Settings{R"(deployment.attention={"tp":1,"dp":4})"},
          Settings{R"(deployment.attention={"tp":1,"dp":8})", "model.experts=5", "model.top_k=3"},
          Settings{R"(deployment.attention={"tp":2,"dp":4})", "model.experts=16", "model.top_k=5",
                   "workload.sequences=37", "deployment.overlap=micro_stages", "deployment.chunks=4"}}) {
      const plan::Plan plan = small_plan(kOncePerNode + more + Settings{nodes});
      const std::int64_t instances = plan.program.ranks / plan.scenario.deployment.ep;
      for (const plan::Communication& communication : plan.program.communications)
        for (std::int64_t instance = 0; plan::is_exchange(communication.kind) && instance < instances; ++instance)
          for (std::int64_t step = 0; step < plan.routing.routed_steps(); ++step)
            expect_as_counted(plan, communication, instance, step);
    }
}

// 4 ranks on 2 nodes, a token with all 4 experts: 2 of its rows are in its own node, 1 crosses instead of 2.
TEST(NodeExchange, CrossesOncePerNode) {
  const plan::Plan plan = small_plan(
      kOncePerNode + Settings{R"(deployment.attention={"tp":1,"dp":4})", "cluster.nodes=32", "model.top_k=4"});
  const plan::ExchangeVolume volume = plan::exchange_volume(plan);
  // 3 layers x 8 tokens: 2 experts across; 32 columns of 4 bytes, and on the way there 4 weights.
  EXPECT_DOUBLE_EQ(volume.useful_across, 3 * 8 * 2 * 32 * 4 * 2);
  EXPECT_DOUBLE_EQ(volume.wire_across, 3 * 8 * (32 * 4 + 36 * 4));
  // Beside it each token goes to its neighbour, and its neighbour on the other node is handed it on.
  EXPECT_DOUBLE_EQ(volume.wire, 3 * 8 * 3 * (32 * 4 + 36 * 4));
  EXPECT_DOUBLE_EQ(volume.useful, 3 * 8 * 3 * 32 * 4 * 2);
}

// The order of sums is the same whoever carries the messages; another node size is another order.
TEST(NodeExchange, GivesTheSameActivationsOnNodesOfAnySize) {
  for (const char* nodes : {"cluster.nodes=1", "cluster.nodes=32", "cluster.nodes=64"}) {
    const plan::Plan plan =
        small_plan(kOncePerNode + Settings{R"(deployment.attention={"tp":1,"dp":8})", "model.experts=16",
                                           "model.top_k=5", "model.shared_experts=1", nodes});
    EXPECT_LT(difference(runtime::run_threads(plan), expected(plan)), kTolerance) << nodes;
  }
}

}  // namespace
}  // namespace foretoken::test
