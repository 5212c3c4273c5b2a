// Tournament against looking at every key.
#include "sim/network/tournament.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace foretoken::sim {
namespace {

TEST(Tournament, NobodyHasTheKeyInfinity) {
  Tournament tournament;
  tournament.play();
  EXPECT_TRUE(std::isinf(tournament.key()));
}

TEST(Tournament, OfEqualKeysTheFirstWins) {
  Tournament tournament;
  for (const std::int32_t name : {5, 3, 4}) tournament.add(2.0, name);
  tournament.play();
  EXPECT_EQ(tournament.winner(), 5);
  EXPECT_FALSE(tournament.change_winner(3.0));
  EXPECT_EQ(tournament.winner(), 3);
  EXPECT_TRUE(tournament.change_winner(2.0));
}

// Few different keys, so that many are equal; also zero and infinity.
TEST(Tournament, TheLeastKeyWinsHoweverKeysChange) {
  std::mt19937_64 random(1);
  Tournament tournament;
  for (std::size_t players = 1; players <= 40; ++players) {
    std::vector<double> keys(players);
    tournament.clear();
    for (std::size_t p = 0; p < players; ++p) {
      keys[p] = static_cast<double>(random() % 8) / 4;
      tournament.add(keys[p], static_cast<std::int32_t>(100 + p));
    }
    tournament.play();
    for (int change = 0; change < 200; ++change) {
      const auto least = std::min_element(keys.begin(), keys.end());
      ASSERT_EQ(tournament.winner(), 100 + (least - keys.begin())) << players << " players, change " << change;
      ASSERT_EQ(tournament.key(), *least);
      *least = random() % 9 == 0 ? std::numeric_limits<double>::infinity() : static_cast<double>(random() % 8) / 4;
      const bool again = least == std::min_element(keys.begin(), keys.end());
      ASSERT_EQ(tournament.change_winner(*least), again);
    }
  }
}

}  // namespace
}  // namespace foretoken::sim
