// Streams, dependencies and steps on the round machine, each time derived above its assertion.
#include "sim/engine/engine.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/breakdown.hpp"
#include "core/error.hpp"
#include "tests/sim/tiny_program.hpp"

namespace foretoken::test {
namespace {

using plan::OpKind;
using ::testing::HasSubstr;

constexpr plan::Stream kArrivals0{plan::kFirstExchange};
constexpr plan::Stream kArrivals1{plan::kFirstExchange + 1};

TEST(Engine, AStreamRunsItsOpsInOrderStepAfterStep) {
  TinyProgram program(1);
  const auto role = program.role({0});
  program.compute(role, "a", 10);
  program.compute(role, "b", 5);
  const Trace trace = program.run(round_machine(1, 1), 1, 2);
  EXPECT_EQ(trace.size(), 6U);
  EXPECT_EQ(times_of(trace, 0, "b", 0).ended, 15);
  EXPECT_EQ(times_of(trace, 0, "a", 2).begun, 30);
  EXPECT_EQ(times_of(trace, 0, "b", 2).ended, 45);
}

// The second op waits for 20 us of another stream, and the third waits behind it although nothing keeps it.
TEST(Engine, AnOpBlocksWhatIsBehindItInItsStream) {
  TinyProgram program(1);
  const auto role = program.role({0});
  const OpId slow = program.compute(role, "slow", 20, {{}, kArrivals0});
  program.compute(role, "first", 5);
  program.compute(role, "second", 5, {{{slow, 0}}});
  program.compute(role, "third", 5);
  const Trace trace = program.run(round_machine(1, 1), 0, 1);
  EXPECT_EQ(times_of(trace, 0, "second").posted, 20);
  EXPECT_EQ(times_of(trace, 0, "third").begun, 25);
}

// An all-reduce of 2 x 1,000 bytes takes 2 + 3 us (see communication_test.cpp). Beside it, on another stream, 4 us of
// compute: what needs both begins at 5, not at 9.
TEST(Engine, CommunicationAndComputeOverlapOnTwoStreams) {
  TinyProgram program(2);
  const auto role = program.role({0, 1});
  const OpId sum = program.collective(role, "sum", program.communication(OpKind::all_reduce, program.group(2)), 2000,
                                      {{}, plan::kCommunication});
  program.compute(role, "beside", 4);
  program.compute(role, "both", 1, {{{sum, 0}}});
  const Trace trace = program.run(round_machine(1, 2), 0, 1);
  EXPECT_EQ(times_of(trace, 0, "beside").ended, 4);
  EXPECT_NEAR(times_of(trace, 0, "both").begun, 5, kPicosecond);
}

// a needs b of the step before, on another stream: 10 + 5 us a step. In the first step there is no b to wait for.
TEST(Engine, ACarriedDependencyReachesIntoTheStepBefore) {
  TinyProgram program(1);
  const auto role = program.role({0});
  program.compute(role, "a", 10, {{{OpId(1), 1}}});
  program.compute(role, "b", 5, {{{OpId(0), 0}}, plan::kCommunication});
  const Trace trace = program.run(round_machine(1, 1), 0, 3);
  EXPECT_EQ(times_of(trace, 0, "a", 0).begun, 0);
  EXPECT_EQ(times_of(trace, 0, "a", 1).begun, 15);
  EXPECT_EQ(times_of(trace, 0, "b", 2).ended, 45);
}

// Chunks arrive after `first` and `second` us; each is worked on for 10 us in two ops, then comes the tail.
Trace arrivals(double first, double second) {
  TinyProgram program(1);
  const auto role = program.role({0});
  const OpId a0 = program.compute(role, "arrive0", first, {{}, kArrivals0});
  const OpId a1 = program.compute(role, "arrive1", second, {{}, kArrivals1});
  program.block(role, "up0", 4, 0, {{{a0, 0}}});
  program.block(role, "down0", 6, 0);
  program.block(role, "up1", 4, 1, {{{a1, 0}}});
  program.block(role, "down1", 6, 1);
  program.compute(role, "tail", 1);
  return program.run(round_machine(1, 1), 0, 1);
}

// The later chunk of program order arrives first: 5..15, then the other 20..30.
TEST(Engine, BlocksOfAnArrivalSetRunInOrderOfArrival) {
  const Trace trace = arrivals(20, 5);
  EXPECT_EQ(times_of(trace, 0, "up1").begun, 5);
  EXPECT_EQ(times_of(trace, 0, "down1").ended, 15);
  EXPECT_EQ(times_of(trace, 0, "up0").begun, 20);
  EXPECT_EQ(times_of(trace, 0, "tail").ended, 31);
}

// Chunk 0 arrives while chunk 1 is worked on: it waits for the whole block.
TEST(Engine, ABlockIsNotInterrupted) {
  const Trace trace = arrivals(6, 5);
  EXPECT_EQ(times_of(trace, 0, "up0").begun, 15);
  EXPECT_EQ(times_of(trace, 0, "tail").ended, 26);
}

TEST(Engine, EqualArrivalsRunInOrderOfChunk) {
  const Trace trace = arrivals(5, 5);
  EXPECT_EQ(times_of(trace, 0, "up0").begun, 5);
  EXPECT_EQ(times_of(trace, 0, "up1").begun, 15);
}

// Two stages of 10 us per micro-batch, two micro-batches, tokens go back to stage 0; a transfer takes 1 + 1 us.
//   flush: stage 0 starts a step when all tokens of the step before are back; flow: a micro-batch, when its own are
TinyProgram pipeline(bool flush) {
  TinyProgram program(2);
  const auto stage0 = program.role({0});
  const auto stage1 = program.role({1});
  const CommunicationId forth[] = {program.communication(OpKind::send), program.communication(OpKind::send)};
  const CommunicationId back[] = {program.communication(OpKind::send), program.communication(OpKind::send)};
  // Stage 0: m0 (0), send (1), m1 (2), send (3), recv (4), recv (5).
  const OpId tokens[] = {OpId(4), OpId(5)};
  for (int m = 0; m < 2; ++m) {
    const std::string name = std::to_string(m);
    const OpId work = program.compute(stage0, "m" + name, 10, {{{tokens[flush ? 1 : m], 1}}});
    program.send(stage0, "send" + name, forth[m], 1, 1000, {{{work, 0}}, plan::kPipelineSend});
  }
  for (int m = 0; m < 2; ++m)
    program.recv(stage0, "back" + std::to_string(m), back[m], 1, 1000, {{}, plan::kPipelineRecv});
  for (int m = 0; m < 2; ++m) {
    const std::string name = std::to_string(m);
    const OpId got = program.recv(stage1, "recv" + name, forth[m], -1, 1000, {{}, plan::kPipelineRecv});
    const OpId work = program.compute(stage1, "m" + name, 10, {{{got, 0}}});
    program.send(stage1, "back" + name, back[m], -1, 1000, {{{work, 0}}, plan::kPipelineSend});
  }
  program.step_end(stage1);
  return program;
}

// Flush. Stage 0: 0..10, 10..20. m0 travels until 12; stage 1: 12..22, 22..32; m1's tokens are back at 34.
// A step takes 34 us, of which each stage works 20. Seen from stage 1, from one step_end to the next:
//   m1's tokens on their way back 2, waiting for m0 10, m0 on its way 2, compute 20; hidden under it m1's journey
//   forth and m0's back, 2 each
TEST(Engine, PipelineThatFlushes) {
  const Trace trace = pipeline(true).run(round_machine(1, 2), 1, 3);
  for (std::int32_t step = 0; step < 4; ++step)
    EXPECT_NEAR(times_of(trace, 1, "end", step).ended, 34 * step + 32, 3 * kPicosecond);

  const Breakdown breakdown = break_down(trace);
  EXPECT_EQ(breakdown.rank, 1);
  EXPECT_NEAR(breakdown.per_step(breakdown.window()).value(), 34e-6, 1e-11);
  EXPECT_NEAR(breakdown.per_step(total(breakdown.compute)).value(), 20e-6, 1e-11);
  EXPECT_NEAR(breakdown.per_step(total(breakdown.exposed)).value(), 4e-6, 1e-11);
  EXPECT_NEAR(breakdown.per_step(total(breakdown.waiting)).value(), 10e-6, 1e-11);
  EXPECT_NEAR(breakdown.per_step(total(breakdown.hidden)).value(), 4e-6, 1e-11);
  EXPECT_EQ(breakdown.idle, SimTime(0));
}

// Flow. A micro-batch's round is 10 + 2 + 10 + 2 = 24 us and both fit into it (20 us of each stage): 24 us a step.
TEST(Engine, PipelineThatFlows) {
  const Trace trace = pipeline(false).run(round_machine(1, 2), 1, 3);
  for (std::int32_t step = 0; step < 4; ++step)
    EXPECT_NEAR(times_of(trace, 1, "end", step).ended, 24 * step + 32, 3 * kPicosecond);
}

TEST(Engine, SameInputSameTrace) {
  const Trace one = pipeline(false).run(round_machine(1, 2), 1, 3);
  const Trace two = pipeline(false).run(round_machine(1, 2), 1, 3);
  EXPECT_EQ(one.rank, two.rank);
  EXPECT_EQ(one.posted, two.posted);
  EXPECT_EQ(one.begun, two.begun);
  EXPECT_EQ(one.ended, two.ended);
}

TEST(Engine, EveryEventIsPostedBegunAndEndedInThisOrder) {
  const Trace trace = pipeline(true).run(round_machine(1, 2), 1, 3);
  for (std::size_t event = 0; event < trace.size(); ++event) {
    EXPECT_GE(trace.posted[event], SimTime(0));
    EXPECT_GE(trace.begun[event], trace.posted[event]);
    EXPECT_GE(trace.ended[event], trace.begun[event]);
  }
}

// Two ops that wait for one another: no time passes, and the message says who waits where.
TEST(Engine, SaysWhoWaitsForEver) {
  TinyProgram program(1);
  const auto role = program.role({0});
  program.compute(role, "a", 1, {{{OpId(1), 0}}});
  program.compute(role, "b", 1, {{{OpId(0), 0}}, plan::kCommunication});
  try {
    static_cast<void>(program.run(round_machine(1, 1), 0, 1));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("rank 0 waits for ever at a of step 0"));
  }
}

}  // namespace
}  // namespace foretoken::test
