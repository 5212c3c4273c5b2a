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

struct FatTreeCase {
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

struct Times {
  double makespan_us = 0;
  double mean_us = 0;
  double bound_us = 0;  // by the load on the busiest resource, latency aside
};

Times all_to_all(const plan::Topology& topology, char workload) {
  const plan::Machine machine = plan::build_machine(topology);
  const NetworkCost cost = ideal_network();
  const Fabric fabric(machine, cost, machine.gpus());
  const std::vector<double> capacities = fabric.capacities();

  std::vector<Flow> flows;
  std::vector<double> load(capacities.size(), 0.0);
  const auto ranks = static_cast<std::int32_t>(machine.gpus());
  for (std::int32_t i = 0; i < ranks; ++i) {
    for (std::int32_t j = 0; j < ranks; ++j) {
      if (i == j) continue;
      Flow flow;
      flow.start = fabric.route_latency(RankId(i), RankId(j)).value();
      flow.bytes = static_cast<double>(bytes_of(workload, static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(j),
                                                static_cast<std::uint64_t>(ranks)));
      fabric.for_each_resource(RankId(i), RankId(j), [&](std::int32_t resource) {
        flow.uses.push_back({resource, 1.0});
        load[static_cast<std::size_t>(resource)] += flow.bytes;
      });
      flows.push_back(std::move(flow));
    }
  }
  std::stable_sort(flows.begin(), flows.end(), [](const Flow& a, const Flow& b) { return a.start < b.start; });

  Times times;
  FlowNetwork network(capacities);
  std::vector<std::int32_t> ended;
  for (std::size_t next = 0; next < flows.size() || network.active() > 0;) {
    if (next < flows.size() && flows[next].start <= network.next_completion()) {
      network.advance(flows[next].start);
      for (const double now = flows[next].start; next < flows.size() && flows[next].start <= now + 1e-15; ++next)
        network.start({.demand = flows[next].bytes, .uses = flows[next].uses, .tag = static_cast<std::int32_t>(next)});
      continue;
    }
    ended.clear();
    network.complete(ended);
    times.makespan_us = network.now() * 1e6;
    times.mean_us += static_cast<double>(ended.size()) * network.now() * 1e6 / static_cast<double>(flows.size());
  }
  for (std::size_t r = 0; r < load.size(); ++r)
    if (load[r] > 0) times.bound_us = std::max(times.bound_us, load[r] / capacities[r] * 1e6);
  return times;
}

class FatTree : public ::testing::TestWithParam<FatTreeCase> {};

TEST_P(FatTree, EndsWhenAnotherSimulatorSays) {
  const FatTreeCase& c = GetParam();
  plan::Topology topology = plan::read_topology("tests/data/plan/oracle-fat-tree.json", {c.nodes, std::nullopt});
  topology.fabric.nodes_per_leaf = c.nodes_per_leaf;
  const Times times = all_to_all(topology, c.workload);
  EXPECT_NEAR(times.makespan_us, c.makespan_us, 1e-6);
  EXPECT_NEAR(times.mean_us, c.mean_us, 1e-6);
}

// The same 64 GPUs with as many uplinks as NICs: 16 cables of 50 GB/s from each of 4 leaves. Sprayed, nothing waits in
// the fabric: 56 flows leave a NIC, 56 x 262144 B / 50 GB/s = 293.6 us, and 4 to 5 us. By hash, a leaf's 16 x 48 flows
// fall on 16 cables as dice do: 48 each on average, deviation sqrt(768 x 1/16 x 15/16) = 6.7; the fullest of 64 up and
// 64 down has some 2.5 deviations more, 65, so that the busiest cable takes about 65 / 56 as long as a NIC. No run is
// shorter than its busiest resource allows.
TEST(FatTreeSpread, AHashCostsWhatItsCollisionsCost) {
  plan::Topology topology = plan::read_topology("tests/data/plan/oracle-fat-tree.json");
  topology.fabric.oversubscription = 1;
  const Times sprayed = all_to_all(topology, 'U');
  EXPECT_NEAR(sprayed.bound_us, 56 * 262144 / 50e3, 1e-6);
  EXPECT_GE(sprayed.makespan_us, sprayed.bound_us + 4 - 1e-6);
  EXPECT_LE(sprayed.makespan_us, sprayed.bound_us + 5 + 1e-6);

  topology.fabric.spread = plan::Spread::hash;
  topology.fabric.spines = 4;
  topology.fabric.cables_per_spine = 4;
  const Times hashed = all_to_all(topology, 'U');
  EXPECT_GE(hashed.makespan_us, hashed.bound_us);
  EXPECT_GT(hashed.makespan_us, 1.05 * sprayed.makespan_us);
  EXPECT_LT(hashed.makespan_us, 1.5 * sprayed.makespan_us);
  RecordProperty("hash_over_spray", std::to_string(hashed.makespan_us / sprayed.makespan_us));
}

INSTANTIATE_TEST_SUITE_P(SimGrid, FatTree,
                         ::testing::Values(FatTreeCase{2, 1, 'U', 88.886080, 50.242213926},
                                           FatTreeCase{2, 1, 'K', 49.400640, 20.144490613},
                                           FatTreeCase{2, 1, 'Z', 767.472850, 136.637560906},
                                           FatTreeCase{8, 2, 'U', 508.316480, 398.997210300},
                                           FatTreeCase{8, 2, 'K', 259.279680, 138.578155977},
                                           FatTreeCase{8, 2, 'Z', 4853.658720, 482.501067423}),
                         [](const ::testing::TestParamInfo<FatTreeCase>& one) {
                           return std::to_string(8 * one.param.nodes) + "_" + one.param.workload;
                         });

}  // namespace
}  // namespace foretoken::sim
