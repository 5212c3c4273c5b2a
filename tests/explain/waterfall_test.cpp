#include "tools/explain/waterfall.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "core/error.hpp"
#include "core/metrics.hpp"
#include "tests/explain/hand_results.hpp"

namespace foretoken::explain {
namespace {

using test::add_rank;
using test::empty_trace;
using test::steady;
using test::StepShape;

Side side_of(const StoredResult& result) {
  return {result.tpot.mean, result.step.mean, result.overhead, &result.trace};
}

Waterfall explained(const StoredResult& a, const StoredResult& b, GroupBy by = GroupBy::kind) {
  return explain_tpot(side_of(a), side_of(b), by);
}

Part part_of(const Waterfall& waterfall, Cause cause, const std::string& of = "") {
  for (const Part& part : waterfall.parts)
    if (part.cause == cause && part.of == of) return part;
  return {};
}

void expect_exact(const Waterfall& waterfall) {
  SimTime sum(0), longer(0);
  for (const Part& part : waterfall.parts) {
    sum += part.difference();
    longer += std::max(part.difference(), SimTime(0));
  }
  EXPECT_EQ(sum, waterfall.difference());
  EXPECT_EQ(longer, waterfall.longer());
  EXPECT_EQ(waterfall.longer() + waterfall.shorter(), waterfall.difference());
}

// A's gemm takes 12 ns more per step, its all_reduce 2 ns less, and it waits 1 ns more. Over 2 steps: 24, -4 and 2 ns.
TEST(Waterfall, NamesWhatWasChangedByHand) {
  const StepShape b;
  StepShape a = b;
  a.gemm += 12'000;
  a.all_reduce -= 2'000;
  a.waiting += 1'000;
  const Waterfall waterfall = explained(steady(a), steady(b));
  expect_exact(waterfall);
  EXPECT_EQ(waterfall.steps, 2);
  EXPECT_EQ(waterfall.a, SimTime(2 * a.whole()));
  EXPECT_EQ(waterfall.b, SimTime(2 * b.whole()));
  EXPECT_EQ(waterfall.difference(), SimTime(22'000));
  EXPECT_EQ(waterfall.parts[0].cause, Cause::compute);
  EXPECT_EQ(waterfall.parts[0].of, "gemm");
  EXPECT_EQ(waterfall.parts[0].difference(), SimTime(24'000));
  EXPECT_EQ(part_of(waterfall, Cause::exposed, "all_reduce").difference(), SimTime(-4'000));
  EXPECT_EQ(part_of(waterfall, Cause::waiting, "all_reduce").difference(), SimTime(2'000));
  for (const Cause cause : {Cause::idle, Cause::instrumentation, Cause::edges})
    EXPECT_EQ(part_of(waterfall, cause).difference(), SimTime(0)) << name_of(cause);
  EXPECT_EQ(part_of(waterfall, Cause::idle).a, SimTime(20'000));
  EXPECT_DOUBLE_EQ(waterfall.per_step(waterfall.difference()).value(), 11e-9);
}

// The same by layer: gemm and all_reduce are of layer 0, norm of layer 1.
TEST(Waterfall, ByLayer) {
  StepShape a;
  a.gemm += 12'000;
  a.norm -= 3'000;
  const Waterfall waterfall = explained(steady(a), steady({}), GroupBy::layer);
  expect_exact(waterfall);
  EXPECT_EQ(waterfall.parts[0].of, "layer 0");
  EXPECT_EQ(part_of(waterfall, Cause::compute, "layer 0").difference(), SimTime(24'000));
  EXPECT_EQ(part_of(waterfall, Cause::compute, "layer 1").difference(), SimTime(-6'000));
  EXPECT_EQ(part_of(waterfall, Cause::exposed, "layer 0").a, SimTime(50'000));
}

// 2 and 3 counted steps: over 6 steps a gemm of 40 ns is 240 ns on both sides, and one of 41 ns 246 ns.
TEST(Waterfall, SidesMayCountDifferentNumbersOfSteps) {
  StepShape a;
  a.gemm = 41'000;
  const Waterfall waterfall = explained(steady(a, 2), steady({}, 3));
  expect_exact(waterfall);
  EXPECT_EQ(waterfall.steps, 6);
  EXPECT_EQ(part_of(waterfall, Cause::compute, "gemm").a, SimTime(246'000));
  EXPECT_EQ(part_of(waterfall, Cause::compute, "gemm").b, SimTime(240'000));
  EXPECT_EQ(waterfall.difference(), SimTime(6'000));
}

// The headline run's step is 100 ns; the run whose ops were timed took 5 % longer, 105 ns, all of it in the gemm. What
// the ops of B have too much, instrumentation takes back: gemm A - B = -5 ns, instrumentation 0 - (-5) ns, TPOT equal.
TEST(Waterfall, InstrumentationIsApartFromTheOps) {
  StepShape instrumented;
  instrumented.gemm += 5'000;
  StoredResult b = steady(instrumented);
  b.tpot.mean = b.step.mean = Seconds(100e-9);
  b.overhead = 0.05;
  const Waterfall waterfall = explained(steady({}), b);
  expect_exact(waterfall);
  EXPECT_EQ(waterfall.difference(), SimTime(0));
  EXPECT_EQ(part_of(waterfall, Cause::compute, "gemm").difference(), SimTime(-10'000));
  EXPECT_EQ(part_of(waterfall, Cause::instrumentation).b, SimTime(-10'000));
  EXPECT_EQ(part_of(waterfall, Cause::instrumentation).difference(), SimTime(10'000));
  EXPECT_EQ(part_of(waterfall, Cause::edges).difference(), SimTime(0));
}

// Two replicas that never meet, steps of 100 and 150 ns, 4 sequences each. TPS = 4 / 100 ns + 4 / 150 ns = 8 / 120 ns,
// so mean TPOT = 120 ns. The slowest rank's steps take 150 ns: edges are -30 ns per step.
TEST(Waterfall, BatchesOfAnotherPaceAreEdges) {
  StepShape slow;
  slow.norm += 50'000;
  StoredResult two = steady(slow);
  two.trace = empty_trace(2, 2);
  add_rank(two.trace, 0, {});
  add_rank(two.trace, 1, slow);
  for (std::int64_t step = 0; step <= 2; ++step)
    for (std::int64_t batch = 0; batch < 2; ++batch)
      two.trace.outputs.push_back({step, batch, 4, SimTime(100'000 + step * (batch == 0 ? 100'000 : 150'000))});
  const Metrics metrics = compute_metrics(two.trace);
  ASSERT_DOUBLE_EQ(metrics.tpot.mean.value(), 120e-9);
  two.tpot = metrics.tpot;
  two.step = metrics.step;
  const Waterfall waterfall = explained(two, steady({}));
  expect_exact(waterfall);
  EXPECT_EQ(part_of(waterfall, Cause::edges).difference(), SimTime(-60'000));
  EXPECT_EQ(part_of(waterfall, Cause::compute, "norm").difference(), SimTime(100'000));
  EXPECT_EQ(waterfall.difference(), SimTime(40'000));
}

// The warm-up ends at 120 ns on rank 0 and at 100 ns on rank 1, whose two steps of 100 ns end last, at 300 ns; those of
// rank 0 end at 280 ns. Tokens are out when both ranks are done: TPOT = (300 - 120) / 2 = 90 ns, and the slowest rank's
// steps took 100 ns.
TEST(Waterfall, AnotherSlowestRankAtTheStartIsAnEdge) {
  StepShape fast;
  fast.gemm -= 20'000;
  StoredResult changing = steady({});
  changing.trace = empty_trace(2, 2);
  add_rank(changing.trace, 0, fast, 120'000);
  add_rank(changing.trace, 1, {}, 100'000);
  changing.tpot.mean = changing.step.mean = Seconds(90e-9);
  const Waterfall waterfall = explained(changing, steady({}));
  expect_exact(waterfall);
  EXPECT_EQ(part_of(waterfall, Cause::edges).a, SimTime(-20'000));
  EXPECT_EQ(waterfall.difference(), SimTime(-20'000));
}

// gemm +30 ns, all_reduce -24 ns, of 100 ns: they add up to +6 %, and 54 > 3 x 6.
TEST(Waterfall, SaysWhenErrorsCancel) {
  StepShape a;
  a.gemm += 30'000;
  a.all_reduce -= 24'000;
  EXPECT_TRUE(explained(steady(a), steady({})).errors_cancel());
  a.all_reduce = 10'000;  // +30 and -15: 45 is three times 15 and not over it
  EXPECT_FALSE(explained(steady(a), steady({})).errors_cancel());
  StepShape noise;
  noise.gemm += 100;  // 0.1 %
  noise.norm -= 100;
  EXPECT_FALSE(explained(steady(noise), steady({})).errors_cancel());
  EXPECT_FALSE(explained(steady({}), steady({})).errors_cancel());
}

TEST(Waterfall, OfEqualSidesIsZeroInEveryPart) {
  for (const Part& part : explained(steady({}), steady({})).parts) EXPECT_EQ(part.difference(), SimTime(0));
}

// Whatever the shapes: both sides and the difference add up, and swapping the sides turns every sign.
TEST(Waterfall, AddsUpExactlyForAnyShapes) {
  const unsigned seed = 7;
  std::mt19937_64 random(seed);
  const auto draw = [&](std::int64_t below) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(below));
  };
  for (int round = 0; round < 500; ++round) {
    const auto shape = [&] {
      return StepShape{1 + draw(1'000'000'007), draw(1'000'003), draw(999'999'937), draw(100'003),
                       draw(2) * draw(9973)};
    };
    const StoredResult a = steady(shape(), 1 + draw(13));
    StoredResult b = steady(shape(), 1 + draw(13));
    b.tpot.mean = b.tpot.mean * (0.5 + static_cast<double>(draw(1000)) / 1000);
    b.overhead = static_cast<double>(draw(100)) / 300;
    for (const GroupBy by : {GroupBy::kind, GroupBy::layer}) {
      const Waterfall there = explained(a, b, by), back = explained(b, a, by);
      SCOPED_TRACE("seed " + std::to_string(seed) + ", round " + std::to_string(round));
      expect_exact(there);
      EXPECT_EQ(there.difference(), SimTime(0) - back.difference());
      ASSERT_EQ(there.parts.size(), back.parts.size());
      for (std::size_t i = 0; i < there.parts.size(); ++i) {
        EXPECT_EQ(there.parts[i].of, back.parts[i].of);
        EXPECT_EQ(there.parts[i].a, back.parts[i].b);
      }
      // The side without instrumentation has one batch: nothing is left at its edges.
      EXPECT_EQ(part_of(there, Cause::edges).a, SimTime(0));
    }
  }
}

// 1,000 steps of 3 days against 999: their common number of steps takes 8,200 years.
TEST(Waterfall, RefusesWhatItCannotAddExactly) {
  StepShape endless;
  endless.idle = std::int64_t{1} << 46;
  try {
    explained(steady(endless, 1000), steady(endless, 999));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    EXPECT_NE(std::string(error.what()).find("(measure.steps)"), std::string::npos);
  }
}

// CPU time of the ops in counted steps. Rank 0 and 1, two steps: gemm 3 ns, all_reduce 1 ns each time; the warm-up's 9
// ns do not count. Per step of all ranks: gemm 6 ns, all_reduce 2 ns. The result says 8.5 ns: 0.5 ns are untraced.
TEST(CpuWaterfall, AddsUpOverAllRanks) {
  Trace trace = empty_trace(2, 2);
  add_rank(trace, 0, {});
  add_rank(trace, 1, {});
  for (std::size_t i = 0; i < trace.size(); ++i)
    trace.cpu.emplace_back(trace.step[i] == 0 ? 9'000 : trace.op[i] == 0 ? 3'000 : trace.op[i] == 1 ? 1'000 : 0);
  Trace faster = trace;
  for (SimTime& time : faster.cpu) time = time == SimTime(3'000) ? SimTime(2'500) : time;
  const Waterfall waterfall =
      explain_cpu(CpuSide{Seconds(8.5e-9), &trace}, CpuSide{std::nullopt, &faster}, GroupBy::kind);
  expect_exact(waterfall);
  EXPECT_EQ(waterfall.a, SimTime(17'000));
  EXPECT_EQ(waterfall.b, SimTime(14'000));
  EXPECT_EQ(part_of(waterfall, Cause::cpu, "gemm").a, SimTime(12'000));
  EXPECT_EQ(part_of(waterfall, Cause::cpu, "gemm").b, SimTime(10'000));
  EXPECT_EQ(part_of(waterfall, Cause::cpu, "all_reduce").difference(), SimTime(0));
  EXPECT_EQ(part_of(waterfall, Cause::untraced).a, SimTime(1'000));
  EXPECT_EQ(part_of(waterfall, Cause::untraced).b, SimTime(0));
}

}  // namespace
}  // namespace foretoken::explain
