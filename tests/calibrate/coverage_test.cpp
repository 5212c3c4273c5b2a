// Coverage of intervals whose widths come from rows that were held out too.
#include "calibrate/fit/coverage.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <vector>

#include "calibrate/fit/moe_check.hpp"
#include "core/error.hpp"

namespace foretoken::calibrate {
namespace {

TEST(BinomialTest, IsTheSumOfOutcomesThatAreNotLikelier) {
  // Ten tosses: all heads or all tails, 2 in 1024; five heads are the likeliest outcome, so all count.
  EXPECT_NEAR(binomial_p_value(10, 10, 0.5), 2.0 / 1024, 1e-12);
  EXPECT_NEAR(binomial_p_value(0, 10, 0.5), 2.0 / 1024, 1e-12);
  EXPECT_NEAR(binomial_p_value(5, 10, 0.5), 1, 1e-12);
  // Chance 0.9, three trials: P(0) = 0.001, P(1) = 0.027, P(2) = 0.243, P(3) = 0.729.
  EXPECT_NEAR(binomial_p_value(1, 3, 0.9), 0.028, 1e-12);
  EXPECT_NEAR(binomial_p_value(2, 3, 0.9), 0.271, 1e-12);
  EXPECT_EQ(binomial_p_value(0, 0, 0.9), 1);
}

// Three tests at 5 %: 0.01 is below 0.05 / 3, 0.03 is not below 0.05 / 2, and then no other one is looked at.
TEST(Coverage, ManyTestsTogetherRejectLess) {
  EXPECT_EQ(rejected_together({0.04, 0.01, 0.03}, 0.05), 1);
  EXPECT_EQ(rejected_together({0.04, 0.01, 0.02}, 0.05), 3);
  EXPECT_EQ(rejected_together({0.02, 0.5, 0.03}, 0.05), 0);
  EXPECT_EQ(rejected_together({}, 0.05), 0);
}

TEST(Coverage, WidthsComeFromTheOtherFolds) {
  // Fold 0 has errors of 1 %, fold 1 of 2 %: by the width of 2 % all of fold 0 is covered, by that of 1 % none of
  // fold 1.
  HeldOutErrors errors;
  for (int i = 0; i < 10; ++i) {
    errors.add(i % 2 == 0 ? 0.01 : -0.01, 0);
    errors.add(i % 2 == 0 ? 0.02 : -0.02, 1);
  }
  const Coverage coverage = coverage_of("made up", errors);
  EXPECT_EQ(coverage.rows, 20);
  EXPECT_EQ(coverage.covered, 10);
  EXPECT_EQ(coverage.folds, 2);
  EXPECT_LT(coverage.p_value, 1e-5) << "half of them is not nine in ten";
  errors.folds.assign(errors.folds.size(), 3);
  EXPECT_THROW((void)coverage_of("made up", errors), Error);
}

TEST(Coverage, OfIndependentErrorsIsNineInTen) {
  // 5 folds of 400 errors, all of one distribution: 1800 +- 1.96 sqrt(2000 x 0.9 x 0.1) = 26, and the width's own
  // error.
  std::mt19937_64 random(5);
  HeldOutErrors errors;
  for (int i = 0; i < 2000; ++i) errors.add(static_cast<double>(random() >> 11) * 0x1p-53 - 0.5, i % 5);
  const Coverage coverage = coverage_of("made up", errors);
  EXPECT_NEAR(static_cast<double>(coverage.covered), 1800, 40);
  EXPECT_GT(coverage.p_value, 0.01);
}

MoeLayoutSample mixtral(std::int64_t tokens, std::int64_t ep) {
  MoeLayoutSample sample;
  sample.model = "Mixtral-8x7B";
  sample.tokens = tokens;
  sample.ep = ep;
  return sample;
}

TEST(MoeLayouts, RoutingIsTheCollectors) {
  using Rows = std::vector<std::int64_t>;
  // Two of eight experts, four apart. One token: 0 and 4. Two: also 2 and 6. Three are spread over 0, 1 and 2.
  EXPECT_EQ(balanced_rows(mixtral(1, 1)), (Rows{1, 0, 0, 0, 1, 0, 0, 0}));
  EXPECT_EQ(balanced_rows(mixtral(2, 1)), (Rows{1, 0, 1, 0, 1, 0, 1, 0}));
  EXPECT_EQ(balanced_rows(mixtral(3, 1)), (Rows{1, 1, 1, 0, 1, 1, 1, 0}));
  EXPECT_EQ(balanced_rows(mixtral(16, 1)), Rows(8, 4));
  // Rank 0 of four has the first two experts.
  EXPECT_EQ(balanced_rows(mixtral(2, 4)), (Rows{1, 0}));
  EXPECT_EQ(balanced_rows(mixtral(16, 4)), (Rows{4, 4}));
  MoeLayoutSample unknown = mixtral(1, 1);
  unknown.model = "another";
  EXPECT_THROW((void)balanced_rows(unknown), Error);
}

}  // namespace
}  // namespace foretoken::calibrate
