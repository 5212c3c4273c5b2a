#include "sim/cost/network_cost.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>

#include "tests/sim/cost/invented_network.hpp"

namespace foretoken::sim {
namespace {

using Algorithm = CollectiveAlgorithm;

constexpr std::int64_t kMB = 1'000'000;

NetworkCost cost() { return NetworkCost(test::invented_network()); }

TEST(NetworkCost, RingTakesLowLatencyProtocolForSmallBuffers) {
  // all_gather, 4 ranks, 4 KB: 3 steps, chunk 1 KB. LL: 10 + 3x1 = 13 us, (3+1) KB at 1 GB/s = 4 us.
  // LL128 would be 33 + 0.4 us, Simple 113 us and more.
  const CollectiveEstimate e = cost().collective(CollectiveOp::all_gather, Algorithm::ring, 4, 1, Bytes(4000));
  EXPECT_NEAR(microseconds(e.latency), 13.0, 1e-9);
  EXPECT_NEAR(microseconds(e.transfer), 4.0, 1e-9);
  EXPECT_EQ(e.bytes_in_node, Bytes(3000));
  EXPECT_EQ(e.bytes_across_nodes, Bytes(0));
}

TEST(NetworkCost, RingTakesLl128ForMediumAndSimpleForLargeBuffers) {
  // 400 KB over 4: chunk 100 KB. LL 13 + 400; LL128 33 + 40 = 73; Simple 113 + 3 + 0.1: LL128 wins.
  EXPECT_NEAR(microseconds(cost().collective(CollectiveOp::all_gather, Algorithm::ring, 4, 1, Bytes(400'000)).total()),
              73.0, 1e-9);
  // 400 MB over 4: chunk 100 MB. Simple: 113 us + 300 MB / 100 GB/s = 3000 us + 100 MB / 1 TB/s = 100 us.
  EXPECT_NEAR(
      microseconds(cost().collective(CollectiveOp::all_gather, Algorithm::ring, 4, 1, Bytes(400 * kMB)).total()),
      3213.0, 1e-6);
}

TEST(NetworkCost, RingAllReduceTakesTwoTurns) {
  // 4 ranks: 6 steps. 4 KB: LL 10 + 6 us; (6+1) KB at 1 GB/s = 7 us.
  const CollectiveEstimate small = cost().collective(CollectiveOp::all_reduce, Algorithm::ring, 4, 1, Bytes(4000));
  EXPECT_NEAR(microseconds(small.latency), 16.0, 1e-9);
  EXPECT_NEAR(microseconds(small.transfer), 7.0, 1e-9);
  // 400 MB: 110 + 6 us; 600 MB at 100 GB/s = 6000 us; 100 MB at 1 TB/s = 100 us.
  EXPECT_NEAR(
      microseconds(cost().collective(CollectiveOp::all_reduce, Algorithm::ring, 4, 1, Bytes(400 * kMB)).total()),
      6216.0, 1e-6);
}

TEST(NetworkCost, ReduceScatterIsTheRingAllGatherBackwards) {
  const CollectiveEstimate gather = cost().collective(CollectiveOp::all_gather, Algorithm::ring, 8, 1, Bytes(8 * kMB));
  const CollectiveEstimate scatter =
      cost().collective(CollectiveOp::reduce_scatter, Algorithm::ring, 8, 1, Bytes(8 * kMB));
  EXPECT_EQ(gather.total(), scatter.total());
  EXPECT_EQ(gather.bytes_in_node, scatter.bytes_in_node);
  // Nobody measured it in this calibration.
  EXPECT_EQ(gather.provenance, Provenance::interpolated);
  EXPECT_EQ(scatter.provenance, Provenance::extrapolated);
}

TEST(NetworkCost, RingAcrossNodesLeavesThroughEveryNic) {
  // all_reduce, 16 ranks on 2 nodes, 1,600 MB: 30 steps, of which 4 cross; chunk 100 MB; wire 3,000 MB.
  // 8 NICs per node share it: 375 MB each at 50 GB/s = 7,500 us. NVLink carries the other 2,625 MB at 100 GB/s =
  // 26,250 us, + 100 us local. Latency 10 + 26 x 1 + 4 x 5 + 100 = 156 us.
  const CollectiveEstimate e = cost().collective(CollectiveOp::all_reduce, Algorithm::ring, 16, 2, Bytes(1600 * kMB));
  EXPECT_NEAR(microseconds(e.latency), 156.0, 1e-6);
  EXPECT_NEAR(microseconds(e.transfer), 26350.0, 1e-3);
  EXPECT_EQ(e.bytes_in_node, Bytes(2625 * kMB));
  EXPECT_EQ(e.bytes_across_nodes, Bytes(375 * kMB));

  // One rank per node: all of it goes over the NIC. 2 ranks, all_gather of 100 MB: 50 MB at 50 GB/s = 1,000 us.
  // The path has one step only, so one crossing: 10 + 5 + 100 us.
  const CollectiveEstimate pair = cost().collective(CollectiveOp::all_gather, Algorithm::ring, 2, 2, Bytes(100 * kMB));
  EXPECT_NEAR(microseconds(pair.latency), 115.0, 1e-6);
  EXPECT_NEAR(microseconds(pair.transfer), 1000.0, 1e-6);
  EXPECT_NEAR(microseconds(pair.endpoint), 50.0, 1e-6);  // the ceiling knows no NIC
  EXPECT_EQ(pair.bytes_in_node, Bytes(0));
}

TEST(NetworkCost, NvlsReadsTheBufferOnceAndWritesItsShare) {
  // 8 ranks, 80 MB: 90 MB per direction at 200 GB/s = 450 us, + 50 us.
  const CollectiveEstimate e = cost().collective(CollectiveOp::all_reduce, Algorithm::nvls, 8, 1, Bytes(80 * kMB));
  EXPECT_NEAR(microseconds(e.total()), 500.0, 1e-9);
  EXPECT_EQ(e.bytes_in_node, Bytes(90 * kMB));
  EXPECT_EQ(e.provenance, Provenance::interpolated);
  EXPECT_EQ(cost().collective(CollectiveOp::all_reduce, Algorithm::nvls, 4, 1, Bytes(80 * kMB)).provenance,
            Provenance::extrapolated);
}

TEST(NetworkCost, NvlsGathersByMulticast) {
  // 8 ranks, 80 MB gathered: every rank receives all of it, 80 MB at 200 GB/s = 400 us, + 50 us. Scattering likewise.
  for (const CollectiveOp op : {CollectiveOp::all_gather, CollectiveOp::reduce_scatter}) {
    const CollectiveEstimate e = cost().collective(op, Algorithm::nvls, 8, 1, Bytes(80 * kMB));
    EXPECT_NEAR(microseconds(e.total()), 450.0, 1e-9);
    EXPECT_EQ(e.bytes_in_node, Bytes(80 * kMB));
    EXPECT_EQ(e.provenance, Provenance::extrapolated);
  }
}

// The invented machine with trees: 2 us a step between nodes and LL at 4 GB/s; NVLS trees 30 us, 300 GB/s, 9 us a fill.
NetworkCost cost_with_trees() {
  NetworkCalibration network = test::invented_network();
  network.tree = TreeCalibration{Seconds(2e-6), BytesPerSecond(4e9), {}, "invented"};
  network.nvls_tree = NvlsTreeCalibration{Seconds(30e-6), BytesPerSecond(300e9), Seconds(9e-6), {}, "invented"};
  return NetworkCost(network);
}

TEST(NetworkCost, ATreeGoesUpAndDown) {
  // 16 ranks on 2 nodes, 8 KB by LL: 10 us + 2 x 7 along the chain + 2 x 1 x 2 between nodes = 28 us;
  // 16 KB passed on at 4 GB/s = 4 us. Two nodes: each sends the buffer once, 1 KB per NIC.
  const CollectiveEstimate small =
      cost_with_trees().collective(CollectiveOp::all_reduce, Algorithm::tree, 16, 2, Bytes(8000));
  EXPECT_NEAR(microseconds(small.latency), 28.0, 1e-9);
  EXPECT_NEAR(microseconds(small.transfer), 4.0, 1e-9);
  EXPECT_EQ(small.bytes_in_node, Bytes(14'000));
  EXPECT_EQ(small.bytes_across_nodes, Bytes(1000));
  // 64 ranks on 8 nodes, 800 MB by Simple: depth 3. 10 + 100 + 14 + 2 x 3 x 5 = 154 us. NVLink: 2 x 7/8 x 800 MB at
  // 100 GB/s = 14 ms; NIC: inner nodes send 2 buffers, 200 MB at 50 GB/s = 4 ms beside it.
  const CollectiveEstimate large =
      cost_with_trees().collective(CollectiveOp::all_reduce, Algorithm::tree, 64, 8, Bytes(800 * kMB));
  EXPECT_NEAR(microseconds(large.latency), 154.0, 1e-6);
  EXPECT_NEAR(microseconds(large.transfer), 14'000.0, 1e-3);
  EXPECT_EQ(large.bytes_across_nodes, Bytes(200 * kMB));
  // Nobody fitted it here.
  EXPECT_EQ(large.provenance, Provenance::extrapolated);
  EXPECT_EQ(cost().collective(CollectiveOp::all_reduce, Algorithm::tree, 64, 8, Bytes(800 * kMB)).provenance,
            Provenance::assumed);
}

TEST(NetworkCost, NvlsTreesFillTheirStagesWithTheBestChunk) {
  // 16 ranks on 2 nodes, 800 MB: w = 900 MB at 300 GB/s = 3,000 us; fill 2 sqrt(9 x 3000) = 328.6 us, + 30 us.
  // NIC: 100 MB at 50 GB/s = 2,000 us, less than w.
  const CollectiveEstimate e =
      cost_with_trees().collective(CollectiveOp::all_reduce, Algorithm::nvls_tree, 16, 2, Bytes(800 * kMB));
  EXPECT_NEAR(microseconds(e.total()), 3030.0 + 2 * std::sqrt(27'000.0), 1e-6);
  // 8 nodes: 2 buffers through 8 NICs, 200 MB = 4,000 us. Depth 3: 4 more steps of 2 us, fill 2 sqrt(27 x 3000).
  const CollectiveEstimate wide =
      cost_with_trees().collective(CollectiveOp::all_reduce, Algorithm::nvls_tree, 64, 8, Bytes(800 * kMB));
  EXPECT_NEAR(microseconds(wide.total()), 30.0 + 8.0 + 4000.0 + 2 * std::sqrt(81'000.0), 1e-6);
}

TEST(NetworkCost, AHierarchicalExchangeMovesWhatItsSmsCan) {
  NetworkCalibration network = test::invented_network();
  HierarchicalCalibration fitted;
  fitted.latency_one_node = Seconds(20e-6);
  fitted.latency_across_nodes = Seconds(60e-6);
  fitted.rate_in_node_per_sm = BytesPerSecond(10e9);
  fitted.rate_in_node = BytesPerSecond(150e9);
  fitted.rate_across_nodes_per_sm = BytesPerSecond(2e9);
  fitted.sms_min = 4;
  fitted.sms_max = 24;
  fitted.fitted = {{8, 8, 1, 1, Bytes(1), Bytes(kMB)}};
  network.hierarchical_dispatch = fitted;
  const NetworkCost cost(network);
  // 10 SMs: 100 and 20 GB/s; 30 SMs: the ceiling 150, and the NIC's 50 GB/s.
  const ExchangeEstimate few = cost.hierarchical_exchange(ExchangeOp::dispatch, 8, 1, 10, Bytes(kMB));
  EXPECT_NEAR(microseconds(few.latency), 20.0, 1e-9);
  EXPECT_DOUBLE_EQ(few.rate_in_node.value(), 100e9);
  EXPECT_DOUBLE_EQ(few.rate_across_nodes().value(), 20e9);
  EXPECT_DOUBLE_EQ(few.rate_across_nodes(2).value(), 20e9);  // a faster NIC does not help SMs
  EXPECT_EQ(few.provenance, Provenance::interpolated);
  const ExchangeEstimate many = cost.hierarchical_exchange(ExchangeOp::dispatch, 16, 2, 30, Bytes(kMB));
  EXPECT_NEAR(microseconds(many.latency), 60.0, 1e-9);
  EXPECT_DOUBLE_EQ(many.rate_in_node.value(), 150e9);
  EXPECT_DOUBLE_EQ(many.rate_across_nodes().value(), 50e9);
  EXPECT_DOUBLE_EQ(many.rate_across_nodes(1.1).value(), 55e9);
  EXPECT_DOUBLE_EQ(many.rate_across_nodes(2).value(), 60e9);  // SMs again
  EXPECT_EQ(many.provenance, Provenance::extrapolated);
  EXPECT_EQ(cost.hierarchical_exchange(ExchangeOp::combine, 16, 2, 30, Bytes(kMB)).provenance, Provenance::assumed);
}

TEST(NetworkCost, DirectAllReduceTakesOneShotWhileThatIsFaster) {
  // 4 ranks, 10 KB: one shot 2 + 3 us, 30 KB at 100 GB/s = 0.3 us. Two shots: 2 + 4 + 6 us and more.
  const CollectiveEstimate small = cost().collective(CollectiveOp::all_reduce, Algorithm::direct, 4, 1, Bytes(10'000));
  EXPECT_NEAR(microseconds(small.total()), 5.3, 1e-9);
  EXPECT_EQ(small.bytes_in_node, Bytes(30'000));
  // 80 MB: one shot 5 + 2,400 us. Two shots: 12 us + 2 x 60 MB at 80 GB/s = 1,500 us.
  const CollectiveEstimate large =
      cost().collective(CollectiveOp::all_reduce, Algorithm::direct, 4, 1, Bytes(80 * kMB));
  EXPECT_NEAR(microseconds(large.total()), 1512.0, 1e-6);
  EXPECT_EQ(large.bytes_in_node, Bytes(120 * kMB));
}

TEST(NetworkCost, DirectAcrossNodesIsAssumed) {
  // all_gather, 4 ranks on 2 nodes, 40 MB: each sends 10 MB to 3 peers, 2 of them on the other node: 20 MB over the
  // NIC at 50 GB/s = 400 us, beside 10 MB over NVLink = 100 us. Latency 2 + 5 + 3 us.
  const CollectiveEstimate e = cost().collective(CollectiveOp::all_gather, Algorithm::direct, 4, 2, Bytes(40 * kMB));
  EXPECT_NEAR(microseconds(e.latency), 10.0, 1e-9);
  EXPECT_NEAR(microseconds(e.transfer), 400.0, 1e-6);
  EXPECT_EQ(e.bytes_in_node, Bytes(10 * kMB));
  EXPECT_EQ(e.bytes_across_nodes, Bytes(20 * kMB));
  EXPECT_EQ(e.provenance, Provenance::assumed);
}

TEST(NetworkCost, OneRankOrNoBytesTakesNoTime) {
  for (const Algorithm algorithm : {Algorithm::ring, Algorithm::direct, Algorithm::nvls}) {
    EXPECT_EQ(cost().collective(CollectiveOp::all_reduce, algorithm, 1, 1, Bytes(kMB)).total(), Seconds(0.0));
    EXPECT_EQ(cost().collective(CollectiveOp::all_reduce, algorithm, 8, 1, Bytes(0)).total(), Seconds(0.0));
  }
  EXPECT_EQ(cost().exchange(ExchangeOp::dispatch, 1, 1, 16, Bytes(kMB)).latency, Seconds(0.0));
}

TEST(NetworkCost, TimeGrowsWithBytesAndIsFiniteWhenHuge) {
  for (const CollectiveOp op : {CollectiveOp::all_reduce, CollectiveOp::all_gather, CollectiveOp::reduce_scatter}) {
    for (const Algorithm algorithm : {Algorithm::ring, Algorithm::direct}) {
      for (const auto& [ranks, nodes] :
           {std::pair{2, 1}, std::pair{8, 1}, std::pair{16, 2}, std::pair{1 << 20, 1 << 17}}) {
        Seconds before(0.0);
        for (int shift = 0; shift <= 60; ++shift) {
          const CollectiveEstimate e = cost().collective(op, algorithm, ranks, nodes, Bytes(std::int64_t{1} << shift));
          EXPECT_GE(e.total(), before) << name_of(op) << ' ' << name_of(algorithm) << ' ' << ranks << " 2^" << shift;
          EXPECT_LT(e.total().value(), 1e15);
          EXPECT_GE(e.bytes_in_node, Bytes(0));
          EXPECT_GE(e.bytes_across_nodes, Bytes(0));
          EXPECT_LE(e.endpoint, e.transfer);
          before = e.total();
        }
      }
    }
  }
}

TEST(NetworkCost, NoCollectiveBeatsTheLinksItRunsOver) {
  // Payload over NVLink no faster than the fitted wire rate, over the NIC no faster than its payload rate: a bus
  // bandwidth above the link would be an accounting error.
  const NetworkCalibration network = test::invented_network();
  const double nic = network.infiniband.nominal.value() * network.infiniband.payload_efficiency;
  for (const auto& [ranks, nodes] : {std::pair{8, 1}, std::pair{16, 2}, std::pair{64, 8}}) {
    for (int shift = 10; shift <= 36; ++shift) {
      const CollectiveEstimate e =
          cost().collective(CollectiveOp::all_reduce, Algorithm::ring, ranks, nodes, Bytes(std::int64_t{1} << shift));
      const double seconds = e.transfer.value();
      EXPECT_LE(static_cast<double>(e.bytes_in_node.value()), network.ring.simple_wire_rate.value() * seconds + 1.0);
      EXPECT_LE(static_cast<double>(e.bytes_across_nodes.value()), nic * seconds + 1.0);
    }
  }
}

TEST(NetworkCost, ProvenanceTellsInsideFromOutside) {
  const auto of = [](CollectiveOp op, int ranks, int nodes, std::int64_t bytes) {
    return cost().collective(op, Algorithm::ring, ranks, nodes, Bytes(bytes)).provenance;
  };
  EXPECT_EQ(of(CollectiveOp::all_reduce, 8, 1, 1024), Provenance::interpolated);  // the edge is inside
  EXPECT_EQ(of(CollectiveOp::all_reduce, 8, 1, 1023), Provenance::extrapolated);  // below the smallest
  EXPECT_EQ(of(CollectiveOp::all_reduce, 6, 1, kMB), Provenance::interpolated);   // between 2 and 8 ranks
  EXPECT_EQ(of(CollectiveOp::all_reduce, 16, 1, kMB), Provenance::extrapolated);  // more ranks in a node
  EXPECT_EQ(of(CollectiveOp::all_reduce, 16, 2, kMB), Provenance::interpolated);
  EXPECT_EQ(of(CollectiveOp::all_gather, 16, 2, kMB), Provenance::extrapolated);  // another op
  EXPECT_EQ(of(CollectiveOp::all_reduce, 64, 8, kMB), Provenance::extrapolated);  // more nodes
}

TEST(NetworkCost, MessagePaysItsLatencyEvenWhenEmpty) {
  EXPECT_NEAR(microseconds(cost().message(Span::in_node, Bytes(0)).total()), 5.0, 1e-12);
  // 4 MB across nodes: 20 us + 4 MB / 40 GB/s = 120 us.
  const MessageEstimate e = cost().message(Span::across_nodes, Bytes(4 * kMB));
  EXPECT_NEAR(microseconds(e.total()), 120.0, 1e-9);
  EXPECT_EQ(e.provenance, Provenance::interpolated);
  EXPECT_EQ(cost().message(Span::in_node, Bytes(0)).provenance, Provenance::extrapolated);
}

TEST(NetworkCost, ExchangePaysForEveryQueueAndWaitsForTheSlowerRoad) {
  // 16 ranks on 2 nodes, 16 experts: 16 + 16 x 0.25 = 20 us. 10 MB at 200 GB/s = 50 us beside 8 MB at 40 GB/s = 200.
  const ExchangeEstimate e = cost().exchange(ExchangeOp::dispatch, 16, 2, 16, Bytes(18 * kMB));
  EXPECT_NEAR(microseconds(e.latency), 20.0, 1e-9);
  EXPECT_NEAR(microseconds(exchange_alone(e, Bytes(10 * kMB), Bytes(8 * kMB))), 220.0, 1e-9);
  EXPECT_EQ(e.provenance, Provenance::interpolated);
  // In one node a combine: 12 + 4 us.
  EXPECT_NEAR(microseconds(cost().exchange(ExchangeOp::combine, 8, 1, 16, Bytes(kMB)).latency), 16.0, 1e-9);
  // 64 ranks on 8 nodes lie beyond what was fitted.
  EXPECT_EQ(cost().exchange(ExchangeOp::dispatch, 64, 8, 16, Bytes(kMB)).provenance, Provenance::extrapolated);
}

TEST(NetworkCost, FewExpertsLeaveSmsIdle) {
  NetworkCalibration network = test::invented_network();
  network.dispatch.blocks = ExchangeBlocks{Seconds(1e-6), BytesPerSecond(4e9), 10};
  const NetworkCost cost(network);
  const auto latency = [&](int experts, std::int64_t tokens) {
    return microseconds(cost.exchange(ExchangeOp::dispatch, 8, 1, experts, Bytes(kMB), {tokens, Bytes(4000)}).latency);
  };
  // A token takes its block 1 us + 4 kB / 4 GB/s = 2 us. 8 experts: 8 blocks, 33 tokens in 5 rounds; 8 + 8 x 0.25 us
  // besides.
  EXPECT_NEAR(latency(8, 33), 10.0 + 5 * 2.0, 1e-9);
  EXPECT_NEAR(latency(8, 32), 10.0 + 4 * 2.0, 1e-9);
  // 16 experts, two to a block on 10 SMs: 8 blocks again.
  EXPECT_NEAR(latency(16, 33), 12.0 + 5 * 2.0, 1e-9);
  // Nobody said what is sent: no rounds. The combine has no blocks, nor have the other kernels.
  EXPECT_NEAR(microseconds(cost.exchange(ExchangeOp::dispatch, 8, 1, 8, Bytes(kMB)).latency), 10.0, 1e-9);
  EXPECT_NEAR(microseconds(cost.exchange(ExchangeOp::combine, 8, 1, 8, Bytes(kMB), {99, Bytes(4000)}).latency), 14.0,
              1e-9);
  network.hierarchical_dispatch = HierarchicalCalibration{};
  EXPECT_FALSE(with_hierarchical_exchange(network, 12).dispatch.blocks);
}

TEST(NetworkCost, OtherExchangeKernelsTakeTheirOwnRates) {
  NetworkCalibration network = test::invented_network();
  HierarchicalCalibration fitted;
  fitted.latency_one_node = Seconds(20e-6);
  fitted.latency_across_nodes = Seconds(60e-6);
  fitted.rate_in_node_per_sm = BytesPerSecond(10e9);
  fitted.rate_in_node = BytesPerSecond(150e9);
  fitted.rate_across_nodes_per_sm = BytesPerSecond(2e9);
  fitted.sms_max = 24;
  fitted.fitted = {{16, 16, 2, 2, Bytes(1), Bytes(kMB)}};
  network.hierarchical_dispatch = fitted;
  const NetworkCost cost(with_hierarchical_exchange(network, 12));
  const ExchangeEstimate e = cost.exchange(ExchangeOp::dispatch, 16, 2, 256, Bytes(kMB));
  EXPECT_NEAR(microseconds(e.latency), 60.0, 1e-9);  // no destination has its own message
  EXPECT_DOUBLE_EQ(e.rate_in_node.value(), 120e9);
  EXPECT_DOUBLE_EQ(e.rate_across_nodes().value(), 24e9);
  EXPECT_DOUBLE_EQ(e.rate_across_nodes(2).value(), 24e9);
  EXPECT_EQ(e.provenance, Provenance::interpolated);
  // Nobody fitted its combine: that of the other kernels stands, and says that it is a guess.
  EXPECT_EQ(cost.exchange(ExchangeOp::combine, 16, 2, 16, Bytes(kMB)).provenance, Provenance::extrapolated);
}

// 8 + 4 ranks, 120 MB around 12: 22 chunks of 10 MB pass every rank. Four NICs of the smaller node carry them, 55 MB
// each, not six; in the larger node 7 of 8 hops are NVLink's.
TEST(NetworkCost, TheNodeWithTheFewestRanksSetsThePace) {
  const CollectiveGroup uneven{12, 2, 4, 8};
  const CollectiveEstimate ring =
      cost().collective(CollectiveOp::all_reduce, Algorithm::ring, uneven, Bytes(120 * kMB));
  EXPECT_EQ(ring.bytes_across_nodes, Bytes(55 * kMB));
  EXPECT_EQ(ring.bytes_in_node, Bytes(192'500'000));
  EXPECT_EQ(ring.provenance, Provenance::extrapolated);
  // Half a buffer each way over each of two trees between two nodes, in 4 parts.
  for (const Algorithm algorithm : {Algorithm::tree, Algorithm::nvls_tree})
    EXPECT_EQ(cost().collective(CollectiveOp::all_reduce, algorithm, uneven, Bytes(120 * kMB)).bytes_across_nodes,
              Bytes(30 * kMB));
  // Each of the 4 sends to 11, of which 8 are on the other node.
  EXPECT_EQ(cost().collective(CollectiveOp::all_gather, Algorithm::direct, uneven, Bytes(120 * kMB)).bytes_across_nodes,
            Bytes(80 * kMB));
}

TEST(NetworkCost, RejectsWhatNoPlanMayAsk) {
  EXPECT_ANY_THROW((void)cost().collective(CollectiveOp::all_reduce, Algorithm::nvls_tree, 4, 4, Bytes(kMB)));
  EXPECT_ANY_THROW((void)cost().collective(CollectiveOp::all_reduce, Algorithm::ring, {12, 2, 7, 8}, Bytes(kMB)));
  EXPECT_ANY_THROW((void)cost().collective(CollectiveOp::all_gather, Algorithm::nvls, 16, 2, Bytes(kMB)));
  EXPECT_ANY_THROW((void)cost().collective(CollectiveOp::all_gather, Algorithm::tree, 16, 2, Bytes(kMB)));
  EXPECT_ANY_THROW((void)cost().collective(CollectiveOp::all_reduce, Algorithm::nvls, 16, 2, Bytes(kMB)));
  EXPECT_ANY_THROW((void)cost().collective(CollectiveOp::all_reduce, Algorithm::ring, 2, 4, Bytes(kMB)));
  EXPECT_ANY_THROW((void)cost().collective(CollectiveOp::all_reduce, Algorithm::ring, 8, 1, Bytes(-1)));
}

TEST(ChooseAllReduce, PicksNvlsForLargeBuffersInOneNode) {
  using namespace literals;
  EXPECT_EQ(choose_all_reduce(8, 1, 16_MiB, true), Algorithm::ring);
  EXPECT_EQ(choose_all_reduce(8, 1, 32_MiB, true), Algorithm::nvls);
  EXPECT_EQ(choose_all_reduce(8, 1, 32_MiB, false), Algorithm::ring);
  EXPECT_EQ(choose_all_reduce(2, 1, 1_GiB, true), Algorithm::ring);
  EXPECT_EQ(choose_all_reduce(16, 2, 1_GiB, true), Algorithm::nvls_tree);
  EXPECT_EQ(choose_all_reduce(16, 2, 512_KiB, true), Algorithm::tree);
  EXPECT_EQ(choose_all_reduce(16, 2, 1_GiB, false), Algorithm::tree);
  EXPECT_EQ(choose_all_reduce(32, 4, 1_GiB, false), Algorithm::ring);
  // One GPU per node: nothing for the switch to do.
  EXPECT_EQ(choose_all_reduce(4, 4, 1_GiB, true), Algorithm::ring);
}

}  // namespace
}  // namespace foretoken::sim
