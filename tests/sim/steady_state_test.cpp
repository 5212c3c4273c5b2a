// Steps that recur are copied: the same trace, to the bit, as if every step were simulated.
#include "sim/engine/steady_state.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/sim/tiny_program.hpp"

namespace foretoken::test {
namespace {

using plan::OpKind;
using sim::RunState;
using sim::SteadyState;
using sim::StreamPlace;

// Two streams at the same op: the first waits for others, the second has `left` to go.
RunState state(std::int64_t time, std::int32_t step, std::int32_t position, std::int64_t left = 5) {
  return {SimTime(time), {{step, position, true, SimTime(-1)}, {step, position, true, SimTime(left)}}};
}

// Cycles of 2 steps that take 100, in 9 steps. Step 3 at 110 is as step 1 at 10, and what was between them comes again
// every 100. The last of it is the middle of step 2 at 65, and step 8 is the last: (8 - 2) / 2 = 3 cycles later, at
// 365.
TEST(SteadyState, GoesOnFromTheLastKnownStateBeforeTheEnd) {
  SteadyState steady(2, 9);
  EXPECT_FALSE(steady.add(state(0, 0, 0, 7), 8));
  EXPECT_FALSE(steady.add(state(10, 1, 0), 8));
  EXPECT_FALSE(steady.add(state(60, 2, 0), 8));
  EXPECT_FALSE(steady.add(state(65, 2, 4), 8));
  const auto found = steady.add(state(110, 3, 0), 8);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->steps, 2);
  EXPECT_EQ(found->span, SimTime(100));
  EXPECT_EQ(found->state.time, SimTime(365));
  EXPECT_EQ(found->state.streams[1].step, 8);
  EXPECT_EQ(found->state.streams[1].position, 4);
  EXPECT_EQ(found->state.streams[1].left, SimTime(5));
}

TEST(SteadyState, DoesNotRecurWhereAnythingDiffers) {
  const auto recurs = [](const RunState& later) {
    SteadyState steady(1, 100);
    EXPECT_FALSE(steady.add(state(10, 1, 3), 8));
    return steady.add(later, 8).has_value();
  };
  EXPECT_TRUE(recurs(state(60, 2, 3)));
  EXPECT_FALSE(recurs(state(60, 2, 3, 6)));
  EXPECT_FALSE(recurs(state(60, 2, 4)));
  EXPECT_FALSE(recurs(state(60, 3, 3)));  // two cycles later: forgotten
  RunState ahead = state(60, 2, 3);
  ahead.streams[1].step = 3;
  EXPECT_FALSE(recurs(ahead));
  RunState unposted = state(60, 2, 3);
  unposted.streams[0].posted = false;
  EXPECT_FALSE(recurs(unposted));
}

// The second stream is in the last step already: what it does after it would not be copied rightly.
TEST(SteadyState, StopsBeforeAStreamHasDoneItsLastStep) {
  const auto ahead = [](std::int64_t time, std::int32_t step) {
    RunState both = state(time, step, 0);
    both.streams[1].step = step + 1;
    return both;
  };
  SteadyState steady(1, 4);
  EXPECT_FALSE(steady.add(ahead(0, 0), 8));
  const auto found = steady.add(ahead(50, 1), 8);  // (4 - 1 - 1) / 1 = 2 cycles after 0
  ASSERT_TRUE(found);
  EXPECT_EQ(found->state.time, SimTime(100));
  EXPECT_EQ(found->state.streams[1].step, 3);
  SteadyState short_run(1, 3);
  EXPECT_FALSE(short_run.add(ahead(0, 0), 8));
  EXPECT_FALSE(short_run.add(ahead(50, 1), 8));  // one cycle after 0 is now
}

TEST(SteadyState, LooksAtOneStatePerPartOfAStep) {
  SteadyState steady(1, 4);
  EXPECT_TRUE(steady.is_due({0, 0}, 16));
  EXPECT_FALSE(steady.add(state(0, 0, 0), 16));
  EXPECT_FALSE(steady.is_due({0, 1}, 16));
  EXPECT_TRUE(steady.is_due({0, 2}, 16));
  EXPECT_TRUE(steady.is_due({1, 0}, 16));
}

// Six ranks on two nodes: a collective in each node, an exchange in which rank 3 has no part, a message to the next
// step's first op on a stream of its own, and compute ops of three lengths, so that ranks drift apart in the first
// steps.
TinyProgram uneven_program() {
  TinyProgram program(6);
  const GroupId node = program.group(3);
  const GroupId all = program.group(6);
  const CommunicationId sum = program.communication(OpKind::all_reduce, node);
  const CommunicationId dispatch = program.communication(OpKind::dispatch, all);
  const CommunicationId combine = program.communication(OpKind::combine, all);
  for (const std::int32_t parity : {0, 1}) {
    const std::size_t role = program.role({parity, parity + 2, parity + 4});
    const std::string tail = parity == 0 ? "_even" : "_odd";
    const OpId first = program.compute(role, "first" + tail, 3.1 + 0.7 * parity);
    program.collective(role, "sum" + tail, sum, 3000);
    program.exchange(role, "dispatch" + tail, dispatch);
    program.compute(role, "expert" + tail, 40.3 + 11.9 * parity);
    program.exchange(role, "combine" + tail, combine);
    program.compute(role, "beside" + tail, 20.7, {{{first, 0}}, plan::kCommunication});
    program.step_end(role);
  }
  program.pairs = {{0, 1, 3}, {0, 4, 2}, {1, 4, 5}, {2, 4, 1}, {4, 0, 2}, {5, 0, 7}};
  return program;
}

TEST(SteadyState, TheTraceIsThatOfEveryStepSimulated) {
  TinyProgram program = uneven_program();
  const plan::Machine machine = round_machine(2, 3);
  for (const std::int64_t steps : {1, 2, 3, 4, 5, 9, 40}) {
    program.every_step = false;
    program.durations_asked = 0;
    const Trace copied = program.run(machine, 1, steps);
    const std::int64_t asked = program.durations_asked;
    program.every_step = true;
    program.durations_asked = 0;
    const Trace simulated = program.run(machine, 1, steps);
    EXPECT_EQ(copied.posted, simulated.posted) << steps;
    EXPECT_EQ(copied.begun, simulated.begun) << steps;
    EXPECT_EQ(copied.ended, simulated.ended) << steps;
    EXPECT_EQ(copied.provenance, simulated.provenance) << steps;
    EXPECT_EQ(copied.last_peer, simulated.last_peer) << steps;
    if (steps == 40) {
      EXPECT_LT(asked, program.durations_asked / 4) << "steps that recur were simulated";
    }
  }
}

// Links are looked at as they are, step by step: nothing is skipped, and the times are the same.
TEST(SteadyState, LinkSamplesChangeNoTime) {
  TinyProgram program = uneven_program();
  const plan::Machine machine = round_machine(2, 3);
  const Trace copied = program.run(machine, 1, 12);
  program.link_samples = 16;
  const Trace sampled = program.run(machine, 1, 12);
  EXPECT_EQ(copied.ended, sampled.ended);
  ASSERT_TRUE(sampled.links);
  EXPECT_EQ(sampled.links->sampled.back(), *std::max_element(sampled.ended.begin(), sampled.ended.end()));
}

}  // namespace
}  // namespace foretoken::test
