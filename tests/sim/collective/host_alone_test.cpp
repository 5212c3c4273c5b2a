// Ranks that are threads: the computer of host_transport_test.cpp, with 1 us per op and per message and end, 2 us per
// round, 1 ns per byte and end or added, 2 ns per byte copied, and 3 us until a sleeping rank goes on.
#include "sim/collective/host_alone.hpp"

#include <gtest/gtest.h>

#include <optional>

#include "plan/machine/topology.hpp"

namespace foretoken::sim {
namespace {

class HostAloneTest : public ::testing::Test {
 protected:
  void SetUp() override {
    plan::Topology topology;
    topology.name = topology.device.name = "host";
    topology.nodes = 1;
    topology.gpus_per_node = 64;
    topology.cores_per_node = 4;
    machine.emplace(plan::build_machine(topology));
    calibration.cores = 4;
    HostCommunication communication;
    communication.communicator = "threads";
    HostTerms& alone = communication.unit_costs[0];
    alone[HostTerm::communication_ops] = 1e-6;
    alone[HostTerm::communication_rounds] = 2e-6;
    alone[HostTerm::communication_messages] = 1e-6;
    alone[HostTerm::communication_bytes] = 1e-9;
    alone[HostTerm::communication_added] = 1e-9;
    alone[HostTerm::communication_copied] = 2e-9;
    communication.unit_costs[1] = alone;
    communication.wake = Seconds(3e-6);
    calibration.communication.push_back(communication);
  }
  template <class Run>
  AloneResult with(std::int32_t ranks, const Run& run, const AloneOptions& options = {}) {
    const HostCost cost(calibration, "", ranks);
    const HostTransport transport(*machine, cost, ranks);
    return run(HostAlone(transport, ranks, options));
  }
  HostCalibration calibration;
  std::optional<plan::Machine> machine;
};

// Two members, 2,000 bytes: 1 us, 2 rounds 4 us, 4 messages 4 us, 4,000 bytes 4 us, 2,000 copied 4 us, 1,000 added 1
// us: 18 us of both; and two waits.
TEST_F(HostAloneTest, ACollectiveIsTheWorkOfItsMembers) {
  const auto run = [](const HostAlone& alone) {
    return alone.collective(CollectiveOp::all_reduce, CollectiveAlgorithm::ring, Bytes(2000));
  };
  EXPECT_NEAR(microseconds(with(2, run).time), 24, 1e-6);
  EXPECT_NEAR(microseconds(with(2, run, {true, 0}).time), 18, 1e-6);
}

// A message of 1,000 bytes is 1 + 2 + 1 + 1 = 5 us of work at either end, one after the other, after a wait. Among two
// ranks each thread has half of two messages: 13 us. Of an all-to-all of four ranks on four cores each thread has six
// ends: 3 + 30 us; in rounds one after the other it waits three times.
TEST_F(HostAloneTest, MessagesShareTheirThreads) {
  EXPECT_NEAR(microseconds(with(2, [](const HostAlone& alone) { return alone.send_recv(Bytes(1000)); }).time), 13,
              1e-6);
  const TrafficMatrix matrix = uniform_traffic(4, Bytes(4000), 4);
  const auto by = [&](AllToAllAlgorithm algorithm) {
    return microseconds(with(4, [&](const HostAlone& alone) { return alone.all_to_all(algorithm, matrix); }).time);
  };
  EXPECT_NEAR(by(AllToAllAlgorithm::direct), 33, 1e-6);
  EXPECT_NEAR(by(AllToAllAlgorithm::pairwise), 39, 1e-6);
  EXPECT_EQ(with(1, [](const HostAlone& alone) { return alone.send_recv(Bytes(1000)); }).time, Seconds(0));
}

}  // namespace
}  // namespace foretoken::sim
