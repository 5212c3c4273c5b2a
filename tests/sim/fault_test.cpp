// What faults do to a run on the round machine (tiny_program.hpp): every link 1 GB/s, so 1,000 bytes take 1 us; a
// message has a latency of 1 us in a node and 2 us across.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.hpp"
#include "tests/sim/tiny_program.hpp"

namespace foretoken::test {
namespace {

using plan::OpKind;
using ::testing::AllOf;
using ::testing::HasSubstr;

SimTime us(double time) { return to_sim_time(Seconds(time * 1e-6)); }

// All cables at a vertex.
plan::Fault of_vertex(const plan::Machine& machine, const std::string& name, double from_us, double share) {
  plan::Fault fault;
  fault.from = us(from_us);
  fault.share = share;
  fault.what = name;
  for (std::size_t l = 0; l < machine.links().size(); ++l) {
    const plan::Link& link = machine.links()[l];
    const bool at = machine.vertex_name(link.from) == name || machine.vertex_name(link.to) == name;
    if (at && (share == 0 || link.link_class == LinkClass::infiniband)) fault.links.emplace_back(l);
  }
  return fault;
}

plan::Fault of_gpu(std::int32_t rank, double from_us, double speed) {
  plan::Fault fault;
  fault.from = us(from_us);
  fault.gpu = RankId(rank);
  fault.share = speed;
  fault.what = "GPU";
  return fault;
}

// 2 nodes of 2. Rank 0 sends 10,000 bytes to rank 2, rank 1 sends 4,000 to rank 3, each over its own NIC.
TinyProgram two_messages() {
  TinyProgram program(4);
  const auto r0 = program.role({0});
  const auto r1 = program.role({1});
  const auto r2 = program.role({2});
  const auto r3 = program.role({3});
  const auto a = program.communication(OpKind::send);
  const auto b = program.communication(OpKind::send);
  program.send(r0, "a", a, 2, 10'000);
  program.send(r1, "b", b, 2, 4'000);
  program.recv(r2, "a", a, -2, 10'000);
  program.recv(r3, "b", b, -2, 4'000);
  return program;
}

// 2 us, then 10 and 4.
TEST(Fault, NoneForComparison) {
  const Trace trace = two_messages().run(round_machine(2, 2), {});
  EXPECT_NEAR(times_of(trace, 2, "a").ended, 12, kPicosecond);
  EXPECT_NEAR(times_of(trace, 3, "b").ended, 6, kPicosecond);
}

// At 4 us 2,000 of a's bytes are there; the other 8,000 take 10 us each at a tenth: 84. b has another NIC.
TEST(Fault, ANicAtTenPercent) {
  const plan::Machine machine = round_machine(2, 2);
  const Trace trace = two_messages().run(machine, {of_vertex(machine, "node0.nic0", 4, 0.1)});
  EXPECT_NEAR(times_of(trace, 2, "a").ended, 4 + 80, kPicosecond);
  EXPECT_NEAR(times_of(trace, 3, "b").ended, 6, kPicosecond);
}

// The same until 14 us, when 3,000 are there and the link is mended: 7 us more.
TEST(Fault, ALaterOneReplacesAnEarlier) {
  const plan::Machine machine = round_machine(2, 2);
  const Trace trace =
      two_messages().run(machine, {of_vertex(machine, "node0.nic0", 4, 0.1), of_vertex(machine, "node0.nic0", 14, 1)});
  EXPECT_NEAR(times_of(trace, 2, "a").ended, 14 + 7, kPicosecond);
}

// At 4 us a has 8,000 bytes to go and b 2,000. a moves to NIC 1 and shares it with b: half each until b is done at 8;
// then a has 6,000 to go, alone: 14.
TEST(Fault, ADeadNicsMessageGoesOnOverTheOther) {
  const plan::Machine machine = round_machine(2, 2);
  const Trace trace = two_messages().run(machine, {of_vertex(machine, "node0.nic0", 4, 0)});
  EXPECT_NEAR(times_of(trace, 3, "b").ended, 8, kPicosecond);
  EXPECT_NEAR(times_of(trace, 2, "a").ended, 14, kPicosecond);
}

// Dead from the beginning: both leave through NIC 1 from 2 us on. b is done at 2 + 8, with 6,000 of a's to go.
TEST(Fault, LaterMessagesTakeTheOtherNic) {
  const plan::Machine machine = round_machine(2, 2);
  const Trace trace = two_messages().run(machine, {of_vertex(machine, "node0.nic0", 0, 0)});
  EXPECT_NEAR(times_of(trace, 3, "b").ended, 10, kPicosecond);
  EXPECT_NEAR(times_of(trace, 2, "a").ended, 16, kPicosecond);
}

// Both NICs of node 0 die: at 4 us the first, at 5 the second, with 7,500 bytes of a to go and no way.
TEST(Fault, WithoutAnyWayTheRunEndsWithOneError) {
  const plan::Machine machine = round_machine(2, 2);
  try {
    static_cast<void>(
        two_messages().run(machine, {of_vertex(machine, "node0.nic0", 4, 0), of_vertex(machine, "node0.nic1", 5, 0)}));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::rank_failed);
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("at 5.00 us, a of step 0: node0.gpu0 cannot reach node1.gpu0: node0.nic0, dead from "
                                "4.00 us; node0.nic1, dead from 5.00 us")));
  }
}

// What happens after the last op does not matter.
TEST(Fault, AfterTheEndChangesNothing) {
  const plan::Machine machine = round_machine(2, 2);
  const Trace trace = two_messages().run(machine, {of_vertex(machine, "fabric", 13, 0)});
  EXPECT_NEAR(times_of(trace, 2, "a").ended, 12, kPicosecond);
}

// a is under way for 10 us when the GPU slows down at 5, and ends as if nothing had happened; b, beginning at 10, takes
// 20 us instead of 10. Rank 1 is as fast as ever.
TEST(Fault, AGpuAtHalfSpeed) {
  TinyProgram program(2);
  const auto role = program.role({0, 1});
  program.compute(role, "a", 10);
  program.compute(role, "b", 10);
  const Trace trace = program.run(round_machine(1, 2), {of_gpu(0, 5, 0.5)});
  EXPECT_NEAR(times_of(trace, 0, "a").ended, 10, kPicosecond);
  EXPECT_NEAR(times_of(trace, 0, "b").ended, 30, kPicosecond);
  EXPECT_NEAR(times_of(trace, 1, "b").ended, 20, kPicosecond);
}

// An op that begins at the very time of the fault is slow.
TEST(Fault, BeginsBeforeWhatBeginsWithIt) {
  TinyProgram program(1);
  const auto role = program.role({0});
  program.compute(role, "a", 10);
  program.compute(role, "b", 10);
  EXPECT_NEAR(times_of(program.run(round_machine(1, 1), {of_gpu(0, 10, 0.5)}), 0, "b").ended, 30, kPicosecond);
  EXPECT_NEAR(times_of(program.run(round_machine(1, 1), {of_gpu(0, 0, 0.5)}), 0, "a").ended, 20, kPicosecond);
}

// Ring all-reduce of 8,000 bytes over 2 nodes of 4: 14 steps of 1 us, then 14 + 1 chunks of 1,000 bytes through every
// kernel, 15 us. Of a rank's 14 chunks a quarter goes over its NIC, 3,500 bytes, and the rest over its NVLink, 10,500.
// At 21.5 us half is done, and all NICs of node 0 but the last die. That one carries 14,000 bytes now; GPU 3's NVLink,
// beside its own 10,500, what the other three pass on: 21,000, of which half takes 10.5 us, more than the kernels' 7.5.
TEST(Fault, ACollectiveGoesOnWithWhatIsLeft) {
  const plan::Machine machine = round_machine(2, 4);
  TinyProgram program(8);
  const auto role = program.role({0, 1, 2, 3, 4, 5, 6, 7});
  program.collective(role, "sum", program.communication(OpKind::all_reduce, program.group(8)), 8'000);
  EXPECT_NEAR(times_of(program.run(machine, {}), 0, "sum").ended, 14 + 15, kPicosecond);
  const Trace trace =
      program.run(machine, {of_vertex(machine, "node0.nic0", 21.5, 0), of_vertex(machine, "node0.nic1", 21.5, 0),
                            of_vertex(machine, "node0.nic2", 21.5, 0)});
  EXPECT_NEAR(times_of(trace, 0, "sum").ended, 21.5 + 10.5, kPicosecond);
}

// An NVSwitch adds up what comes over the members' own links to it, and nothing else does. One link is one pair's; a
// dead switch is everybody's; a node with one member has nothing to add up.
TEST(Fault, NothingAddsUpForAGpuWithoutItsNvswitch) {
  const auto run = [](const plan::Machine& machine, CollectiveAlgorithm algorithm, const std::string& dead) {
    const std::int64_t gpus = machine.gpus();
    TinyProgram program(gpus);
    std::vector<std::int32_t> ranks;
    for (std::int32_t rank = 0; rank < gpus; ++rank) ranks.push_back(rank);
    const auto role = program.role(ranks);
    program.collective(role, "sum", program.communication(OpKind::all_reduce, program.group(gpus), algorithm), 8'000);
    return program.run(machine, {of_vertex(machine, dead, 0, 0)});
  };
  for (const auto& [nodes, algorithm] :
       {std::pair(1, CollectiveAlgorithm::nvls), std::pair(2, CollectiveAlgorithm::nvls_tree)}) {
    const plan::Machine machine = round_machine(nodes, 4);
    try {
      static_cast<void>(run(machine, algorithm, "node0.nvswitch"));
      ADD_FAILURE() << name_of(algorithm) << " went on";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::rank_failed);
      EXPECT_THAT(error.what(), AllOf(HasSubstr("sum of step 0"), HasSubstr("no NVSwitch that adds up"),
                                      HasSubstr("node0.nvswitch, dead from")));
    }
    // Chains and rings take another way.
    EXPECT_GT(times_of(run(machine, CollectiveAlgorithm::ring, "node0.nvswitch"), 0, "sum").ended, 0);
    EXPECT_GT(times_of(run(machine, algorithm, "node0.nic0"), 0, "sum").ended, 0);
  }
}

// 2 nodes of 2, every rank of the first sends 2 rows to each of the second; at 10 us messages start, two to a NIC: 4
// us. With NIC 0 dead at 12, node 0 has half of its 8,000 bytes left to send, over one NIC: 4 us.
TEST(Fault, AnExchangeGoesOnOverTheOtherNic) {
  const plan::Machine machine = round_machine(2, 2);
  TinyProgram program(4);
  const auto role = program.role({0, 1, 2, 3});
  program.exchange(role, "x", program.communication(OpKind::dispatch, program.group(4)));
  for (const std::int32_t here : {0, 1})
    for (const std::int32_t there : {2, 3}) program.pairs.push_back({here, there, 2});
  EXPECT_NEAR(times_of(program.run(machine, {}), 3, "x").ended, 14, kPicosecond);
  const Trace trace = program.run(machine, {of_vertex(machine, "node0.nic0", 12, 0)});
  EXPECT_NEAR(times_of(trace, 3, "x").ended, 12 + 4, kPicosecond);
}

// The NIC of rank 0 dies at 4 us, that of its detour at 6: a has 8,000 and then 6,000 bytes to go, and the third NIC to
// itself.
TEST(Fault, MayHitOneMessageTwice) {
  const plan::Machine machine = round_machine(2, 3);
  TinyProgram program(6);
  const auto from = program.role({0});
  const auto to = program.role({3});
  program.role({1, 2, 4, 5});
  const auto a = program.communication(OpKind::send);
  program.send(from, "a", a, 3, 10'000);
  program.recv(to, "a", a, -3, 10'000);
  const Trace trace =
      program.run(machine, {of_vertex(machine, "node0.nic0", 4, 0), of_vertex(machine, "node0.nic1", 6, 0)});
  EXPECT_NEAR(times_of(trace, 3, "a").ended, 12, kPicosecond);
}

TEST(Fault, SameFaultsSameTrace) {
  const plan::Machine machine = round_machine(2, 2);
  const auto run = [&] { return two_messages().run(machine, {of_vertex(machine, "node0.nic0", 4, 0)}); };
  EXPECT_EQ(run().ended, run().ended);
}

}  // namespace
}  // namespace foretoken::test
