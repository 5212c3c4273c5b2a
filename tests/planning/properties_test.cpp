// What must hold of every scenario, over 500 that are drawn by seed.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "core/random.hpp"
#include "plan/lower/lower.hpp"
#include "plan/machine/topology.hpp"
#include "plan/memory.hpp"
#include "plan/program/resolve.hpp"
#include "sim/collective/alone.hpp"
#include "sim/cost/network_cost.hpp"

namespace foretoken::planning {
namespace {

constexpr std::uint64_t kSeeds = 500;

/// Whole numbers from a seed. Failures print it.
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : random_(seed, 0, 0, 0) {}
  std::int64_t from(std::int64_t least, std::int64_t most) {
    return least + static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(most - least + 1)));
  }
  template <class T>
  T of(const std::vector<T>& values) {
    return values[static_cast<std::size_t>(from(0, static_cast<std::int64_t>(values.size()) - 1))];
  }

 private:
  RandomSequence random_;
};

plan::Topology topology_of(Draw& draw) {
  plan::Topology topology = plan::read_topology("topologies/hgx-h100-2nodes-ndr400.json",
                                                plan::TopologyOverrides{draw.from(2, 3), std::nullopt});
  topology.gpus_per_node = draw.of<std::int64_t>({2, 4, 8});
  topology.nic_bandwidth = BytesPerSecond(1e9 * static_cast<double>(draw.from(5, 100)));
  return topology;
}

plan::Scenario scenario_of(Draw& draw) {
  plan::Scenario scenario;
  plan::ModelSpec& model = scenario.model;
  model.layers = draw.from(1, 3);
  model.heads = 8;
  model.kv_heads = draw.of<std::int64_t>({2, 4, 8});
  model.head_dim = 64;
  model.hidden = 512;
  model.experts = draw.of<std::int64_t>({8, 16, 32});
  model.top_k = draw.from(1, 4);
  model.expert_hidden = 256 * draw.from(1, 4);
  model.gated = draw.from(0, 1) == 1;
  scenario.workload = {16 * draw.from(1, 16), draw.from(0, 512)};
  plan::RoutingSpec& routing = scenario.routing;
  routing.kind = plan::RoutingKind::zipf;
  routing.exponent = static_cast<double>(draw.from(0, 20)) / 10;
  routing.seed = static_cast<std::uint64_t>(draw.from(0, 1'000'000));
  plan::DeploymentSpec& deployment = scenario.deployment;
  deployment.tp = draw.of<std::int64_t>({1, 2});
  deployment.dp = 4 / deployment.tp;
  deployment.exchange = draw.from(0, 1) == 1 ? plan::ExpertExchange::dispatch : plan::ExpertExchange::all_reduce;
  deployment.ep = deployment.exchange == plan::ExpertExchange::dispatch ? 4 : deployment.tp;
  deployment.micro_batches = draw.of<std::int64_t>({1, 2});
  return scenario;
}

// ---- network -------------------------------------------------------------------------------------------------------

Seconds all_to_all(const plan::Topology& topology, const sim::TrafficMatrix& traffic) {
  const plan::Machine machine = plan::build_machine(topology);
  const sim::NetworkCost cost(sim::ideal_network(machine));
  const sim::Fabric fabric(machine, cost, traffic.ranks());
  return sim::Alone(fabric, traffic.ranks()).all_to_all(AllToAllAlgorithm::direct, traffic).time;
}

sim::TrafficMatrix traffic_of(Draw& draw, std::int32_t ranks) {
  sim::TrafficMatrix traffic(ranks);
  for (std::int32_t from = 0; from < ranks; ++from)
    for (std::int32_t to = 0; to < ranks; ++to)
      if (draw.from(0, 2) > 0) traffic.set(from, to, Bytes(draw.from(1, 4'000'000)));
  return traffic;
}

// Max-min sharing promises this of every instant, not of the last flow's end: a faster link may hold up a flow on
// another. None of these draws is of that kind.
TEST(Properties, AHalvedNicNeverLowersTheAllToAllTime) {
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    Draw draw(seed);
    plan::Topology topology = topology_of(draw);
    const auto ranks = static_cast<std::int32_t>(topology.nodes * topology.gpus_per_node);
    const sim::TrafficMatrix traffic = traffic_of(draw, ranks);
    const Seconds before = all_to_all(topology, traffic);
    topology.nic_bandwidth = topology.nic_bandwidth / 2;
    const Seconds after = all_to_all(topology, traffic);
    EXPECT_GE(after.value(), before.value() * (1 - 1e-12)) << "seed " << seed;
  }
}

/// Bytes that leave each NIC of a node towards the fabric, if every GPU of it sends its row to other nodes.
std::map<std::string, double> sent_by_nics(const plan::Machine& machine, const sim::TrafficMatrix& traffic,
                                           std::int32_t node) {
  std::map<std::string, double> sent;
  for (std::int32_t from = 0; from < traffic.ranks(); ++from)
    for (std::int32_t to = 0; to < traffic.ranks(); ++to) {
      if (machine.node_of(RankId(from)) != node || machine.node_of(RankId(to)) == node) continue;
      for (const LinkId id : machine.route(RankId(from), RankId(to))) {
        EXPECT_FALSE(machine.is_dead(id));
        const plan::Link& link = machine.links()[id.index()];
        if (machine.kind_of(link.from) == plan::VertexKind::nic && link.link_class == LinkClass::infiniband)
          sent[machine.vertex_name(link.from)] += static_cast<double>(traffic.at(from, to).value());
      }
    }
  return sent;
}

TEST(Properties, ADeadNicsTrafficAppearsOnItsNeighbours) {
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    Draw draw(seed);
    const plan::Topology topology = topology_of(draw);
    const plan::Machine machine = plan::build_machine(topology);
    const auto ranks = static_cast<std::int32_t>(topology.nodes * topology.gpus_per_node);
    const sim::TrafficMatrix traffic = traffic_of(draw, ranks);
    const auto node = static_cast<std::int32_t>(draw.from(0, topology.nodes - 1));
    const std::string dead = fmt::format("node{}.nic{}", node, draw.from(0, topology.gpus_per_node - 1));
    std::vector<LinkId> links;
    for (std::size_t l = 0; l < machine.links().size(); ++l) {
      const plan::Link& link = machine.links()[l];
      if (machine.vertex_name(link.from) == dead || machine.vertex_name(link.to) == dead)
        links.push_back(LinkId(static_cast<std::int32_t>(l)));
    }
    const auto before = sent_by_nics(machine, traffic, node);
    const auto after = sent_by_nics(machine.without(links), traffic, node);
    const auto total = [](const auto& sent) {
      return std::accumulate(sent.begin(), sent.end(), 0.0,
                             [](double sum, const auto& nic) { return sum + nic.second; });
    };
    EXPECT_EQ(total(after), total(before)) << "seed " << seed;
    EXPECT_FALSE(after.contains(dead)) << "seed " << seed;
    for (const auto& [nic, bytes] : before) {
      if (nic == dead) continue;
      EXPECT_GE(after.contains(nic) ? after.at(nic) : 0, bytes) << "seed " << seed << " " << nic;
    }
  }
}

// ---- experts -------------------------------------------------------------------------------------------------------

/// Rows of a layer's experts on each rank of the first expert group, in rows of a whole expert.
std::vector<double> loads(const plan::Scenario& scenario) {
  const plan::Placement placement(scenario.model, scenario.workload, scenario.deployment);
  const plan::Routing routing(scenario.routing, scenario.model.layers, scenario.model.experts, scenario.model.top_k);
  plan::RowCounter counter(placement, routing, scenario.model.experts);
  const bool sharded = scenario.deployment.placement == plan::ExpertPlacement::sharded;
  std::vector<double> load(static_cast<std::size_t>(scenario.deployment.ep), 0);
  const auto& rows = counter.rows(0, 0, 0, -1, 0).rows_of_expert;
  for (std::size_t expert = 0; expert < rows.size(); ++expert) {
    const auto share = static_cast<double>(rows[expert]);
    if (sharded)
      for (double& one : load) one += share / static_cast<double>(load.size());
    else load[static_cast<std::size_t>(placement.host_of(0, static_cast<std::int64_t>(expert)))] += share;
  }
  return load;
}

// Sharded experts are the balanced placement: every rank does an equal part of every row.
TEST(Properties, ABalancedPlacementNeverRaisesTheMaximumExpertLoad) {
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    Draw draw(seed);
    plan::Scenario scenario = scenario_of(draw);
    scenario.deployment.exchange = plan::ExpertExchange::all_reduce;
    scenario.deployment.ep = scenario.deployment.tp = 4;
    scenario.deployment.dp = 1;
    const auto most = [&](plan::ExpertPlacement placement) {
      scenario.deployment.placement = placement;
      const std::vector<double> load = loads(scenario);
      return *std::max_element(load.begin(), load.end());
    };
    const double balanced = most(plan::ExpertPlacement::sharded);
    EXPECT_LE(balanced, most(plan::ExpertPlacement::colocated) * (1 + 1e-12)) << "seed " << seed;
    EXPECT_LE(balanced, most(plan::ExpertPlacement::round_robin) * (1 + 1e-12)) << "seed " << seed;
  }
}

// ---- memory --------------------------------------------------------------------------------------------------------

double memory_of_fullest(const plan::Scenario& scenario, const plan::Machine& machine) {
  const plan::Placement placement(scenario.model, scenario.workload, scenario.deployment);
  std::vector<std::int64_t> layers(static_cast<std::size_t>(scenario.model.layers));
  std::iota(layers.begin(), layers.end(), 0);
  const plan::Program program = plan::lower(scenario, placement, machine, layers);
  double most = 0;
  for (const plan::Role& role : program.roles)
    most = std::max(most, plan::memory_of(role, scenario, placement).total());
  return most;
}

TEST(Properties, MemoryGrowsWithBatchAndContext) {
  const plan::Machine machine = plan::build_machine(plan::read_topology("topologies/hgx-h100-2nodes-ndr400.json"));
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    Draw draw(seed);
    plan::Scenario scenario = scenario_of(draw);
    const double before = memory_of_fullest(scenario, machine);
    scenario.workload.sequences += draw.from(1, 64);
    const double larger = memory_of_fullest(scenario, machine);
    EXPECT_GE(larger, before) << "seed " << seed;
    scenario.workload.context += draw.from(1, 512);
    EXPECT_GT(memory_of_fullest(scenario, machine), larger) << "seed " << seed;
  }
}

}  // namespace
}  // namespace foretoken::planning
