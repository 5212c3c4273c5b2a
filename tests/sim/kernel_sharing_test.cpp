// Computation beside communication on one GPU, on the round machine of tiny_program.hpp: links of 1 GB/s, so that 1,000
// bytes take 1 us; a message has 1 us of latency in a node, an all-reduce of 2,000 bytes over 2 ranks takes 2 + 3 us.
#include "sim/engine/kernel_sharing.hpp"

#include <gtest/gtest.h>

#include <random>

#include "tests/sim/tiny_program.hpp"

namespace foretoken::test {
namespace {

using namespace literals;
using plan::OpKind;

constexpr double kTwoPicoseconds = 2e-6;  // in us

Provenance provenance_of(const Trace& trace, std::int32_t rank, const std::string& op) {
  for (std::size_t event = 0; event < trace.size(); ++event)
    if (trace.rank[event] == rank && trace.op_of(event).name == op) return trace.provenance[event];
  throw std::out_of_range(op);
}

// Of 10 SMs communication holds `sms`. Compute ops slow down with what is left; the ones called "reads" do not.
sim::KernelInterference ten_sms(const plan::Program& program, std::int64_t sms) {
  return {[sms](RankId, OpId) { return sms; },
          [&program](RankId rank, OpId op, std::int64_t, std::int64_t held) {
            if (program.role_of(rank).ops[op.index()].name == "reads") return 1.0;
            return static_cast<double>(10 - held) / 10;
          },
          Provenance::assumed};
}

// ---- memory --------------------------------------------------------------------------------------------------------

// Rank 0 sends `bytes` to rank 1, and both compute for 10 us meanwhile.
TinyProgram message_beside(std::int64_t bytes, std::int64_t traffic) {
  TinyProgram program(2);
  const auto sender = program.role({0});
  const auto receiver = program.role({1});
  const CommunicationId message = program.communication(OpKind::send);
  program.send(sender, "send", message, 1, bytes, {{}, plan::kPipelineSend});
  program.compute(sender, "work", 10);
  program.recv(receiver, "recv", message, -1, bytes, {{}, plan::kPipelineRecv});
  program.compute(receiver, "work", 10);
  program.traffic("work", traffic);
  return program;
}

// Memory of 4 GB/s; the kernel moves 40,000 bytes in 10 us, all of it. From 1 to 6 us the message has 1 GB/s of it on
// either side, 3/4 are left: 1 + 3.75 us of the work are done at 6, and the rest takes 5.25: 11.25.
TEST(SharedMemory, AKernelThatFillsItSlowsDownByWhatAMessageMoves) {
  const TinyProgram program = message_beside(5000, 40'000);
  const sim::KernelInterference free = ten_sms(program.program(), 0);
  const Trace trace = program.run_shared(round_machine(1, 2), 1, 4_GBps, &free);
  for (const std::int32_t rank : {0, 1}) {
    EXPECT_NEAR(times_of(trace, rank, "work").ended, 11.25, kTwoPicoseconds);
    EXPECT_EQ(provenance_of(trace, rank, "work"), Provenance::assumed);
  }
  EXPECT_NEAR(times_of(trace, 1, "recv").ended, 6, kTwoPicoseconds);
}

// Half of the memory's bandwidth is the kernel's, a quarter the message's: nobody waits, and nothing is assumed.
TEST(SharedMemory, ThereIsEnoughOfItForBoth) {
  const TinyProgram program = message_beside(5000, 20'000);
  const sim::KernelInterference free = ten_sms(program.program(), 0);
  const Trace trace = program.run_shared(round_machine(1, 2), 1, 4_GBps, &free);
  EXPECT_NEAR(times_of(trace, 1, "work").ended, 10, kTwoPicoseconds);
  EXPECT_EQ(provenance_of(trace, 1, "work"), Provenance::measured);
}

// Memory of 1 GB/s, asked for 1 by the kernel and 1 by the message: half each, in bytes. The message's 2,000 bytes take
// 4 us from 1 on; the kernel has done 1 + 2 us of its 10 by then, and ends at 12.
TEST(SharedMemory, WhoAsksForTheSameGetsTheSame) {
  const TinyProgram program = message_beside(2000, 10'000);
  const sim::KernelInterference free = ten_sms(program.program(), 0);
  const Trace trace = program.run_shared(round_machine(1, 2), 1, 1_GBps, &free);
  EXPECT_NEAR(times_of(trace, 1, "recv").ended, 5, kTwoPicoseconds);
  EXPECT_NEAR(times_of(trace, 1, "work").ended, 12, kTwoPicoseconds);
}

// An all-reduce of 2,000 bytes over 2 ranks sends and receives 2 (n-1)/n x 2,000 bytes on each: 2,000 out and 2,000 in,
// through kernels that need 3 us for them: 4,000 / 3 bytes per us of memory, from 2 us to 5. Of 4,000 that is a third:
// the kernel has done 2 + 3 x 2/3 = 4 us at 5, and ends at 11.
TEST(SharedMemory, ACollectiveReadsAndWritesItsMembersMemory) {
  TinyProgram program(2);
  const auto role = program.role({0, 1});
  program.collective(role, "sum", program.communication(OpKind::all_reduce, program.group(2)), 2000,
                     {{}, plan::kCommunication});
  program.compute(role, "work", 10);
  program.traffic("work", 40'000);
  const sim::KernelInterference free = ten_sms(program.program(), 0);
  const Trace trace = program.run_shared(round_machine(1, 2), 1, 4_GBps, &free);
  EXPECT_NEAR(times_of(trace, 0, "sum").ended, 5, kTwoPicoseconds);
  EXPECT_NEAR(times_of(trace, 1, "work").ended, 11, kTwoPicoseconds);
}

// The same with memory of 1 GB/s, asked for 1 by the kernel and 4/3 by the all-reduce, which has two shares: one of
// what it sends and one of what it receives. 2,000 bytes each way at a third take 6 us from 2 on; the kernel, with a
// third as well, has done 2 + 2 us of its 10 at 8, and ends at 14.
TEST(SharedMemory, ACollectiveHasAShareOfWhatItSendsAndOneOfWhatItReceives) {
  TinyProgram program(2);
  const auto role = program.role({0, 1});
  program.collective(role, "sum", program.communication(OpKind::all_reduce, program.group(2)), 2000,
                     {{}, plan::kCommunication});
  program.compute(role, "work", 10);
  program.traffic("work", 10'000);
  const sim::KernelInterference free = ten_sms(program.program(), 0);
  const Trace trace = program.run_shared(round_machine(1, 2), 1, 1_GBps, &free);
  EXPECT_NEAR(times_of(trace, 0, "sum").ended, 8, kTwoPicoseconds);
  EXPECT_NEAR(times_of(trace, 1, "work").ended, 14, kTwoPicoseconds);
}

// A dispatch of 3 rows each way between 2 ranks: from 5 us to 8 each sends and receives 1,000 bytes per us, half of the
// memory. 5 + 1.5 us are done at 8: 11.5.
TEST(SharedMemory, AnExchangeTakesItOnBothSides) {
  TinyProgram program(2);
  const auto role = program.role({0, 1});
  program.exchange(role, "dispatch", program.communication(OpKind::dispatch, program.group(2)),
                   {{}, plan::kCommunication});
  program.compute(role, "work", 10);
  program.traffic("work", 40'000);
  program.pairs = {{0, 1, 3}, {1, 0, 3}};
  const sim::KernelInterference free = ten_sms(program.program(), 0);
  const Trace trace = program.run_shared(round_machine(1, 2), 1, 4_GBps, &free);
  EXPECT_NEAR(times_of(trace, 0, "dispatch").ended, 8, kTwoPicoseconds);
  EXPECT_NEAR(times_of(trace, 0, "work").ended, 11.5, kTwoPicoseconds);
}

// ---- SMs -----------------------------------------------------------------------------------------------------------

// Both all-reduce 2,000 bytes, rank 1 not before 3 us of other work; the kernel holds 4 of 10 SMs, on rank 0 while it
// waits, too. It ends at 3 + 5 = 8.
//   rank 0: work 0.6 x 8 = 4.8 of 10 done at 8, ends at 13.2
//   rank 1: work begins at 3, 0.6 x 5 = 3 done at 8, ends at 15
TEST(ReservedSms, AreHeldFromTheLaunchToTheEnd) {
  TinyProgram program(2);
  const auto early = program.role({0});
  const auto late = program.role({1});
  const CommunicationId sum = program.communication(OpKind::all_reduce, program.group(2));
  program.collective(early, "sum", sum, 2000, {{}, plan::kCommunication});
  program.compute(early, "work", 10);
  const OpId first = program.compute(late, "late", 3);
  program.collective(late, "sum", sum, 2000, {{{first, 0}}, plan::kCommunication});
  program.compute(late, "work", 10);
  const sim::KernelInterference held = ten_sms(program.program(), 4);
  const Trace trace = program.run_shared(round_machine(1, 2), 1, 1000_GBps, &held);
  EXPECT_NEAR(times_of(trace, 0, "sum").ended, 8, kTwoPicoseconds);
  EXPECT_NEAR(times_of(trace, 0, "work").ended, 13.2, kTwoPicoseconds);
  EXPECT_NEAR(times_of(trace, 1, "late").ended, 3, kTwoPicoseconds);
  EXPECT_EQ(provenance_of(trace, 1, "late"), Provenance::measured);
  EXPECT_NEAR(times_of(trace, 1, "work").ended, 15, kTwoPicoseconds);
  EXPECT_EQ(provenance_of(trace, 1, "work"), Provenance::assumed);
}

// Batches in flight: while stage 1 works on one micro-batch its receive of the next is posted already, as on a stream
// of its own. The sender computes for 6 us, the message takes 1 + 1: its kernel holds 3 of 10 SMs until 8 on stage 1,
// where 0.7 x 8 = 5.6 of 10 us are done then, the rest at 12.4. On stage 0 the send is posted at 6, when its next work
// begins: 0.7 x 2 us are done at 8, ends at 16.6.
TEST(ReservedSms, AreHeldByAReceiveThatIsPostedEarly) {
  TinyProgram program(2);
  const auto sender = program.role({0});
  const auto receiver = program.role({1});
  const CommunicationId message = program.communication(OpKind::send);
  const OpId first = program.compute(sender, "first", 6);
  program.send(sender, "send", message, 1, 1000, {{{first, 0}}, plan::kPipelineSend});
  program.compute(sender, "next", 10);
  program.recv(receiver, "recv", message, -1, 1000, {{}, plan::kPipelineRecv});
  program.compute(receiver, "work", 10);
  const sim::KernelInterference held = ten_sms(program.program(), 3);
  const Trace trace = program.run_shared(round_machine(1, 2), 1, 1000_GBps, &held);
  EXPECT_NEAR(times_of(trace, 1, "recv").ended, 8, kTwoPicoseconds);
  EXPECT_NEAR(times_of(trace, 1, "work").ended, 12.4, kTwoPicoseconds);
  EXPECT_NEAR(times_of(trace, 0, "next").ended, 16.6, kTwoPicoseconds);
}

// Micro-stages: chunk 1 comes over the network from rank 1, 3 rows, and is there at 5 + 3 us; chunk 0 is on hand at 1
// us and takes 10 us. The kernel that receives holds 5 of 10 SMs until 8: 1..8 does 3.5 of 10 us, the rest by 14.5.
// Then chunk 1, which came meanwhile: 24.5.
TEST(ReservedSms, SlowDownThePartialBatchThatIsComputedMeanwhile) {
  TinyProgram program(2);
  const auto role = program.role({0, 1});
  const plan::Stream here{plan::kFirstExchange};
  const plan::Stream there{plan::kFirstExchange + 1};
  const OpId on_hand = program.compute(role, "on_hand", 0.5, {{}, here});
  const OpId arrives =
      program.exchange(role, "arrives", program.communication(OpKind::dispatch, program.group(2)), {{}, there});
  program.block(role, "chunk0", 10, 0, {{{on_hand, 0}}});
  program.block(role, "chunk1", 10, 1, {{{arrives, 0}}});
  program.pairs = {{0, 1, 3}, {1, 0, 3}};
  const sim::KernelInterference held = ten_sms(program.program(), 5);
  const Trace trace = program.run_shared(round_machine(1, 2), 1, 1000_GBps, &held);
  EXPECT_NEAR(times_of(trace, 0, "chunk0").begun, 1, kTwoPicoseconds);
  EXPECT_NEAR(times_of(trace, 0, "chunk0").ended, 14.5, kTwoPicoseconds);
  EXPECT_NEAR(times_of(trace, 1, "chunk1").ended, 24.5, kTwoPicoseconds);
}

// Two all-reduces on two streams hold 2 x 3 of 10 SMs; each needs 3 us of links that the other uses too. Each link
// carries 2,000 bytes of either: from 2 us on 1/2 GB/s each, 4 us; the kernels' 3 us are hidden. So 0.4 x 6 = 2.4 us
// are done at 6, and the work ends at 13.6. What is bound by reading does not notice.
TEST(ReservedSms, AddUpOverStreams) {
  for (const bool reads : {false, true}) {
    TinyProgram program(2);
    const auto role = program.role({0, 1});
    const GroupId group = program.group(2);
    program.collective(role, "one", program.communication(OpKind::all_reduce, group), 2000, {{}, plan::kCommunication});
    program.collective(role, "two", program.communication(OpKind::all_reduce, group), 2000, {{}, plan::kPipelineSend});
    program.compute(role, reads ? "reads" : "work", 10);
    const sim::KernelInterference held = ten_sms(program.program(), 3);
    const Trace trace = program.run_shared(round_machine(1, 2), 1, 1000_GBps, &held);
    EXPECT_NEAR(times_of(trace, 0, "one").ended, 6, kTwoPicoseconds);
    EXPECT_NEAR(times_of(trace, 0, "two").ended, 6, kTwoPicoseconds);
    EXPECT_NEAR(times_of(trace, 1, reads ? "reads" : "work").ended, reads ? 10 : 13.6, kTwoPicoseconds);
  }
}

// Two batches A and B of one layer, attention 6 us and experts 6 us each, exchanges of 3 rows each way (5 + 3 us):
// dispatch A runs under attention B, and so on. The compute stream: aA 0..6, then aB beside dispatch A from 6 to 14.
// Holding half of the SMs all that time, aB does 4 of its 6 us in 8, and ends at 16. Dispatch B is posted at 16, when
// experts A begin: half speed until 24, 4 of 6 us done, end at 26. Experts B: 26..32. Without interference: aB ends at
// 12; dispatch B waits for its stream until 14 and ends at 22; experts A 14..20, experts B 22..28.
TEST(ReservedSms, MakeTwoBatchOverlapWorthLess) {
  for (const std::int64_t sms : {0, 5}) {
    TinyProgram program(2);
    const auto role = program.role({0, 1});
    const GroupId group = program.group(2);
    const OpId a = program.compute(role, "aA", 6);
    const OpId sent_a =
        program.exchange(role, "dA", program.communication(OpKind::dispatch, group), {{{a, 0}}, plan::kCommunication});
    const OpId b = program.compute(role, "aB", 6);
    const OpId sent_b =
        program.exchange(role, "dB", program.communication(OpKind::dispatch, group), {{{b, 0}}, plan::kCommunication});
    program.compute(role, "eA", 6, {{{sent_a, 0}}});
    program.compute(role, "eB", 6, {{{sent_b, 0}}});
    program.pairs = {{0, 1, 3}, {1, 0, 3}};
    const sim::KernelInterference held = ten_sms(program.program(), sms);
    const Trace trace = program.run_shared(round_machine(1, 2), 1, 1000_GBps, &held);
    EXPECT_NEAR(times_of(trace, 0, "aB").ended, sms == 0 ? 12 : 16, kTwoPicoseconds);
    EXPECT_NEAR(times_of(trace, 0, "eB").ended, sms == 0 ? 28 : 32, kTwoPicoseconds);
  }
}

// 300 seeded programs of kernels of odd lengths on a compute stream, beside all-reduces on two streams that hold 2 of
// 10 SMs each: whatever falls into one picosecond, all ends, and an op is slowed by 10 / 6 at most.
TEST(ReservedSms, NothingIsSlowedByMoreThanAllThatIsHeld) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    std::mt19937_64 random(seed);
    const auto draw = [&](std::int64_t most) {
      return 1 + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(most));
    };
    TinyProgram program(4);
    const auto role = program.role({0, 1, 2, 3});
    const GroupId pairs = program.group(2);
    std::vector<double> alone;
    for (int i = 0; i < 6; ++i) {
      alone.push_back(static_cast<double>(draw(9'999)) * 1e-3);
      const OpId op = program.compute(role, "work" + std::to_string(i), alone.back());
      for (const plan::Stream stream : {plan::kCommunication, plan::kPipelineSend})
        program.collective(role, "sum" + std::to_string(i) + std::to_string(stream.index),
                           program.communication(OpKind::all_reduce, pairs), draw(3'000), {{{op, 0}}, stream});
    }
    const sim::KernelInterference held = ten_sms(program.program(), 2);
    const Trace trace = program.run_shared(round_machine(2, 2), 2, 1000_GBps, &held);
    for (int i = 0; i < 6; ++i) {
      const Times times = times_of(trace, 3, "work" + std::to_string(i), 1);
      const double slowdown = (times.ended - times.begun) / alone[static_cast<std::size_t>(i)];
      EXPECT_GE(slowdown, 1 - 2e-3) << "seed " << seed;
      EXPECT_LE(slowdown, 10.0 / 6 + 2e-3) << "seed " << seed;
    }
  }
}

// ---- where nothing overlaps ----------------------------------------------------------------------------------------

// One stream: nobody is asked, and the trace is that of the plain engine, to the bit.
TEST(KernelSharing, CostsNothingWhereComputeAndCommunicationTakeTurns) {
  TinyProgram program(2);
  const auto role = program.role({0, 1});
  const CommunicationId sum = program.communication(OpKind::all_reduce, program.group(2));
  program.compute(role, "before", 3.3);
  program.collective(role, "sum", sum, 2000);
  program.compute(role, "after", 2.7);
  EXPECT_FALSE(sim::overlaps(program.program().roles[0]));
  const sim::KernelInterference nobody{
      [](RankId, OpId) -> std::int64_t { throw std::logic_error("asked for SMs"); },
      [](RankId, OpId, std::int64_t, std::int64_t) -> double { throw std::logic_error("asked for a speed"); }};
  const Trace shared = program.run_shared(round_machine(1, 2), 3, 4_GBps, &nobody);
  const Trace plain = program.run(round_machine(1, 2), 0, 3);
  EXPECT_EQ(shared.posted, plain.posted);
  EXPECT_EQ(shared.begun, plain.begun);
  EXPECT_EQ(shared.ended, plain.ended);
  EXPECT_EQ(shared.provenance, plain.provenance);
}

TEST(KernelSharing, OverlapIsAMatterOfStreams) {
  TinyProgram program(1);
  const auto computes = program.role({0});
  program.compute(computes, "work", 1);
  program.step_end(computes);
  EXPECT_FALSE(sim::overlaps(program.program().roles[0]));
  program.collective(computes, "sum", program.communication(OpKind::all_reduce, program.group(1)), 1);
  EXPECT_FALSE(sim::overlaps(program.program().roles[0]));
  program.collective(computes, "aside", program.communication(OpKind::all_reduce, program.group(1)), 1,
                     {{}, plan::kCommunication});
  EXPECT_TRUE(sim::overlaps(program.program().roles[0]));
}

}  // namespace
}  // namespace foretoken::test
