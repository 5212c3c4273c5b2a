// Intervals of figures, and where the other side lies in them.
#include "tools/explain/interval.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/explain/hand_results.hpp"

namespace foretoken::explain {
namespace {

Uncertainty off_by(double relative) {
  Uncertainty uncertainty;
  uncertainty.relative = relative;
  return uncertainty;
}

FigureVerdict verdict(std::string_view name, double a, double b, double relative, const Trace* measured) {
  std::vector<Figure> figures{{name, a, b}};
  judge(figures, off_by(relative), measured);
  return figures.front().judged.value().verdict;
}

// 9, 10 and 11: mean 10, s = 1. Student's t of 95 % with 2 degrees of freedom is 2.91999, so the half width is
// 2.91999 / sqrt(3) = 1.68586, of the mean 0.168586.
TEST(Interval, SpreadOfAMean) {
  const Span span = spread_of_mean({9, 10, 11});
  EXPECT_NEAR(span.low, 1 - 0.168586, 1e-6);
  EXPECT_NEAR(span.high, 1 + 0.168586, 1e-6);
}

TEST(Interval, OneSampleSaysNothing) {
  EXPECT_EQ(spread_of_mean({10}).low, 0);
  EXPECT_TRUE(std::isinf(spread_of_mean({10}).high));
  EXPECT_TRUE(std::isinf(spread_of_percentile({10}, 0.5).high));
}

// Of 8 samples at most one is below the median with a chance of 9 / 256 = 3.5 %, at most two with 14 %: from the
// second to the seventh. The median's own is the fourth.
TEST(Interval, SpreadOfAMedian) {
  const Span span = spread_of_percentile({80, 10, 20, 30, 40, 50, 60, 70}, 0.5);
  EXPECT_DOUBLE_EQ(span.low, 20.0 / 40);
  EXPECT_DOUBLE_EQ(span.high, 70.0 / 40);
}

// All of n samples are below p95 with a chance of 0.95^n: 5 % or less from 59 on.
TEST(Interval, HighPercentilesNeedManySamples) {
  EXPECT_TRUE(std::isinf(spread_of_percentile(std::vector<double>(58, 1.0), 0.95).high));
  EXPECT_EQ(spread_of_percentile(std::vector<double>(59, 1.0), 0.95).high, 1);
}

// 10 ms off by a quarter: from 8 to 13.33 ms. Of rates the ends turn round: 100 from 75 to 125.
TEST(Interval, OfPublishedFigures) {
  EXPECT_EQ(verdict("tpot_mean_ms", 10, 8.01, 0.25, nullptr), FigureVerdict::inside);
  EXPECT_EQ(verdict("tpot_mean_ms", 10, 7.99, 0.25, nullptr), FigureVerdict::outside);
  EXPECT_EQ(verdict("tps", 100, 124, 0.25, nullptr), FigureVerdict::inside);
  EXPECT_EQ(verdict("tps", 100, 126, 0.25, nullptr), FigureVerdict::outside);
  EXPECT_EQ(verdict("tps", 100, 74, 0.25, nullptr), FigureVerdict::outside);
}

// Steps of 100 and 140 ns: mean 120, s = 28.3; t of 95 % with one degree of freedom is 6.314, so the mean is known to
// +-105 % and nothing can be told. Steps that are all alike leave no doubt.
TEST(Interval, MeasuredStepsMayLeaveItOpen) {
  Trace uneven = test::empty_trace(1, 2);
  test::add_rank(uneven, 0, {});
  for (std::size_t e = 0; e < uneven.size(); ++e)
    if (uneven.step[e] == 2 && uneven.op_of(e).kind == "step_end") uneven.ended[e] += SimTime(40'000);
  EXPECT_EQ(verdict("tpot_mean_ms", 10, 10, 0.25, &uneven), FigureVerdict::ambiguous);
  Trace even = test::empty_trace(1, 8);
  test::add_rank(even, 0, {});
  EXPECT_EQ(verdict("tpot_mean_ms", 10, 10, 0.25, &even), FigureVerdict::inside);
  EXPECT_EQ(verdict("tpot_p50_ms", 10, 10, 0.25, &even), FigureVerdict::inside);
  EXPECT_EQ(verdict("tpot_p99_ms", 10, 10, 0.25, &even), FigureVerdict::ambiguous);  // 8 steps have no upper end
  EXPECT_EQ(verdict("tpot_p50_ms", 10, 20, 0.25, &even), FigureVerdict::outside);
}

TEST(Interval, CpuTimeHasNone) {
  std::vector<Figure> figures{{"cpu_step_ms", 1, 2}};
  judge(figures, off_by(0.1), nullptr);
  EXPECT_FALSE(figures.front().judged.has_value());
}

}  // namespace
}  // namespace foretoken::explain
