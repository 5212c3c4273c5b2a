#include "sim/cost/expert_load.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

namespace foretoken::sim {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;
using Kind = ExpertLoad::Kind;

std::int64_t sum(const std::vector<std::int64_t>& rows) {
  return std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
}

TEST(ExpertRows, BalancedSpreadsWhatDoesNotDivide) {
  // 3 tokens, top-2: 6 rows on 8 experts. Each GPU of two has 3 of them.
  EXPECT_THAT(expert_rows({}, 3, 8, 2, 2), UnorderedElementsAre(1, 1, 1, 0));
  EXPECT_THAT(expert_rows({}, 8, 8, 2, 1), Each(2));
  // 10 rows on 4 experts: 3 3 2 2 in some order.
  EXPECT_THAT(expert_rows({}, 5, 4, 2, 1), UnorderedElementsAre(3, 3, 2, 2));
  EXPECT_THAT(expert_rows({}, 0, 4, 2, 2), ElementsAre(0, 0));
  // Of 4 GPUs with 2 rows between them, one with a row is asked about.
  EXPECT_EQ(sum(expert_rows({}, 1, 16, 2, 4)), 1);
}

TEST(ExpertRows, UniformAreQuantilesOfABinomial) {
  // 2 tokens, each with one of 2 experts: 0, 1 or 2 rows with 1/4, 1/2, 1/4. The quantiles 1/8, 3/8, 5/8, 7/8 would be
  // 0, 1, 1, 2; of two experts 1/4 and 3/4: 0 (at 1/4, still) and 1.
  EXPECT_THAT(expert_rows({Kind::uniform, 0}, 2, 2, 1, 1), ElementsAre(0, 1));
  // With all experts chosen there is nothing to draw.
  EXPECT_THAT(expert_rows({Kind::uniform, 0}, 7, 4, 4, 2), ElementsAre(7, 7));
  // Mean 1024 x 8/64 = 128, deviation sqrt(128 x 7/8) = 10.6: the outermost of 64 quantiles are 2.4 deviations off.
  const auto rows = expert_rows({Kind::uniform, 0}, 1024, 64, 8, 1);
  EXPECT_NEAR(static_cast<double>(sum(rows)), 64 * 128, 64);
  EXPECT_NEAR(static_cast<double>(rows.front()), 128 - 2.4 * 10.6, 3);
  EXPECT_NEAR(static_cast<double>(rows.back()), 128 + 2.4 * 10.6, 3);
}

TEST(ExpertRows, PowerLawConservesRowsAndGivesNoTokenTwiceToAnExpert) {
  for (const double exponent : {0.5, 1.0, 1.01, 1.2, 3.0})
    for (const std::int64_t tokens : {1, 2, 7, 64, 1000, 65536})
      for (const std::int64_t top_k : {1, 2, 8}) {
        const auto rows = expert_rows({Kind::power_law, exponent}, tokens, 8, top_k, 1);
        EXPECT_EQ(sum(rows), tokens * top_k) << exponent << " " << tokens << " " << top_k;
        EXPECT_LE(*std::max_element(rows.begin(), rows.end()), tokens);
        EXPECT_GE(*std::min_element(rows.begin(), rows.end()), 0);
      }
}

TEST(ExpertRows, PowerLawAsksAboutTheGpuWithTheMostPopularExpert) {
  // Exponent 1 on [1, 80] and 4 experts: 80^(7/8), 80^(5/8), 80^(3/8), 80^(1/8) = 46.27, 15.47, 5.17, 1.73. Of 100 rows
  // the first has 46.27/68.64: 67; of the 33 left the second 15.47/22.37: 23; of 10 the third 5.17/6.90: 7.
  // Two GPUs: the first of them and one of the middle of the others.
  EXPECT_THAT(expert_rows({Kind::power_law, 1}, 100, 4, 1, 1), ElementsAre(67, 23, 7, 3));
  EXPECT_THAT(expert_rows({Kind::power_law, 1}, 100, 4, 1, 2), ElementsAre(67, 7));
  EXPECT_THAT(expert_rows({Kind::power_law, 1}, 100, 4, 1, 4), ElementsAre(67));
}

}  // namespace
}  // namespace foretoken::sim
