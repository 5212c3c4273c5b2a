// Tokens that go once to each node: counted by hand, and against a count by sets.
#include "plan/program/node_rows.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <tuple>

#include "core/json_reader.hpp"
#include "plan/machine/topology.hpp"

namespace foretoken::plan {
namespace {

// Two nodes of four, with memory for the plans.
plan::Machine two_nodes() {
  plan::Topology topology;
  topology.name = "two";
  topology.device.name = "gpu";
  topology.device.memory = Bytes(std::int64_t{1} << 30);
  topology.nodes = 2;
  topology.gpus_per_node = 4;
  topology.nvlink_bandwidth = topology.pcie_bandwidth = topology.nic_bandwidth = BytesPerSecond(1e9);
  return plan::build_machine(topology);
}

plan::Plan plan_for(const plan::Machine& machine, std::int64_t experts, std::int64_t top_k, std::int64_t tp,
                    const std::string& placement) {
  const std::string ranks = std::to_string(machine.gpus());
  JsonDocument document = JsonDocument::from_text(R"({
    "kind": "scenario", "schema_version": 1, "name": "rows",
    "model": {"name": "m", "layers": 2, "hidden": 64, "heads": 8, "head_dim": 8, "experts": 8, "top_k": 2,
              "expert_hidden": 32, "gated": false, "dtype": {"weights": "bf16"}},
    "workload": {"kind": "decode", "sequences": 60, "context": 8},
    "routing": {"kind": "zipf", "exponent": 0.8, "seed": 7, "routed_steps": 2},
    "deployment": {"attention": {"tp": 1, "dp": 1}, "experts": {"placement": "colocated", "exchange": "dispatch"},
                   "collectives": {"exchange": "hierarchical"}},
    "cluster": {"topology": "/proc/cpuinfo"}, "measure": {"warmup_steps": 2, "steps": 2}})",
                                                  "rows.json");
  document.set("model.experts=" + std::to_string(experts));
  document.set("model.top_k=" + std::to_string(top_k));
  document.set("deployment.attention.tp=" + std::to_string(tp));
  document.set("deployment.attention.dp=" + std::to_string(machine.gpus() / tp));
  document.set("deployment.experts.ep=" + ranks);
  document.set("deployment.experts.placement=\"" + placement + "\"");
  return plan::make_plan(plan::parse_scenario(document), machine);
}

using Pairs = std::map<std::pair<std::int32_t, std::int32_t>, std::int64_t>;

Pairs pairs_of(const plan::RoutedRows& rows) {
  Pairs pairs;
  for (const plan::PairRows& pair : rows.pairs) {
    EXPECT_GT(pair.rows, 0);
    EXPECT_TRUE(pairs.emplace(std::pair(pair.source, pair.host), pair.rows).second) << "a pair twice";
  }
  return pairs;
}

// The same by sets: which token crosses to which node, and which reaches which host from whom.
Pairs by_sets(const plan::Plan& plan, const plan::Machine& machine, const plan::Communication& communication,
              std::int64_t step) {
  const auto ep = static_cast<std::int32_t>(plan.scenario.deployment.ep);
  const auto node_of = [&](std::int32_t rank) { return machine.node_of(RankId(rank)); };
  const auto gateway = [&](std::int32_t source, std::int32_t node) {
    std::vector<std::int32_t> hosting;
    std::int32_t place = 0;
    for (std::int32_t rank = 0; rank < ep; ++rank) {
      if (node_of(rank) == node_of(source) && rank < source) ++place;
      if (node_of(rank) == node && !plan.placement.experts_on(communication.layer, rank).empty())
        hosting.push_back(rank);
    }
    return hosting[static_cast<std::size_t>(place) % hosting.size()];
  };
  std::set<std::tuple<std::int32_t, std::int32_t, std::int64_t>> sent;  // from, to, token
  std::vector<std::int32_t> experts(static_cast<std::size_t>(plan.scenario.model.top_k));
  for (std::int32_t source = 0; source < ep; ++source) {
    const RankId rank(source);
    const plan::Range tokens = plan.placement.slice(plan.placement.replica_of(rank), communication.micro_batch,
                                                    plan.placement.tp_index_of(rank));
    for (std::int64_t token = tokens.begin; token < tokens.end; ++token) {
      plan.routing.experts_of(step, communication.layer, token, experts);
      for (const std::int32_t expert : experts) {
        const std::int32_t host = plan.placement.host_of(communication.layer, expert);
        if (node_of(host) == node_of(source)) {
          sent.insert({source, host, token});
          continue;
        }
        const std::int32_t via = gateway(source, node_of(host));
        sent.insert({source, via, token});
        if (via != host) sent.insert({via, host, token});
      }
    }
  }
  Pairs pairs;
  for (const auto& [from, to, token] : sent) ++pairs[{from, to}];
  return pairs;
}

TEST(NodeRows, CountsEachTokenOncePerNodeAndRank) {
  for (const auto& [experts, top_k, tp, placement] :
       {std::tuple{8, 2, 1, "colocated"}, std::tuple{16, 5, 1, "round_robin"}, std::tuple{8, 8, 2, "colocated"},
        std::tuple{16, 1, 4, "round_robin"}, std::tuple{8, 3, 8, "round_robin"}}) {
    const plan::Machine machine = two_nodes();
    const plan::Plan plan = plan_for(machine, experts, top_k, tp, placement);
    plan::RowCounter rows(plan.placement, plan.routing, plan.scenario.model.experts);
    NodeRows node_rows(plan, rows);
    int exchanges = 0;
    for (const plan::Communication& communication : plan.program.communications) {
      if (communication.kind != plan::OpKind::dispatch) continue;
      EXPECT_EQ(communication.exchange, ExchangeAlgorithm::hierarchical);
      for (const std::int64_t step : {0, 1}) {
        const plan::RoutedRows& routed = node_rows.rows(communication, 0, step);
        EXPECT_EQ(pairs_of(routed), by_sets(plan, machine, communication, step))
            << experts << " experts, top " << top_k;
        EXPECT_EQ(
            routed.rows_of_expert,
            rows.rows(step, communication.layer, communication.micro_batch, communication.chunk, 0).rows_of_expert);
        ++exchanges;
      }
    }
    EXPECT_EQ(exchanges, 4);
  }
}

// The program says which ranks share a node; rows are taken from tokens, with their weights, and come back as sums.
TEST(NodeRows, TheProgramSaysWhatTravels) {
  const Plan plan = plan_for(two_nodes(), 8, 2, 1, "colocated");
  EXPECT_EQ(plan.program.groups.back().name, "node");
  EXPECT_EQ(plan.program.groups.back().size, 4);
  for (const Role& role : plan.program.roles)
    for (const Op& op : role.ops) {
      EXPECT_NE(op.name, "l0.m0.pack");
      EXPECT_NE(op.kind, OpKind::unpermute);
      const auto* exchange = std::get_if<ExchangeOp>(&op.detail);
      if (exchange == nullptr) continue;
      // 64 columns of bf16; 2 weights in fp32 are 4 of those.
      EXPECT_EQ(exchange->cols, op.kind == OpKind::dispatch ? 64 + 4 : 64);
      EXPECT_EQ(op.inputs.size(), 2U);
      EXPECT_EQ(op.outputs.size(), op.kind == OpKind::dispatch ? 2U : 1U);
    }
}

// Legs apart are the same rows, and what a node is handed on comes after what crosses.
TEST(NodeRows, LegsApartAreTheSameRows) {
  const plan::Plan plan = plan_for(two_nodes(), 16, 5, 2, "round_robin");
  RowCounter rows(plan.placement, plan.routing, plan.scenario.model.experts);
  NodeRows together(plan, rows);
  NodeRows apart(plan, rows, NodeRows::Legs::apart);
  for (const Communication& communication : plan.program.communications) {
    if (!is_exchange(communication.kind)) continue;
    Pairs of_pairs;
    for (const PairRows& pair : apart.rows(communication, 0, 1).pairs) {
      const bool crosses = pair.source / 4 != pair.host / 4;
      if (pair.source == pair.host) continue;
      of_pairs[{pair.source, pair.host}] += pair.rows;
      if (crosses || communication.kind == OpKind::combine) {
        EXPECT_EQ(pair.round, crosses && communication.kind == OpKind::combine ? 1 : 0);
      }
    }
    Pairs expected = pairs_of(together.rows(communication, 0, 1));
    std::erase_if(expected, [](const auto& entry) { return entry.first.first == entry.first.second; });
    EXPECT_EQ(of_pairs, expected);
  }
}

// All 8 experts are a token's: every rank's 7 or 8 tokens cross once and reach all four ranks of both nodes.
TEST(NodeRows, TokensOfAllExpertsCrossOnce) {
  const plan::Machine machine = two_nodes();
  const plan::Plan plan = plan_for(machine, 8, 8, 1, "colocated");
  plan::RowCounter rows(plan.placement, plan.routing, 8);
  NodeRows node_rows(plan, rows);
  const Pairs pairs = pairs_of(node_rows.rows(plan.program.communications.front(), 0, 0));
  // 60 tokens over 8 ranks: 8, 8, 8, 8, 7, 7, 7, 7. Rank 1 sends its 8 to rank 5 in the other node, and to each rank of
  // its own; to each of those it also hands on the 7 that came from rank 5.
  EXPECT_EQ(pairs.at({1, 5}), 8);
  EXPECT_EQ(pairs.count({1, 4}), 0U);
  EXPECT_EQ(pairs.at({1, 2}), 8 + 7);
  EXPECT_EQ(pairs.at({1, 1}), 8);  // stays: no message
}

// Each expert sent to by itself takes a row over the NIC; once per node, a token takes one for the four experts there.
TEST(NodeRows, LessCrossesThanByExpert) {
  const plan::Machine machine = two_nodes();
  const plan::Plan plan = plan_for(machine, 8, 8, 1, "colocated");
  plan::RowCounter rows(plan.placement, plan.routing, 8);
  NodeRows node_rows(plan, rows);
  const auto across = [&](const plan::RoutedRows& routed) {
    std::int64_t sum = 0;
    for (const plan::PairRows& pair : routed.pairs)
      if (pair.source / 4 != pair.host / 4) sum += pair.rows;
    return sum;
  };
  const plan::Communication& dispatch = plan.program.communications.front();
  EXPECT_EQ(across(rows.rows(0, dispatch.layer, dispatch.micro_batch, -1, 0)), 60 * 4);
  EXPECT_EQ(across(node_rows.rows(dispatch, 0, 0)), 60);
}

}  // namespace
}  // namespace foretoken::plan
