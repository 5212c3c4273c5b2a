#include "plan/routing/routing.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

#include "core/error.hpp"
#include "plan/routing/zipf_weights.hpp"

namespace foretoken::plan {
namespace {

using ::testing::ElementsAre;
using Experts = std::vector<std::int32_t>;

RoutingSpec uniform(std::uint64_t seed, std::int64_t routed_steps = 2) {
  return RoutingSpec{RoutingKind::uniform, 0, seed, routed_steps};
}

RoutingSpec zipf(std::uint64_t seed, double exponent, std::int64_t routed_steps = 2) {
  return RoutingSpec{RoutingKind::zipf, exponent, seed, routed_steps};
}

Experts experts_of(const Routing& routing, std::int64_t step, std::int64_t layer, std::int64_t token) {
  Experts experts(static_cast<std::size_t>(routing.top_k()));
  routing.experts_of(step, layer, token, experts);
  return experts;
}

// Sum over cells of (seen - expected)^2 / expected.
double chi_square(const std::vector<double>& seen, const std::vector<double>& expected) {
  double sum = 0;
  for (std::size_t i = 0; i < seen.size(); ++i) sum += (seen[i] - expected[i]) * (seen[i] - expected[i]) / expected[i];
  return sum;
}

// How often each expert was drawn as the first of `tokens` tokens in layer 0.
std::vector<double> first_draws(const Routing& routing, std::int64_t experts, std::int64_t tokens) {
  std::vector<double> seen(static_cast<std::size_t>(experts));
  for (std::int64_t token = 0; token < tokens; ++token)
    seen[static_cast<std::size_t>(experts_of(routing, 0, 0, token)[0])] += 1;
  return seen;
}

// These pin the format: other numbers mean that every stored prediction and record changes, and that the version in
// canonical_text() has to be raised. Computed by an independent program (Philox4x32-10, then below(16), below(15) and
// "the r-th that is left").
TEST(RoutingGolden, Uniform) {
  const Routing routing(uniform(42), 4, 16, 2);
  EXPECT_THAT(experts_of(routing, 0, 0, 0), ElementsAre(12, 6));
  EXPECT_THAT(experts_of(routing, 0, 0, 1), ElementsAre(13, 14));
  EXPECT_THAT(experts_of(routing, 0, 0, 2), ElementsAre(6, 3));
  EXPECT_THAT(experts_of(routing, 0, 0, 3), ElementsAre(13, 11));
  EXPECT_THAT(experts_of(routing, 1, 3, 1023), ElementsAre(3, 14));
}

TEST(RoutingGolden, AllExpertsInTheOrderOfDrawing) {
  const Routing routing(uniform(42), 4, 16, 16);
  EXPECT_THAT(experts_of(routing, 1, 3, 7), ElementsAre(5, 2, 10, 15, 0, 8, 6, 13, 1, 7, 11, 14, 4, 3, 9, 12));
}

// The independent program took the weights from 60-digit decimal arithmetic and scanned them one by one.
TEST(RoutingGolden, Zipf) {
  const Routing routing(zipf(42, 1.2), 4, 16, 2);
  EXPECT_THAT(experts_of(routing, 0, 0, 0), ElementsAre(5, 9));
  EXPECT_THAT(experts_of(routing, 0, 0, 1), ElementsAre(0, 6));
  EXPECT_THAT(experts_of(routing, 0, 0, 2), ElementsAre(9, 2));
  EXPECT_THAT(experts_of(routing, 0, 0, 3), ElementsAre(5, 7));
  EXPECT_THAT(experts_of(routing, 1, 3, 1023), ElementsAre(9, 5));
}

// The same program: 9 draws are rejected on the way to the first answer, and 3 x 64 on the way to the second, each of
// whose later slots therefore takes the exact draw. So the number of tries is part of the format.
TEST(RoutingGolden, ZipfAfterRejections) {
  EXPECT_THAT(experts_of(Routing(zipf(42, 1.2), 4, 16, 8), 0, 0, 0), ElementsAre(5, 9, 3, 6, 2, 8, 4, 7));
  EXPECT_THAT(experts_of(Routing(zipf(42, 16), 4, 6, 4), 0, 1, 3), ElementsAre(3, 2, 5, 4));
}

// 2^50 / (r + 1), rounded, added up.
TEST(ZipfThresholds, AreExactForExponentOne) {
  EXPECT_THAT(zipf_thresholds(4, 1.0),
              ElementsAre(1125899906842624u, 1125899906842624u + 562949953421312u,
                          1125899906842624u + 562949953421312u + 375299968947541u,
                          1125899906842624u + 562949953421312u + 375299968947541u + 281474976710656u));
}

TEST(ZipfThresholds, ExponentZeroGivesEqualWeights) {
  const auto thresholds = zipf_thresholds(4096, 0);
  for (std::size_t rank = 0; rank < thresholds.size(); ++rank) EXPECT_EQ(thresholds[rank], (rank + 1) << 50);
}

// sum over r of round(2^50 / (r + 1)^1.2), from 60-digit decimal arithmetic.
TEST(ZipfThresholds, AgreeWithDecimalArithmetic) { EXPECT_EQ(zipf_thresholds(4096, 1.2).back(), 5228997475019549u); }

// With exponent 64 the second weight is 2^-64 of the first and the rest vanish: each still counts 1.
TEST(ZipfThresholds, NoWeightIsZero) {
  EXPECT_THAT(zipf_thresholds(4, 64), ElementsAre(1ull << 50, (1ull << 50) + 1, (1ull << 50) + 2, (1ull << 50) + 3));
}

// Chi-square, 15 degrees of freedom: above 37.7 with chance 0.001. The seed is fixed: it holds or it does not.
TEST(RoutingFrequencies, UniformIsUniform) {
  constexpr std::int64_t tokens = 32'000;
  const Routing routing(uniform(1), 4, 16, 2);
  EXPECT_LT(chi_square(first_draws(routing, 16, tokens), std::vector<double>(16, tokens / 16.0)), 37.7);
}

// All 6 unordered pairs of 4 experts are equally likely. Chi-square, 5 degrees of freedom: above 20.5 with chance
// 0.001.
TEST(RoutingFrequencies, UniformPairsAreEquallyLikely) {
  constexpr std::int64_t tokens = 12'000;
  const Routing routing(uniform(5), 1, 4, 2);
  std::vector<double> seen(6);
  for (std::int64_t token = 0; token < tokens; ++token) {
    const Experts pair = experts_of(routing, 0, 0, token);
    const int low = std::min(pair[0], pair[1]);
    const int high = std::max(pair[0], pair[1]);
    seen[static_cast<std::size_t>(low * (7 - low) / 2 + high - low - 1)] += 1;
  }
  EXPECT_LT(chi_square(seen, std::vector<double>(6, tokens / 6.0)), 20.5);
}

// Sorted by frequency, experts have the shares (r + 1)^-1.2 / sum. Which expert is popular is the layer's permutation,
// so it is read off the counts. Chi-square, 7 degrees of freedom: above 24.3 with chance 0.001.
TEST(RoutingFrequencies, ZipfHasItsWeights) {
  constexpr std::int64_t tokens = 40'000;
  const Routing routing(zipf(1, 1.2), 4, 8, 2);
  std::vector<double> seen = first_draws(routing, 8, tokens);
  std::sort(seen.rbegin(), seen.rend());
  std::vector<double> expected(8);
  double total = 0;
  for (std::size_t r = 0; r < 8; ++r) total += expected[r] = std::pow(static_cast<double>(r + 1), -1.2);
  for (double& share : expected) share *= tokens / total;
  EXPECT_LT(chi_square(seen, expected), 24.3);
}

// The second draw is from what remains: P(second = b | first = a) = w_b / (1 - w_a). With weights 2:1:... in proportion
// 1, 1/2, 1/3 (sum 11/6): P(0 then 1) = 6/11 x (3/11)/(5/11) = 18/55, P(0,2) = 12/55, P(1,0) = 3/11 x 6/8 = 9/44,
// P(1,2) = 3/44, P(2,0) = 2/11 x 6/9 = 4/33, P(2,1) = 2/33. Chi-square, 5 degrees of freedom: 20.5 at 0.001.
TEST(RoutingFrequencies, ZipfDrawsFromTheRemainingWeights) {
  constexpr std::int64_t tokens = 30'000;
  const Routing routing(zipf(9, 1.0), 1, 3, 2);
  // The layer's permutation, by frequency of the first draw.
  const std::vector<double> first = first_draws(routing, 3, tokens);
  Experts by_popularity{0, 1, 2};
  std::sort(by_popularity.begin(), by_popularity.end(), [&](std::int32_t a, std::int32_t b) {
    return first[static_cast<std::size_t>(a)] > first[static_cast<std::size_t>(b)];
  });
  Experts rank_of(3);
  for (std::size_t r = 0; r < 3; ++r)
    rank_of[static_cast<std::size_t>(by_popularity[r])] = static_cast<std::int32_t>(r);

  std::vector<double> seen(6);  // (0,1) (0,2) (1,0) (1,2) (2,0) (2,1)
  for (std::int64_t token = 0; token < tokens; ++token) {
    const Experts pair = experts_of(routing, 0, 0, token);
    const std::int32_t a = rank_of[static_cast<std::size_t>(pair[0])];
    const std::int32_t b = rank_of[static_cast<std::size_t>(pair[1])];
    seen[static_cast<std::size_t>(2 * a + (b > a ? b - 1 : b))] += 1;
  }
  std::vector<double> expected{18 / 55.0, 12 / 55.0, 9 / 44.0, 3 / 44.0, 4 / 33.0, 2 / 33.0};
  for (double& share : expected) share *= tokens;
  EXPECT_LT(chi_square(seen, expected), 20.5);
}

// Chi-square, 15 degrees of freedom: above 37.7 with chance 0.001.
TEST(RoutingFrequencies, ZipfWithExponentZeroIsUniform) {
  constexpr std::int64_t tokens = 32'000;
  const Routing routing(zipf(2, 0), 2, 16, 1);
  EXPECT_LT(chi_square(first_draws(routing, 16, tokens), std::vector<double>(16, tokens / 16.0)), 37.7);
}

// The hottest expert is another one in another layer: with 64 experts, all 8 layers agreeing by chance has 64^-7.
TEST(Routing, EachLayerHasItsOwnPopularExperts) {
  const Routing routing(zipf(3, 2.0), 8, 64, 1);
  std::set<std::int32_t> hottest;
  for (std::int64_t layer = 0; layer < 8; ++layer) {
    std::vector<int> seen(64);
    for (std::int64_t token = 0; token < 500; ++token)
      ++seen[static_cast<std::size_t>(experts_of(routing, 0, layer, token)[0])];
    hottest.insert(static_cast<std::int32_t>(std::max_element(seen.begin(), seen.end()) - seen.begin()));
  }
  EXPECT_GT(hottest.size(), 4u);
}

TEST(Routing, ExpertsAreDistinctAndInRange) {
  for (const RoutingSpec& spec : {uniform(11), zipf(11, 0.7), zipf(11, 3.0)}) {
    for (const std::int64_t top_k : {1, 2, 7, 19, 20}) {
      const Routing routing(spec, 2, 20, top_k);
      for (std::int64_t token = 0; token < 200; ++token) {
        const Experts experts = experts_of(routing, 1, 1, token);
        const std::set<std::int32_t> distinct(experts.begin(), experts.end());
        EXPECT_EQ(distinct.size(), static_cast<std::size_t>(top_k));
        EXPECT_GE(*distinct.begin(), 0);
        EXPECT_LT(*distinct.rbegin(), 20);
      }
    }
  }
}

// Exponent 64: after the first draw every other expert has 2^-50 of the weight, so rejection never ends and the exact
// draw must. All 16 come out.
TEST(Routing, ExtremeSkewStillGivesAllExperts) {
  const Routing routing(zipf(1, 64), 1, 16, 16);
  for (std::int64_t token = 0; token < 20; ++token)
    EXPECT_THAT(experts_of(routing, 0, 0, token),
                ::testing::UnorderedElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

// The fourteen that are left after the hottest have equal weight 1; so has the second draw. Chi-square over 15 cells,
// 14 degrees of freedom: above 36.1 with chance 0.001.
TEST(Routing, TheExactDrawIsFair) {
  constexpr std::int64_t tokens = 15'000;
  const Routing routing(zipf(4, 64), 1, 16, 2);
  const std::int32_t hottest = experts_of(routing, 0, 0, 0)[0];
  std::vector<double> seen;
  std::vector<double> by_expert(16);
  for (std::int64_t token = 0; token < tokens; ++token) {
    const Experts pair = experts_of(routing, 0, 0, token);
    ASSERT_EQ(pair[0], hottest);
    by_expert[static_cast<std::size_t>(pair[1])] += 1;
  }
  for (std::int32_t expert = 0; expert < 16; ++expert)
    if (expert != hottest) seen.push_back(by_expert[static_cast<std::size_t>(expert)]);
  EXPECT_LT(chi_square(seen, std::vector<double>(15, tokens / 15.0)), 36.1);
}

// A pure function: backwards, from another object, in the middle of other questions, the answers are the same.
TEST(Routing, AnyOrderOfEvaluationGivesTheSame) {
  for (const RoutingSpec& spec : {uniform(77), zipf(77, 1.1)}) {
    const Routing forwards(spec, 3, 32, 4);
    const Routing backwards(spec, 3, 32, 4);
    std::vector<Experts> first;
    for (std::int64_t i = 0; i < 300; ++i) first.push_back(experts_of(forwards, i % 2, i % 3, i));
    for (std::int64_t i = 299; i >= 0; --i)
      EXPECT_EQ(experts_of(backwards, i % 2, i % 3, i), first[static_cast<std::size_t>(i)]);
  }
}

TEST(Routing, SeedStepLayerAndTokenAllMatter) {
  const Routing routing(uniform(1), 2, 4096, 4);
  const Routing other_seed(uniform(2), 2, 4096, 4);
  const Experts base = experts_of(routing, 0, 0, 0);
  EXPECT_NE(base, experts_of(other_seed, 0, 0, 0));
  EXPECT_NE(base, experts_of(routing, 1, 0, 0));
  EXPECT_NE(base, experts_of(routing, 0, 1, 0));
  EXPECT_NE(base, experts_of(routing, 0, 0, 1));
}

TEST(Routing, CanonicalTextHoldsWhatDecides) {
  EXPECT_EQ(Routing(uniform(42), 4, 16, 2).canonical_text(),
            "routing 1\nkind uniform\nseed 42\nrouted_steps 2\nlayers 4\nexperts 16\ntop_k 2\n");
  // 1.5 = 0x1.8p+0: exact, whatever the locale and the number of digits.
  EXPECT_EQ(Routing(zipf(42, 1.5), 4, 16, 2).canonical_text(),
            "routing 1\nkind zipf\nexponent 0x1.8p+0\nseed 42\nrouted_steps 2\nlayers 4\nexperts 16\ntop_k 2\n");
}

TEST(Routing, QuestionsOutsideItsRangeAreOurMistake) {
  const Routing routing(uniform(1), 2, 4, 2);
  EXPECT_THROW(experts_of(routing, 2, 0, 0), Error);
  EXPECT_THROW(experts_of(routing, 0, 2, 0), Error);
  EXPECT_THROW(experts_of(routing, 0, 0, -1), Error);
  Experts too_few(1);
  EXPECT_THROW(routing.experts_of(0, 0, 0, too_few), Error);
  EXPECT_THROW(Routing(uniform(1), 2, 4, 5), Error);
  EXPECT_THROW(Routing(uniform(1), 2, 0, 0), Error);
}

}  // namespace
}  // namespace foretoken::plan
