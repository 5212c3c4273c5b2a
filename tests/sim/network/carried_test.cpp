// What resources have given: FlowNetwork::carried.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "sim/network/flow_network.hpp"

namespace foretoken::sim {
namespace {

// A link of 10 per second. A flow of 30 alone until 1 s, then two share it, 5 per second each: at 2 s it has carried
// 20, and after all 50 it carries no more.
TEST(Carried, IsTheIntegralOfTheLoad) {
  FlowNetwork network({10.0, 7.0});
  const std::vector<ResourceUse> uses{{0, 1.0}};
  network.start({30.0, 1.0, std::numeric_limits<double>::infinity(), uses, 0});
  EXPECT_DOUBLE_EQ(network.carried(0.5)[0], 5.0);
  network.advance(1.0);
  network.start({20.0, 1.0, std::numeric_limits<double>::infinity(), uses, 1});
  EXPECT_DOUBLE_EQ(network.carried(1.0)[0], 10.0);
  EXPECT_DOUBLE_EQ(network.carried(2.0)[0], 20.0);
  EXPECT_DOUBLE_EQ(network.carried(0.5)[0], 10.0);  // earlier times are now
  std::vector<std::int32_t> tags;
  while (network.active() > 0) network.complete(tags);
  EXPECT_NEAR(network.carried(100.0)[0], 50.0, 1e-9);
  EXPECT_EQ(network.carried(100.0)[1], 0.0);
}

// When all have ended, every resource has given the demand of each activity times what it uses per unit of it.
TEST(Carried, ConservesDemands) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    const auto draw = [&](double from, double to) { return std::uniform_real_distribution<double>(from, to)(random); };
    const std::size_t resources = 1 + random() % 6;
    std::vector<double> capacity;
    for (std::size_t r = 0; r < resources; ++r) capacity.push_back(draw(1, 10));
    FlowNetwork network(capacity);
    std::vector<double> expected(resources, 0.0);
    std::vector<std::int32_t> tags;
    for (std::int32_t a = 0; a < 20; ++a) {
      std::vector<ResourceUse> uses;
      const double demand = draw(1, 20);
      for (std::size_t r = 0; r < resources; ++r) {
        if (random() % 2 == 0) continue;
        uses.push_back({static_cast<std::int32_t>(r), draw(0.1, 2)});
        expected[r] += demand * uses.back().amount;
      }
      network.start({demand, draw(0.5, 2), draw(0.5, 5), uses, a});
      if (random() % 2 == 0) network.complete(tags);
      else network.advance(network.now() + 0.5 * (network.next_completion() - network.now()));
    }
    while (network.active() > 0) network.complete(tags);
    const std::vector<double> carried = network.carried(network.now());
    for (std::size_t r = 0; r < resources; ++r) EXPECT_NEAR(carried[r], expected[r], 1e-7 * (1 + expected[r]));
  }
}

}  // namespace
}  // namespace foretoken::sim
