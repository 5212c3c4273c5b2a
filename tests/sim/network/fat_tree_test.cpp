// The oversubscribed all-to-alls of all_to_all_test.cpp once more, from a topology file on: its routes, their latencies
// and the fabric's capacities give the completion times that another simulator found.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "plan/machine/topology.hpp"
#include "sim/communication/fabric.hpp"
#include "sim/network/flow_network.hpp"

namespace foretoken::sim {
namespace {

struct Case {
  std::int64_t nodes;
  std::int64_t nodes_per_leaf;
  char workload;
  double makespan_us;
  double mean_us;
};

// Bytes from i to j; unsigned 64-bit arithmetic.
std::uint64_t bytes_of(char workload, std::uint64_t i, std::uint64_t j, std::uint64_t ranks) {
  if (workload == 'U') return 262144;
  if (workload == 'K') return 4096 * (1 + (31 * i + 17 * j) % 64);
  return 4194304 / (1 + (7 * j + 3) % ranks) + 64 * (((i * 73856093) ^ (j * 19349663)) % 4093) + 1;
}

struct Flow {
  double start = 0;
  double bytes = 0;
  std::vector<ResourceUse> uses;
};

NetworkCost ideal_network() {
  NetworkCalibration network;
  network.nvlink = {BytesPerSecond(450e9), 1.0, Provenance::assumed, "invented"};
  network.pcie = {BytesPerSecond(1e12), 1.0, Provenance::assumed, "invented"};
  network.infiniband = {BytesPerSecond(50e9), 1.0, Provenance::assumed, "invented"};
  return NetworkCost(network);
}

class FatTree : public ::testing::TestWithParam<Case> {};

TEST_P(FatTree, EndsWhenAnotherSimulatorSays) {
  const Case& c = GetParam();
  plan::Topology topology = plan::read_topology("tests/data/plan/oracle-fat-tree.json", {c.nodes, std::nullopt});
  topology.fabric.nodes_per_leaf = c.nodes_per_leaf;
  const plan::Machine machine = plan::build_machine(topology);
  const NetworkCost cost = ideal_network();
  const Fabric fabric(machine, cost, machine.gpus());

  std::vector<Flow> flows;
  const auto ranks = static_cast<std::int32_t>(machine.gpus());
  for (std::int32_t i = 0; i < ranks; ++i) {
    for (std::int32_t j = 0; j < ranks; ++j) {
      if (i == j) continue;
      Flow flow;
      flow.start = fabric.route_latency(RankId(i), RankId(j)).value();
      flow.bytes = static_cast<double>(bytes_of(c.workload, static_cast<std::uint64_t>(i),
                                                static_cast<std::uint64_t>(j), static_cast<std::uint64_t>(ranks)));
      fabric.for_each_resource(RankId(i), RankId(j), [&](std::int32_t resource) {
        flow.uses.push_back({resource, 1.0});
      });
      flows.push_back(std::move(flow));
    }
  }
  std::stable_sort(flows.begin(), flows.end(), [](const Flow& a, const Flow& b) { return a.start < b.start; });

  FlowNetwork network(fabric.capacities());
  std::vector<std::int32_t> ended;
  double last = 0;
  double sum = 0;
  for (std::size_t next = 0; next < flows.size() || network.active() > 0;) {
    if (next < flows.size() && flows[next].start <= network.next_completion()) {
      network.advance(flows[next].start);
      for (const double now = flows[next].start; next < flows.size() && flows[next].start <= now + 1e-15; ++next)
        network.start({.demand = flows[next].bytes, .uses = flows[next].uses, .tag = static_cast<std::int32_t>(next)});
      continue;
    }
    ended.clear();
    network.complete(ended);
    last = network.now();
    sum += static_cast<double>(ended.size()) * last;
  }
  EXPECT_NEAR(last * 1e6, c.makespan_us, 1e-6);
  EXPECT_NEAR(sum * 1e6 / static_cast<double>(flows.size()), c.mean_us, 1e-6);
}

INSTANTIATE_TEST_SUITE_P(
    SimGrid, FatTree,
    ::testing::Values(Case{2, 1, 'U', 88.886080, 50.242213926}, Case{2, 1, 'K', 49.400640, 20.144490613},
                      Case{2, 1, 'Z', 767.472850, 136.637560906}, Case{8, 2, 'U', 508.316480, 398.997210300},
                      Case{8, 2, 'K', 259.279680, 138.578155977}, Case{8, 2, 'Z', 4853.658720, 482.501067423}),
    [](const ::testing::TestParamInfo<Case>& one) {
      return std::to_string(8 * one.param.nodes) + "_" + one.param.workload;
    });

}  // namespace
}  // namespace foretoken::sim
