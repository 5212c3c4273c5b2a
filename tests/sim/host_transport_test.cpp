// Ranks as threads of an invented computer: each time derived above its assertion.
//
// A communication costs a rank 1 us, a round 2 us; messages cost each end 1 us and 1 ns per byte, sums 1 ns per byte
// and copies 2 ns; who waits for a message goes on 3 us after it. Among more ranks than cores all of it, but for the
// waiting, takes 1.5 times as long.
#include "sim/communication/host_transport.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "core/error.hpp"
#include "plan/machine/topology.hpp"
#include "tests/sim/tiny_program.hpp"

namespace foretoken::test {
namespace {

using namespace literals;
using plan::OpKind;

constexpr double kNear = 1e-3;  // nanosecond, in us

plan::Machine host_machine(std::int64_t cores, std::int64_t ranks) {
  plan::Topology topology;
  topology.name = "invented";
  topology.device.name = "invented";
  topology.nodes = 1;
  topology.gpus_per_node = ranks;
  topology.cores_per_node = cores;
  return plan::build_machine(topology);
}

HostCalibration invented_host(std::int64_t cores) {
  HostCalibration calibration;
  calibration.cores = cores;
  HostCommunication communication;
  communication.communicator = "threads";
  HostTerms& alone = communication.unit_costs[0];
  alone[HostTerm::communication_ops] = 1e-6;
  alone[HostTerm::communication_rounds] = 2e-6;
  alone[HostTerm::communication_messages] = 1e-6;
  alone[HostTerm::communication_bytes] = 1e-9;
  alone[HostTerm::communication_added] = 1e-9;
  alone[HostTerm::communication_copied] = 2e-9;
  for (std::size_t t = 0; t < kHostTerms.size(); ++t)
    communication.unit_costs[1][static_cast<HostTerm>(t)] = 1.5 * alone[static_cast<HostTerm>(t)];
  communication.wake = 3_us;
  calibration.communication.push_back(communication);
  return calibration;
}

class HostTransportTest : public ::testing::Test {
 protected:
  [[nodiscard]] Trace run(const TinyProgram& program, std::int64_t cores, double crowding = 1.5) const {
    const HostCalibration calibration = invented_host(cores);
    const std::int64_t ranks = program.program().ranks;
    const sim::HostCost cost(calibration, "", ranks);
    const plan::Machine machine = host_machine(cores, 64);
    return program.run(sim::HostTransport(machine, cost, ranks), 0, 1, crowding);
  }
};

TEST_F(HostTransportTest, AMachineOfCoresHasNoLinks) {
  const plan::Machine machine = host_machine(2, 64);
  EXPECT_TRUE(machine.is_host());
  EXPECT_EQ(machine.gpus(), 64);
  EXPECT_TRUE(machine.links().empty());
  EXPECT_TRUE(machine.route(RankId(0), RankId(5)).empty());
  EXPECT_FALSE(round_machine(1, 2).is_host());
}

// One rank on two cores works as if alone: 10 us. Two take 1.5 times as long; four take turns as well: 2 x 15 us.
TEST_F(HostTransportTest, RanksShareCores) {
  for (const auto& [ranks, expected] : {std::pair{1, 10.0}, {2, 15.0}, {4, 30.0}}) {
    TinyProgram program(ranks);
    std::vector<std::int32_t> all;
    for (int r = 0; r < ranks; ++r) all.push_back(r);
    program.compute(program.role(all), "work", 10);
    const Trace trace = run(program, 2);
    EXPECT_NEAR(times_of(trace, 0, "work").ended, expected, kNear) << ranks;
    // CPU time is the thread's own: crowded as soon as every core has a rank, but without the turns of others.
    EXPECT_NEAR(to_seconds(trace.cpu[0]).value() * 1e6, ranks == 1 ? 10.0 : 15.0, kNear) << ranks;
  }
}

// A second op on another stream of the same rank does not run beside the first: both advance at half speed until the
// shorter has had its 10 us at 20, and the longer has 10 left: 30.
TEST_F(HostTransportTest, ARankDoesOneThingAtATime) {
  TinyProgram program(1);
  const auto role = program.role({0});
  program.compute(role, "short", 10);
  program.compute(role, "long", 20, {{}, plan::kCommunication});
  const Trace trace = run(program, 2, 1.0);
  EXPECT_NEAR(times_of(trace, 0, "short").ended, 20, kNear);
  EXPECT_NEAR(times_of(trace, 0, "long").ended, 30, kNear);
}

// Two members, 2,000 bytes around a ring: 2 rounds of a message each way of 1,000 bytes, copy of 2,000 and a sum of
// 1,000. Work of one: 1 us + 2 rounds 4 us + 4 messages 4 us + 4,000 bytes 4 us + 4 us copied + 1 us added = 18 us; and
// two waits of 3 us.
TEST_F(HostTransportTest, AnAllReduceIsTheWorkOfItsMembers) {
  TinyProgram program(2);
  const auto role = program.role({0, 1});
  const auto sum = program.communication(OpKind::all_reduce, program.group(2));
  program.collective(role, "sum", sum, 2000);
  const Trace trace = run(program, 2);
  EXPECT_NEAR(times_of(trace, 0, "sum").ended, 18 + 6, kNear);
  EXPECT_NEAR(times_of(trace, 1, "sum").ended, 18 + 6, kNear);
  EXPECT_NEAR(to_seconds(trace.cpu[0]).value() * 1e6, 18, kNear);
}

// Four members on two cores, 4,000 bytes: 6 rounds 12 us, 12 messages 12 us, 12,000 bytes 12 us, 4,000 copied 8 us,
// 3,000 added 3 us and 1 us: 48 us, among more ranks than cores 72 us, and two ranks take turns on each core: 144 us.
// Six waits.
TEST_F(HostTransportTest, MoreMembersThanCoresTakeTurns) {
  TinyProgram program(4);
  const auto role = program.role({0, 1, 2, 3});
  const auto sum = program.communication(OpKind::all_reduce, program.group(4));
  program.collective(role, "sum", sum, 4000);
  const Trace trace = run(program, 2);
  EXPECT_NEAR(times_of(trace, 3, "sum").ended, 144 + 18, kNear);
  EXPECT_NEAR(to_seconds(trace.cpu[0]).value() * 1e6, 72, kNear);
}

// Three ranks on four cores, each op of crowding 2: the cores give 4 / (3 x 2) of the speed alone, and no rank waits
// for its turn, so that is CPU time.
TEST_F(HostTransportTest, FewerRanksThanCoresSlowOneAnotherDownLess) {
  TinyProgram program(3);
  program.compute(program.role({0, 1, 2}), "work", 10);
  const Trace trace = run(program, 4, 2.0);
  EXPECT_NEAR(times_of(trace, 0, "work").ended, 15, kNear);
  EXPECT_NEAR(to_seconds(trace.cpu[0]).value() * 1e6, 15, kNear);
}

// 1,000 bytes: 1 us for the op, 2 us for its round, 2 us for the message at either end, one after the other, and 3 us
// until the receiver goes on.
TEST_F(HostTransportTest, AMessageIsWorkAtBothEnds) {
  TinyProgram program(2);
  const auto first = program.role({0});
  const auto second = program.role({1});
  const auto transfer = program.communication(OpKind::send);
  program.send(first, "send", transfer, 1, 1000);
  program.recv(second, "recv", transfer, -1, 1000);
  const Trace trace = run(program, 2);
  EXPECT_NEAR(times_of(trace, 1, "recv").ended, 13, kNear);
  EXPECT_NEAR(to_seconds(trace.cpu[0]).value() * 1e6, 5, kNear);
}

// Each rank keeps one row of 1,000 bytes (2 us) and sends one (2 us at each end: 4 us of work a message, half of it on
// each thread). A thread has 2 + 2 + 2 = 6 us to do, after 1 us for the op, 2 us for its round and 3 us of waiting.
TEST_F(HostTransportTest, RowsThatStayAreCopied) {
  TinyProgram program(2);
  const auto role = program.role({0, 1});
  const auto dispatch = program.communication(OpKind::dispatch, program.group(2), CollectiveAlgorithm::direct);
  program.exchange(role, "dispatch", dispatch);
  program.pairs = {{0, 0, 1}, {0, 1, 1}, {1, 0, 1}, {1, 1, 1}};
  const Trace trace = run(program, 2);
  EXPECT_NEAR(times_of(trace, 0, "dispatch").ended, 12, kNear);
  EXPECT_NEAR(times_of(trace, 1, "dispatch").ended, 12, kNear);
  // The op and its round 3 us; two messages (one out, one in) 2 us, 2,000 bytes 2 us, 2 us copied: all but the waiting.
  EXPECT_NEAR(to_seconds(trace.cpu[0]).value() * 1e6, 9, kNear);
}

// A rank all of whose rows stay takes the copy's time and ends, without a peer.
TEST_F(HostTransportTest, ARankMayHaveRowsForItselfAlone) {
  TinyProgram program(2);
  const auto role = program.role({0, 1});
  const auto dispatch = program.communication(OpKind::dispatch, program.group(2), CollectiveAlgorithm::direct);
  program.exchange(role, "dispatch", dispatch);
  program.pairs = {{0, 0, 1}};
  const Trace trace = run(program, 2);
  EXPECT_NEAR(times_of(trace, 0, "dispatch").ended, 6 + 2, kNear);
  EXPECT_NEAR(times_of(trace, 1, "dispatch").ended, 0, kNear);
}

// Two emulated nodes of two ranks, NICs of 10 MB/s: payload gets half, a message has 100 bytes of headers, half of its
// bytes come back as acknowledgements, and its receiver goes on 30 us later. It costs its sender 2 us and its receiver
// 2 us and 1 ns per byte.
plan::Machine two_nodes(std::vector<double> core_shares = {}) {
  plan::Topology topology;
  topology.name = "invented";
  topology.device.name = "invented";
  topology.nodes = 2;
  topology.gpus_per_node = 2;
  topology.cores_per_node = 8;
  topology.emulated = true;
  topology.core_shares = std::move(core_shares);
  topology.nics_per_node = 1;
  topology.nic_bandwidth = BytesPerSecond(10e6);
  return plan::build_machine(topology);
}
constexpr double kPayload = 0.5;
HostNetwork invented_network() {
  return {"invented", kPayload, 0.5, 30_us, Bytes(100), {2_us, Seconds(0)}, {2_us, Seconds(1e-9)}};
}

// Alone: 30 us + 1,100 bytes at 5 MB/s, 220 us. Two from one node share its NIC: 30 + 2 x 220 us. Two that go opposite
// ways: each direction has 1,100 bytes and 550 of acknowledgements, 330 us. Two ranks of one node do not use it: the
// 13 us of a message in memory.
TEST_F(HostTransportTest, MessagesBetweenNodesShareNics) {
  const plan::Machine machine = two_nodes();
  const HostCalibration calibration = invented_host(8);
  const sim::HostCost cost(calibration, "", 4);
  const sim::HostTransport transport(machine, cost, 4, invented_network());
  const auto ended = [&](const std::vector<std::pair<int, int>>& messages) {
    TinyProgram program(4);
    program.role({0, 1, 2, 3});  // idle, unless said otherwise
    for (const auto& [from, to] : messages) {
      const auto transfer = program.communication(OpKind::send);
      program.send(program.role({from}), "send", transfer, to - from, 1000);
      program.recv(program.role({to}), "recv", transfer, from - to, 1000);
    }
    return times_of(program.run(transport, 0, 1, 1.0), messages.back().second, "recv").ended;
  };
  EXPECT_NEAR(ended({{0, 2}}), 250, kNear);
  EXPECT_NEAR(ended({{0, 2}, {1, 3}}), 470, kNear);
  EXPECT_NEAR(ended({{0, 2}, {3, 1}}), 30 + 330, kNear);
  EXPECT_NEAR(ended({{0, 1}}), 13, kNear);
}

// Of eight cores node 1 gets half of one: its rank takes twice as long as node 0's, two of its ranks together four
// times, and a message in its memory, 10 us of work and 3 us of waiting, 20 + 3 us.
TEST_F(HostTransportTest, ANodeGetsItsShareOfTheCores) {
  const plan::Machine machine = two_nodes({8, 0.5});
  EXPECT_EQ(machine.core_share(1), 0.5);
  const HostCalibration calibration = invented_host(8);
  const sim::HostCost cost(calibration, "", 4);
  const sim::HostTransport transport(machine, cost, 4, invented_network());
  const auto computed = [&](const std::vector<std::int32_t>& ranks) {
    TinyProgram program(4);
    program.role({0, 1, 2, 3});
    program.compute(program.role(ranks), "work", 10);
    return times_of(program.run(transport, 0, 1, 1.0), ranks.back(), "work").ended;
  };
  EXPECT_NEAR(computed({0}), 10, kNear);
  EXPECT_NEAR(computed({0, 1}), 10, kNear);
  EXPECT_NEAR(computed({2}), 20, kNear);
  EXPECT_NEAR(computed({2, 3}), 40, kNear);
  TinyProgram program(4);
  program.role({0, 1, 2, 3});
  const auto transfer = program.communication(OpKind::send);
  program.send(program.role({2}), "send", transfer, 1, 1000);
  program.recv(program.role({3}), "recv", transfer, -1, 1000);
  EXPECT_NEAR(times_of(program.run(transport, 0, 1, 1.0), 3, "recv").ended, 23, kNear);
}

TEST_F(HostTransportTest, RanksOnSeveralNodesNeedANetwork) {
  const plan::Machine machine = two_nodes();
  const HostCalibration calibration = invented_host(8);
  const sim::HostCost cost(calibration, "", 4);
  EXPECT_NO_THROW(sim::HostTransport(machine, cost, 2));
  EXPECT_THROW(sim::HostTransport(machine, cost, 4), Error);
  EXPECT_EQ(sim::ranks_on_computer(machine, 4), 4);
}

TEST_F(HostTransportTest, GpusHaveNoCpuTimes) {
  TinyProgram program(1);
  program.compute(program.role({0}), "work", 10);
  EXPECT_TRUE(program.run(round_machine(1, 1), 0, 1).cpu.empty());
}

}  // namespace
}  // namespace foretoken::test
