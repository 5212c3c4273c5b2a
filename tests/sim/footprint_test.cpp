// Which links a communication uses, and how much of each. The machine is that of tiny_program.hpp.
#include "sim/communication/footprint.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "plan/machine/topology.hpp"
#include "sim/communication/exchange_pattern.hpp"
#include "tests/sim/tiny_program.hpp"

namespace foretoken::sim {
namespace {

using test::round_machine;
using test::round_network;
using test::TinyProgram;
using ::testing::SizeIs;

class FootprintTest : public ::testing::Test {
 protected:
  Footprint of(const plan::Machine& machine, CollectiveOp op, CollectiveAlgorithm algorithm, std::int64_t bytes) {
    const Fabric fabric(machine, cost, machine.gpus());
    std::vector<RankId> members;
    for (std::int32_t rank = 0; rank < machine.gpus(); ++rank) members.emplace_back(rank);
    return collective_footprint(fabric, op, algorithm, members, Bytes(bytes));
  }
  NetworkCost cost{round_network()};
};

int uses_of_amount(const Footprint& footprint, double amount) {
  return static_cast<int>(std::count_if(footprint.uses.begin(), footprint.uses.end(),
                                        [&](const ResourceUse& use) { return std::abs(use.amount - amount) < 1e-12; }));
}

// 6 ranks on 2 nodes, chunks of 3,000 bytes, 10 steps: 30,000 bytes pass every rank. Three rings leave a node through
// its three NICs, each with a third: 10,000 bytes on every NIC and 20,000 on every NVLink, 6 ranks x 2 directions each.
// GPU to NIC and NIC to fabric are in series and count once.
TEST_F(FootprintTest, RingsUseEveryNicOfANode) {
  const Footprint footprint = of(round_machine(2, 3), CollectiveOp::all_reduce, CollectiveAlgorithm::ring, 18000);
  EXPECT_DOUBLE_EQ(footprint.demand, 20000);
  EXPECT_THAT(footprint.uses, SizeIs(24));
  EXPECT_EQ(uses_of_amount(footprint, 1.0), 12);
  EXPECT_EQ(uses_of_amount(footprint, 0.5), 12);
  // Its kernels need 10 + 1 chunks' time, 33 us, for them.
  EXPECT_NEAR(footprint.ceiling, 20000 / 33e-6, 1);
}

// 3 + 2 ranks, chunks of 3,000 bytes, 8 steps: 24,000 bytes pass every rank, over the two NICs of the smaller node
// 12,000 each. Of the other node's NICs two carry as much, each way, and the third nothing; there 2/3 of the hops are
// NVLink's. Trees: a chain of 3 carries 2 x 2/3 of 15,000 bytes, two NICs half of them.
TEST_F(FootprintTest, AsManyRingsLeaveANodeAsLeaveTheSmallest) {
  const plan::Machine machine = round_machine(2, 3);
  const Fabric fabric(machine, cost, 6);
  const std::vector<RankId> members{RankId(0), RankId(1), RankId(2), RankId(3), RankId(4)};
  for (const auto& [algorithm, nvlink, nic] :
       {std::tuple(CollectiveAlgorithm::ring, 16000.0, 12000.0), {CollectiveAlgorithm::tree, 20000.0, 7500.0}}) {
    const Footprint footprint =
        collective_footprint(fabric, CollectiveOp::all_reduce, algorithm, members, Bytes(15000));
    EXPECT_DOUBLE_EQ(footprint.demand, nvlink);
    EXPECT_THAT(footprint.uses, SizeIs(10 + 8)) << name_of(algorithm);
    EXPECT_EQ(uses_of_amount(footprint, 1.0), 10) << name_of(algorithm);
    EXPECT_EQ(uses_of_amount(footprint, nic / nvlink), 8) << name_of(algorithm);
  }
}

// Every rank sends 1,000 bytes to each of two neighbours and of three ranks behind the NIC, which is the busiest link.
TEST_F(FootprintTest, DirectLoadsALinkWithItsPeers) {
  const Footprint footprint = of(round_machine(2, 3), CollectiveOp::all_gather, CollectiveAlgorithm::direct, 6000);
  EXPECT_DOUBLE_EQ(footprint.demand, 3000);
  EXPECT_EQ(uses_of_amount(footprint, 1.0), 12);
  EXPECT_EQ(uses_of_amount(footprint, 2.0 / 3), 12);
}

// 6 ranks on 2 nodes, 18,000 bytes: along the chain of 3 go 2 x 2/3 of them, 24,000 bytes on every NVLink. Between two
// nodes each tree carries half up and half down, so each NIC a third of 18,000.
TEST_F(FootprintTest, TreesLoadChainsAndNics) {
  const Footprint footprint = of(round_machine(2, 3), CollectiveOp::all_reduce, CollectiveAlgorithm::tree, 18000);
  EXPECT_DOUBLE_EQ(footprint.demand, 24000);
  EXPECT_THAT(footprint.uses, SizeIs(24));
  EXPECT_EQ(uses_of_amount(footprint, 1.0), 12);
  EXPECT_EQ(uses_of_amount(footprint, 0.25), 12);
  // 4 nodes of 1: inner nodes of a tree send to two children and up, and up as a leaf of the other: 2 buffers.
  const Footprint wide = of(round_machine(4, 1), CollectiveOp::all_reduce, CollectiveAlgorithm::tree, 18000);
  EXPECT_DOUBLE_EQ(wide.demand, 36000);
}

// 4 ranks, 4,000 bytes gathered: 1,000 go up each link and 4,000 come down; scattered the other way round.
TEST_F(FootprintTest, NvlsMulticastsOneWay) {
  for (const CollectiveOp op : {CollectiveOp::all_gather, CollectiveOp::reduce_scatter}) {
    const Footprint footprint = of(round_machine(1, 4), op, CollectiveAlgorithm::nvls, 4000);
    EXPECT_DOUBLE_EQ(footprint.demand, 4000);
    EXPECT_EQ(uses_of_amount(footprint, 1.0), 4);
    EXPECT_EQ(uses_of_amount(footprint, 0.25), 4);
  }
}

TEST_F(FootprintTest, AMessageUsesItsRouteOnce) {
  const plan::Machine machine = round_machine(2, 3);
  const Fabric fabric(machine, cost, 6);
  EXPECT_THAT(transfer_footprint(fabric, RankId(0), RankId(1), Bytes(5)).uses, SizeIs(2));  // up, down
  EXPECT_THAT(transfer_footprint(fabric, RankId(0), RankId(3), Bytes(5)).uses, SizeIs(2));  // NIC out, NIC in
  EXPECT_EQ(transfer_footprint(fabric, RankId(0), RankId(0), Bytes(5)).demand, 0);
  EXPECT_EQ(transfer_footprint(fabric, RankId(0), RankId(1), Bytes(0)).latency, Seconds(0));
}

// Two GPUs share a NIC: it carries what both send, and such a machine was not measured.
TEST_F(FootprintTest, ANicOfTwoGpusCarriesBoth) {
  plan::Topology topology;
  topology.nodes = 2;
  topology.gpus_per_node = 2;
  topology.nics_per_node = 1;
  topology.nvlink_bandwidth = topology.nic_bandwidth = BytesPerSecond(1e9);
  topology.pcie_bandwidth = BytesPerSecond(10e9);
  const plan::Machine machine = plan::build_machine(topology);
  const Fabric fabric(machine, cost, 4);
  std::vector<std::int32_t> one, other;
  fabric.for_each_resource(RankId(0), RankId(2), [&](std::int32_t resource) { one.push_back(resource); });
  fabric.for_each_resource(RankId(1), RankId(3), [&](std::int32_t resource) { other.push_back(resource); });
  // GPU to NIC; NIC to the fabric's one vertex and on to the other NIC, in series; NIC to GPU.
  ASSERT_THAT(one, SizeIs(3));
  ASSERT_THAT(other, SizeIs(3));
  EXPECT_NE(one[0], other[0]);
  EXPECT_EQ(one[1], other[1]);
  EXPECT_EQ(fabric.span_provenance(Span::across_nodes), Provenance::extrapolated);
  // Direct: each of 2 ranks sends 1,000 bytes to each of 2 behind the NIC, 4,000 in all, and 1,000 to its neighbour.
  const Footprint footprint = of(machine, CollectiveOp::all_gather, CollectiveAlgorithm::direct, 4000);
  EXPECT_DOUBLE_EQ(footprint.demand, 4000);
}

// Rows go from source to host in a dispatch, and back in a combine; what stays on a rank is no message.
TEST_F(FootprintTest, ACombineIsADispatchTheOtherWayRound) {
  const plan::Machine machine = round_machine(1, 3);
  const Fabric fabric(machine, cost, 3);
  for (const plan::OpKind kind : {plan::OpKind::dispatch, plan::OpKind::combine}) {
    TinyProgram program(3);
    const auto role = program.role({0, 1, 2});
    program.exchange(role, "x", program.communication(kind, program.group(3)));
    const ProgramIndex index(program.program());
    const Meetings meetings(program.program(), index);
    plan::RoutedRows rows;
    rows.rows_of_expert.assign(1, 0);
    rows.pairs = {{0, 2, 4}, {1, 1, 9}};
    const ExchangePattern pattern(program.program(), fabric, meetings[0], rows);
    const bool dispatch = kind == plan::OpKind::dispatch;
    EXPECT_EQ(pattern.message(0).from, dispatch ? 0 : 2);
    EXPECT_EQ(pattern.message(0).to, dispatch ? 2 : 0);
    EXPECT_EQ(pattern.message(0).bytes, Bytes(4000));
    EXPECT_THAT(pattern.messages_of(0), SizeIs(1));
    EXPECT_THAT(pattern.messages_of(1), SizeIs(0));
    EXPECT_THAT(pattern.messages_of(2), SizeIs(1));
  }
}

}  // namespace
}  // namespace foretoken::sim
