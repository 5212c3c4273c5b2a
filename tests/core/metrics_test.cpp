#include "core/metrics.hpp"

#include <gtest/gtest.h>

#include "core/error.hpp"

namespace foretoken {
namespace {

// Microseconds.
SimTime us(std::int64_t time) { return SimTime(time * 1'000'000); }

Trace trace_of(std::vector<TokenOutput> outputs, std::int64_t warmup, std::int64_t steps) {
  Trace trace;
  trace.warmup_steps = warmup;
  trace.steps = steps;
  trace.outputs = std::move(outputs);
  return trace;
}

// Batches of 3 and 1 sequences; one warm-up step, two counted. Tokens out at, in us:
//   batch 0:  10   30   60     TPOT 20, 30
//   batch 1:  20   40   80     TPOT 20, 40
// Windows: 50 us and 60 us. TPS = 3 x 2 / 50 us + 1 x 2 / 60 us = 0.12 + 0.0333 tokens/us; mean TPOT by Little's law
// 4 / TPS. Weights 3/50 for 20 and 30, 1/60 for 20 and 40: half of the whole is at 20, so p50 = 20; 89 % at or below
// 30, so p95 and p99 = 40. Steps: last tokens at 20, 40, 80: 20 and 40.
TEST(Metrics, OfTwoBatchesByHand) {
  const Metrics metrics = compute_metrics(trace_of({{0, 0, 3, us(10)},
                                                    {0, 1, 1, us(20)},
                                                    {1, 1, 1, us(40)},  // in any order
                                                    {1, 0, 3, us(30)},
                                                    {2, 0, 3, us(60)},
                                                    {2, 1, 1, us(80)}},
                                                   1, 2));
  EXPECT_DOUBLE_EQ(metrics.tpot.mean.value(), 4 / (6 / 50e-6 + 2 / 60e-6));
  EXPECT_DOUBLE_EQ(metrics.tpot.p50.value(), 20e-6);
  EXPECT_DOUBLE_EQ(metrics.tpot.p95.value(), 40e-6);
  EXPECT_DOUBLE_EQ(metrics.tpot.p99.value(), 40e-6);
  EXPECT_DOUBLE_EQ(metrics.step.mean.value(), 30e-6);
  EXPECT_DOUBLE_EQ(metrics.step.p50.value(), 20e-6);
  EXPECT_EQ(metrics.tokens, 8);
  EXPECT_EQ(metrics.sequences, 4);
  EXPECT_DOUBLE_EQ(metrics.tps, 6 / 50e-6 + 2 / 60e-6);
}

// Periodic with a period of 25 us, batches out of phase: TPS x mean TPOT = sequences.
TEST(Metrics, LittlesLawHoldsWhenTheWindowIsPeriodic) {
  std::vector<TokenOutput> outputs;
  for (std::int64_t step = 0; step < 5; ++step) {
    outputs.push_back({step, 0, 7, us(25 * step + 1)});
    outputs.push_back({step, 1, 5, us(25 * step + 13)});
  }
  const Metrics metrics = compute_metrics(trace_of(outputs, 2, 3));
  EXPECT_NEAR(metrics.tps * metrics.tpot.mean.value(), 12, 1e-9);
  EXPECT_EQ(metrics.tokens, 36);
}

TEST(Metrics, RefuseATraceWithoutWhatTheyNeed) {
  const std::vector<TokenOutput> outputs{{0, 0, 1, us(1)}, {1, 0, 1, us(2)}};
  EXPECT_NO_THROW(compute_metrics(trace_of(outputs, 1, 1)));
  EXPECT_THROW(compute_metrics(trace_of(outputs, 0, 2)), Error);  // no step before the first
  EXPECT_THROW(compute_metrics(trace_of(outputs, 1, 0)), Error);  // nothing counted
  EXPECT_THROW(compute_metrics(trace_of(outputs, 1, 2)), Error);  // step 2 has no output
  EXPECT_THROW(compute_metrics(trace_of({{0, 0, 1, us(1)}, {1, 1, 1, us(2)}}, 1, 1)), Error);  // another batch
  EXPECT_THROW(compute_metrics(trace_of({}, 1, 1)), Error);
}

TEST(Distribution, PercentilesAreTheSmallestValueThatReachesTheShare) {
  std::vector<std::pair<Seconds, double>> hundred;
  for (int i = 100; i >= 1; --i) hundred.emplace_back(Seconds(i), 0.1);
  const Distribution distribution = distribution_of(hundred);
  EXPECT_EQ(distribution.p50, Seconds(50));
  EXPECT_EQ(distribution.p95, Seconds(95));
  EXPECT_EQ(distribution.p99, Seconds(99));
  EXPECT_NEAR(distribution.mean.value(), 50.5, 1e-12);

  const Distribution weightless = distribution_of({{Seconds(1), 0.0}, {Seconds(2), 1.0}, {Seconds(3), 0.0}});
  EXPECT_EQ(weightless.p50, Seconds(2));
  EXPECT_EQ(weightless.p99, Seconds(2));
  EXPECT_THROW(distribution_of({}), Error);
  EXPECT_THROW(distribution_of({{Seconds(1), 0.0}}), Error);
}

}  // namespace
}  // namespace foretoken
