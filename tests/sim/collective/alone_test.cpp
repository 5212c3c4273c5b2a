// Communications that are alone, against closed forms, and an all-to-all against three other solvers.
#include "sim/collective/alone.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <tuple>

#include "core/error.hpp"
#include "plan/machine/topology.hpp"
#include "tests/sim/tiny_program.hpp"

namespace foretoken::sim {
namespace {

using test::round_machine;
using test::round_network;
using namespace literals;

// The cluster of the comparison with other solvers: nodes of 8, 450 GB/s NVLink and 50 GB/s NICs, non-blocking;
// 2 us from GPU to GPU in a node, 4 us between nodes. PCIe does not limit.
plan::Machine compared_machine(std::int64_t nodes) {
  plan::Topology topology;
  topology.name = "compared";
  topology.device.name = "gpu";
  topology.nodes = nodes;
  topology.gpus_per_node = 8;
  topology.nvlink_bandwidth = 450_GBps;
  topology.nvlink_latency = 1_us;
  topology.pcie_bandwidth = 1000_GBps;
  topology.nic_bandwidth = 50_GBps;
  topology.nic_latency = 2_us;
  topology.nvls = true;
  return plan::build_machine(topology);
}

struct Ends {
  double makespan = 0;
  double mean = 0;
  double last_in_node = 0;
};

Ends ends_of(std::int32_t ranks, const std::function<std::int64_t(std::int64_t, std::int64_t)>& bytes) {
  const plan::Machine machine = compared_machine(ranks / 8);
  const NetworkCost cost(ideal_network(machine));
  const Fabric fabric(machine, cost, ranks);
  std::vector<RequestedFlow> flows;
  for (std::int32_t i = 0; i < ranks; ++i)
    for (std::int32_t j = 0; j < ranks; ++j)
      if (i != j) flows.push_back({RankId(i), RankId(j), Bytes(bytes(i, j)), Seconds(0)});
  const std::vector<double> completion = Alone(fabric, ranks).flows(flows).completion.each();
  Ends ends;
  for (std::size_t f = 0; f < flows.size(); ++f) {
    ends.makespan = std::max(ends.makespan, completion[f] * 1e6);
    ends.mean += completion[f] * 1e6 / static_cast<double>(flows.size());
    if (flows[f].from.value() / 8 == flows[f].to.value() / 8)
      ends.last_in_node = std::max(ends.last_in_node, completion[f] * 1e6);
  }
  return ends;
}

// 16 ranks, 256 KiB from each to each: every NIC carries 8 of them, 2,097,152 B at 50 GB/s = 41.94304 us after 4 us;
// every NVLink 7, 1,835,008 B at 450 GB/s = 4.07779556 us after 2 us. Mean: 7 of 15 flows are NVLink's.
TEST(Alone, AnAllToAllTakesWhatItsNicsTake) {
  const Ends ends = ends_of(16, [](auto, auto) { return 262144; });
  EXPECT_NEAR(ends.makespan, 45.94304, 1e-9);
  EXPECT_NEAR(ends.last_in_node, 6.077795556, 1e-8);
  EXPECT_NEAR(ends.mean, (7 * 6.0777955556 + 8 * 45.94304) / 15, 1e-8);
}

// Uneven sizes have no closed form. Expected: SimGrid 3.32 and two other solvers, which agree to 5e-14.
TEST(Alone, UnevenFlowsEndWhenOtherSolversSay) {
  const Ends k = ends_of(16, [](std::int64_t i, std::int64_t j) { return 4096 * (1 + (31 * i + 17 * j) % 64); });
  EXPECT_NEAR(k.makespan, 33.163520, 1e-6);
  EXPECT_NEAR(k.mean, 12.433272261, 1e-8);
  EXPECT_NEAR(k.last_in_node, 4.721564444, 1e-8);
  const Ends z = ends_of(16, [](std::int64_t i, std::int64_t j) {
    return 4194304 / (1 + (7 * j + 3) % 16) + 64 * (((i * 73856093) ^ (j * 19349663)) % 4093) + 1;
  });
  EXPECT_NEAR(z.makespan, 687.340960, 1e-6);
  EXPECT_NEAR(z.mean, 95.115141583, 1e-7);
  EXPECT_NEAR(z.last_in_node, 69.562397778, 1e-7);
}

// Machines of 1 GB/s links with the calibration of tiny_program.hpp, in which a step takes 1 us.
class AloneTest : public ::testing::Test {
 protected:
  AloneResult with(const plan::Machine& machine, const std::function<AloneResult(const Alone&)>& run,
                   const AloneOptions& options = {}) {
    const Fabric fabric(machine, cost, machine.gpus());
    return run(Alone(fabric, static_cast<std::int32_t>(machine.gpus()), options));
  }
  NetworkCost cost{round_network()};
};

// 4 ranks, 4,000 bytes: 6 steps of 1 us; kernels handle 6 + 1 chunks of 1,000 bytes at 1 GB/s.
TEST_F(AloneTest, ACollectiveTakesItsEstimate) {
  const auto run = [](const Alone& alone) {
    return alone.collective(CollectiveOp::all_reduce, CollectiveAlgorithm::ring, Bytes(4000));
  };
  EXPECT_NEAR(microseconds(with(round_machine(1, 4), run).time), 13.0, 1e-9);
  EXPECT_NEAR(microseconds(with(round_machine(1, 4), run, {true, 0}).time), 7.0, 1e-9);
}

// Ideal: 6 chunks of 1,000 bytes over each link, and nothing else. Two nodes of 2 with a tree: each NIC carries 4,000 /
// 2 bytes, each NVLink 2 x 1/2 x 4,000.
TEST_F(AloneTest, IdealIsBytesOverLinks) {
  const plan::Machine machine = round_machine(1, 4);
  cost = NetworkCost(ideal_network(machine));
  const auto ring = [](const Alone& alone) {
    return alone.collective(CollectiveOp::all_reduce, CollectiveAlgorithm::ring, Bytes(4000));
  };
  EXPECT_NEAR(microseconds(with(machine, ring).time), 6.0, 1e-6);
  const auto tree = [](const Alone& alone) {
    return alone.collective(CollectiveOp::all_reduce, CollectiveAlgorithm::tree, Bytes(4000));
  };
  EXPECT_NEAR(microseconds(with(round_machine(2, 2), tree).time), 4.0, 1e-6);
}

// Leaves of 4 NICs of 50 GB/s each, and all cables of a leaf one trunk of 200 GB/s: that is no NIC. An exchange, whose
// kernels the ideal ones are, has 50 GB/s across nodes.
TEST(Alone, IdealKernelsAreAsFastAsANicNotATrunk) {
  plan::Topology topology;
  topology.nodes = 4;
  topology.gpus_per_node = 2;
  topology.nvlink_bandwidth = 450_GBps;
  topology.pcie_bandwidth = 1000_GBps;
  topology.nic_bandwidth = 50_GBps;
  topology.fabric.kind = plan::FabricKind::leaf_spine;
  topology.fabric.spread = plan::Spread::ideal;
  topology.fabric.nodes_per_leaf = 2;
  topology.fabric.spines = 1;
  topology.fabric.oversubscription = 1;
  const plan::Machine machine = plan::build_machine(topology);
  ASSERT_TRUE(std::any_of(machine.links().begin(), machine.links().end(), [](const plan::Link& link) {
    return link.link_class == LinkClass::infiniband && link.bandwidth > 50_GBps;
  }));
  const NetworkCalibration ideal = ideal_network(machine);
  EXPECT_EQ(ideal.infiniband.nominal, 50_GBps);
  EXPECT_EQ(ideal.dispatch.rate_across_nodes, 50_GBps);
}

// The cluster above, 8 MB over a ring of 8: 14 hops of 2 us, 14 MB at 450 GB/s.
TEST(Alone, IdealKeepsTheHops) {
  const plan::Machine machine = compared_machine(1);
  const NetworkCost cost(ideal_network(machine));
  const Fabric fabric(machine, cost, 8);
  const auto time = [&](bool zero_latency) {
    return microseconds(Alone(fabric, 8, {zero_latency, 0})
                            .collective(CollectiveOp::all_reduce, CollectiveAlgorithm::ring, Bytes(8'000'000))
                            .time);
  };
  EXPECT_NEAR(time(false), 28 + 14e6 / 450e3, 1e-6);
  EXPECT_NEAR(time(true), 14e6 / 450e3, 1e-6);
}

// 4 ranks in a node, 1,000 bytes from each to each. At once: 1 us, then 3,000 bytes over each link at 1 GB/s. By pairs:
// 3 rounds of 1 us and 1,000 bytes. On two nodes of 2, messages between them take 2 us, and a NIC carries two of them.
TEST_F(AloneTest, PairwiseRoundsPayTheirLatencies) {
  const TrafficMatrix matrix = uniform_traffic(4, Bytes(4000), 1);
  const auto direct = [&](const Alone& alone) { return alone.all_to_all(AllToAllAlgorithm::direct, matrix); };
  const auto pairwise = [&](const Alone& alone) { return alone.all_to_all(AllToAllAlgorithm::pairwise, matrix); };
  EXPECT_NEAR(microseconds(with(round_machine(1, 4), direct).time), 4.0, 1e-9);
  EXPECT_NEAR(microseconds(with(round_machine(1, 4), pairwise).time), 6.0, 1e-9);
  EXPECT_NEAR(microseconds(with(round_machine(2, 2), direct).time), 4.0, 1e-9);
  EXPECT_NEAR(microseconds(with(round_machine(2, 2), pairwise).time), 9.0, 1e-9);
  EXPECT_EQ(with(round_machine(1, 4), direct).flows, 12);
  EXPECT_EQ(with(round_machine(1, 1),
                 [](const Alone& alone) {
                   return alone.all_to_all(AllToAllAlgorithm::direct, uniform_traffic(1, Bytes(8), 1));
                 })
                .time,
            Seconds(0));
}

// Rank 0 is sent 12/25 of every buffer of 25 bytes, rank 1 half as much, rank 2 a third, rank 3 a fourth.
TEST(TrafficMatrix, SkewedDestinationsArePopularWithAll) {
  const TrafficMatrix matrix = skewed_traffic(4, Bytes(25), 1);
  for (std::int32_t from = 0; from < 4; ++from) {
    EXPECT_EQ(matrix.at(from, 0), Bytes(12));
    EXPECT_EQ(matrix.at(from, 1), Bytes(6));
    EXPECT_EQ(matrix.at(from, 2), Bytes(4));
    EXPECT_EQ(matrix.at(from, 3), Bytes(3));
  }
  EXPECT_EQ(matrix.buffer_max(), Bytes(25));
  EXPECT_EQ(matrix.busiest(), Bytes(36));  // three others send 12 to rank 0
}

TEST(TrafficMatrix, WeightsAreScaledToTheLargestRow) {
  // Rows of 4 and of 2: 8 elements of 4 bytes for the first, 4 for the second.
  const TrafficMatrix matrix = weighted_traffic(2, {1, 3, 2, 0}, Bytes(32), 4);
  EXPECT_EQ(matrix.at(0, 0), Bytes(8));
  EXPECT_EQ(matrix.at(0, 1), Bytes(24));
  EXPECT_EQ(matrix.at(1, 0), Bytes(16));
  EXPECT_EQ(matrix.at(1, 1), Bytes(0));
}

// 3 ranks, 1,000 bytes each to the next: 1 us and 1 us more.
TEST_F(AloneTest, EveryRankSendsToTheNext) {
  const auto run = [](const Alone& alone) { return alone.send_recv(Bytes(1000)); };
  EXPECT_NEAR(microseconds(with(round_machine(1, 3), run).time), 2.0, 1e-9);
  EXPECT_EQ(with(round_machine(1, 1), run).time, Seconds(0));
}

// 4 ranks on 2 nodes, 2 experts each, top-2, 7 tokens of 100 bytes; latency across nodes 10 us.
// Low latency: 2 x 7 / 4 rows to each rank, 700 bytes over the NIC at 1 GB/s = 0.7 us.
// Once per node: C(4,2) / C(8,2) = 6/28 of the tokens have no expert there; 5.5 rows, 550 bytes. In the node each rank
// hands on 2 x 7 x (1 - 15/28) = 6.5 rows, 650 bytes over NVLink at 1 GB/s: what takes longest now.
TEST_F(AloneTest, AnExchangeTakesItsBusiestLink) {
  const TokenExchange exchange{4, 2, 7, 2, 8, Bytes(100)};
  const auto by = [&](ExchangeAlgorithm algorithm) {
    return microseconds(with(round_machine(2, 2), [&](const Alone& alone) {
                          return alone.exchange(ExchangeOp::dispatch, algorithm, exchange, 24);
                        }).time);
  };
  EXPECT_NEAR(by(ExchangeAlgorithm::low_latency), 10.7, 1e-9);
  EXPECT_NEAR(by(ExchangeAlgorithm::hierarchical), 10.65, 1e-9);
}

// Kernels that send a token once per node, with 0.5 GB/s across nodes per SM; the calibrated NIC has 1 GB/s. One SM is
// the limit of any NIC. Four are limited by a NIC of 1 GB/s, and by one of 3, which is three times the calibrated one.
// A whole run (simulate) has the rates that an exchange alone (collective) has.
TEST_F(AloneTest, AFasterNicHelpsOnlyWhereItIsTheLimit) {
  NetworkCalibration network = round_network();
  HierarchicalCalibration fitted;
  fitted.rate_in_node_per_sm = fitted.rate_in_node = 100_GBps;
  fitted.rate_across_nodes_per_sm = BytesPerSecond(0.5e9);
  network.hierarchical_dispatch = network.hierarchical_combine = fitted;
  // 2 ranks on 2 nodes, all tokens to both experts: 1,000 bytes each way.
  const TokenExchange exchange{2, 2, 10, 2, 2, Bytes(100)};
  for (const auto& [sms, nic, expected] :
       {std::tuple(1, 1.0, 0.5), {1, 3.0, 0.5}, {4, 1.0, 1.0}, {4, 3.0, 2.0}, {8, 3.0, 3.0}}) {
    plan::Topology topology;
    topology.nodes = 2;
    topology.gpus_per_node = 1;
    topology.nvlink_bandwidth = topology.pcie_bandwidth = 100_GBps;
    topology.nic_bandwidth = 1_GBps * nic;
    const plan::Machine machine = plan::build_machine(topology);
    const NetworkCost alone_cost(network);
    const Fabric alone(machine, alone_cost, 2);
    EXPECT_NEAR(
        microseconds(
            Alone(alone, 2).exchange(ExchangeOp::dispatch, ExchangeAlgorithm::hierarchical, exchange, sms).time),
        1 / expected, 1e-9)
        << sms << " SMs, NIC " << nic;
    const NetworkCost run_cost(with_hierarchical_exchange(network, sms));
    const Fabric run(machine, run_cost, 2);
    const auto resource = static_cast<std::size_t>(
        run.exchange_resource(RankId(1), ExchangeOp::dispatch, Span::across_nodes, Direction::out));
    EXPECT_DOUBLE_EQ(run.capacities()[resource], expected * 1e9) << sms << " SMs, NIC " << nic;
  }
}

TEST_F(AloneTest, FlowsStartWhenTheyAreTold) {
  const plan::Machine machine = round_machine(1, 3);
  const Fabric fabric(machine, cost, 3);
  // The first two share rank 0's link from 1 us on: 1,000 bytes each, done at 3 us. The third starts at 10 us and takes
  // 1 us of latency. Nothing to send, and nobody to send to, end as they start.
  const std::vector<RequestedFlow> flows{{RankId(0), RankId(1), Bytes(1000), Seconds(0)},
                                         {RankId(0), RankId(2), Bytes(1000), Seconds(0)},
                                         {RankId(2), RankId(1), Bytes(500), 10_us},
                                         {RankId(1), RankId(0), Bytes(0), 7_us},
                                         {RankId(1), RankId(1), Bytes(9), 8_us}};
  const FlowTimes times = Alone(fabric, 3).flows(flows);
  ASSERT_EQ(times.completion.size(), 5U);
  const std::vector<double> expected{3, 3, 11.5, 7, 8};
  for (std::size_t f = 0; f < expected.size(); ++f) EXPECT_NEAR(times.completion[f] * 1e6, expected[f], 1e-9) << f;
  EXPECT_EQ(Alone(fabric, 3).flows({}).completion.size(), 0U);
}

// Every bandwidth doubled halves every time without latency.
TEST(Alone, TimesScaleWithBandwidths) {
  const plan::Machine machine = compared_machine(2);
  NetworkCalibration doubled = ideal_network(machine);
  for (LinkCalibration* link : {&doubled.nvlink, &doubled.infiniband, &doubled.pcie}) link->payload_efficiency = 2;
  const NetworkCost once(ideal_network(machine));
  const NetworkCost twice(doubled);
  const auto time = [&](const NetworkCost& cost) {
    const Fabric fabric(machine, cost, 16);
    return Alone(fabric, 16, {true, 0}).all_to_all(AllToAllAlgorithm::direct, skewed_traffic(16, 4_MiB, 4)).time;
  };
  EXPECT_NEAR(ratio(time(once), time(twice)), 2.0, 1e-9);
}

}  // namespace
}  // namespace foretoken::sim
