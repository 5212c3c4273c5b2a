// Kernels that a host's thread launches, graph by graph or one by one: begins and ends worked out by hand.
#include "sim/engine/launches.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "core/breakdown.hpp"
#include "sim/simulate.hpp"
#include "tests/sim/tiny_program.hpp"

namespace foretoken::test {
namespace {

using plan::OpKind;

constexpr double kTwoPicoseconds = 2e-6;  // in us

sim::LaunchModel model(double launch_us, double gap_us, bool one_by_one, bool host_waits = false) {
  return {{Seconds(launch_us * 1e-6), Seconds(gap_us * 1e-6)}, one_by_one, host_waits};
}

// input, three kernels of `us`, step_end.
TinyProgram three_kernels(double us) {
  TinyProgram program(1);
  const auto role = program.role({0});
  program.compute(role, "a", us);
  program.compute(role, "b", us);
  program.compute(role, "c", us);
  program.step_end(role);
  return program;
}

// Kernels of 1 us, launches of 2: the GPU waits for each. a begins at 2, b at 4, c at 6 and every step takes 3 x 2 us,
// half of which the GPU stands idle.
TEST(Eager, SlowerThanTheKernelsTheHostSetsThePace) {
  const Trace trace = three_kernels(1).run_launched(round_machine(1, 1), 1, 3, model(2, 0, true));
  for (std::int32_t step = 0; step < 4; ++step) {
    EXPECT_NEAR(times_of(trace, 0, "a", step).begun, 6 * step + 2, kTwoPicoseconds);
    EXPECT_NEAR(times_of(trace, 0, "b", step).begun, 6 * step + 4, kTwoPicoseconds);
    EXPECT_NEAR(times_of(trace, 0, "end", step).ended, 6 * step + 7, kTwoPicoseconds);
  }
  const Breakdown breakdown = break_down(trace);
  EXPECT_NEAR(breakdown.per_step(total(breakdown.compute)).value(), 3e-6, 1e-11);
  EXPECT_NEAR(breakdown.per_step(breakdown.idle).value(), 3e-6, 1e-11);
}

// Kernels of 5 us: after the first launch the host is always ahead, and steps take what the kernels take.
TEST(Eager, FasterThanTheKernelsTheHostIsHidden) {
  const Trace trace = three_kernels(5).run_launched(round_machine(1, 1), 1, 3, model(2, 0, true));
  for (std::int32_t step = 0; step < 4; ++step)
    EXPECT_NEAR(times_of(trace, 0, "end", step).ended, 2 + 15 * (step + 1), kTwoPicoseconds);
}

// While a kernel of 10 us runs the host gets ahead; kernels of 1 us behind it eat that up. Launches of 2 us:
//   long 2..12; s1 to s6 are launched at 4, 6, 8, 10, 12, 14 and run 12..18 without a gap
// With launches of 3 us: long 3..13; s1..s3 13..16 (launched at 6, 9, 12), s4 at 16 (15), s5 at 18, s6 at 21.
TEST(Eager, TheGpuWaitsWhenTheQueueRunsDry) {
  TinyProgram program(1);
  const auto role = program.role({0});
  program.compute(role, "long", 10);
  for (int i = 1; i <= 6; ++i) program.compute(role, "s" + std::to_string(i), 1);
  const Trace two = program.run_launched(round_machine(1, 1), 0, 1, model(2, 0, true));
  EXPECT_NEAR(times_of(two, 0, "s6").ended, 18, kTwoPicoseconds);
  const Trace three = program.run_launched(round_machine(1, 1), 0, 1, model(3, 0, true));
  EXPECT_NEAR(times_of(three, 0, "s4").begun, 16, kTwoPicoseconds);
  EXPECT_NEAR(times_of(three, 0, "s5").begun, 18, kTwoPicoseconds);
  EXPECT_NEAR(times_of(three, 0, "s6").begun, 21, kTwoPicoseconds);
}

// One thread launches for all streams, in program order: an all-reduce behind two kernels is launched third, at 6,
// though its stream is free from the start. 2,000 bytes over 2 ranks: 2 + 3 us.
TEST(Eager, OneThreadLaunchesForAllStreams) {
  TinyProgram program(2);
  const auto role = program.role({0, 1});
  program.compute(role, "a", 1);
  program.compute(role, "b", 1);
  program.collective(role, "sum", program.communication(OpKind::all_reduce, program.group(2)), 2000,
                     {{}, plan::kCommunication});
  const Trace trace = program.run_launched(round_machine(1, 2), 0, 1, model(2, 0, true));
  EXPECT_NEAR(times_of(trace, 0, "sum").posted, 6, kTwoPicoseconds);
  EXPECT_NEAR(times_of(trace, 1, "sum").ended, 11, kTwoPicoseconds);
}

// Launched at 4; each kernel begins 0.5 us after what it waits for: a 4..5, b 5.5..6.5, c 7..8. The second graph is
// launched at 8: a 8.5..9.5. A step takes 3 x 1.5 us, and the launch is hidden: 12 <= 13.
TEST(Graph, KernelsFollowOneAnotherAfterAGap) {
  const Trace trace = three_kernels(1).run_launched(round_machine(1, 1), 1, 2, model(4, 0.5, false));
  EXPECT_NEAR(times_of(trace, 0, "a").begun, 4, kTwoPicoseconds);
  EXPECT_NEAR(times_of(trace, 0, "b").begun, 5.5, kTwoPicoseconds);
  EXPECT_NEAR(times_of(trace, 0, "c").ended, 8, kTwoPicoseconds);
  EXPECT_NEAR(times_of(trace, 0, "a", 1).begun, 8.5, kTwoPicoseconds);
  EXPECT_NEAR(times_of(trace, 0, "a", 2).begun, 13, kTwoPicoseconds);
}

// A graph that takes longer to launch than to run: one launch a step.
TEST(Graph, ALaunchLongerThanAStepSetsThePace) {
  const Trace trace = three_kernels(1).run_launched(round_machine(1, 1), 1, 2, model(10, 0, false));
  for (std::int32_t step = 0; step < 3; ++step)
    EXPECT_NEAR(times_of(trace, 0, "a", step).begun, 10 * (step + 1), kTwoPicoseconds);
}

// A host that looks at the tokens first shows each launch: graph 4 + 3 us a step; one by one, kernels of 5 us: the
// first launch, 2 us, and 15; kernels of 1 us: 3 launches and the last kernel, 7.
TEST(Launches, AHostThatWaitsForStepsShowsItsLaunches) {
  const auto step_us = [](double kernel, const sim::LaunchModel& launches) {
    const Trace trace = three_kernels(kernel).run_launched(round_machine(1, 1), 1, 3, launches);
    return (times_of(trace, 0, "end", 3).ended - times_of(trace, 0, "end", 0).ended) / 3;
  };
  EXPECT_NEAR(step_us(1, model(4, 0, false, true)), 7, kTwoPicoseconds);
  EXPECT_NEAR(step_us(5, model(2, 0, true, true)), 17, kTwoPicoseconds);
  EXPECT_NEAR(step_us(1, model(2, 0, true, true)), 7, kTwoPicoseconds);
}

// Launches and gaps of no length leave the trace as it is, to the bit.
TEST(Launches, NoCostIsNoChange) {
  const TinyProgram program = three_kernels(1.7);
  const Trace plain = program.run(round_machine(1, 1), 1, 3);
  for (const bool one_by_one : {false, true}) {
    const Trace launched = program.run_launched(round_machine(1, 1), 1, 3, model(0, 0, one_by_one));
    EXPECT_EQ(launched.begun, plain.begun);
    EXPECT_EQ(launched.ended, plain.ended);
  }
}

// Chunks are taken up in order of arrival, but launched in program order: chunk 1, there at 5, could run at 5 and is
// launched third and fourth of the block's kernels (arrive0, arrive1, up0, down0, up1, down1): up1 at 5 x 2 = 10.
TEST(Launches, ArrivalOrderHoldsAmongWhatIsLaunched) {
  TinyProgram program(1);
  const auto role = program.role({0});
  const plan::Stream first{plan::kFirstExchange};
  const plan::Stream second{plan::kFirstExchange + 1};
  const OpId a0 = program.compute(role, "arrive0", 20, {{}, first});
  const OpId a1 = program.compute(role, "arrive1", 1, {{}, second});
  program.block(role, "up0", 4, 0, {{{a0, 0}}});
  program.block(role, "down0", 6, 0);
  program.block(role, "up1", 4, 1, {{{a1, 0}}});
  program.block(role, "down1", 6, 1);
  const Trace trace = program.run_launched(round_machine(1, 1), 0, 1, model(2, 0, true));
  EXPECT_NEAR(times_of(trace, 0, "arrive1").ended, 5, kTwoPicoseconds);
  EXPECT_NEAR(times_of(trace, 0, "up1").begun, 10, kTwoPicoseconds);
  EXPECT_NEAR(times_of(trace, 0, "down1").ended, 20, kTwoPicoseconds);
  EXPECT_NEAR(times_of(trace, 0, "up0").begun, 22, kTwoPicoseconds);
}

// One after the other, as many of the longest launches as the comment at kLaunchMax says, and more than are simulated.
TEST(Launches, TheirTimesCanBeCounted) {
  constexpr std::int64_t launches = 900'000'000;
  EXPECT_LT(to_sim_time(kLaunchMax).value(), std::numeric_limits<std::int64_t>::max() / launches);
  EXPECT_LT(sim::SimulateOptions().executions_max, launches);
}

}  // namespace
}  // namespace foretoken::test
