#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <numeric>
#include <random>

#include "tests/sim/network/max_min_solver.hpp"

namespace foretoken::sim {
namespace {

using ::testing::DoubleEq;
using ::testing::ElementsAre;

constexpr double kNoCeiling = std::numeric_limits<double>::infinity();

// A system to be solved: capacities, and activities with their uses.
struct System {
  std::vector<double> capacity;
  std::vector<MaxMinActivity> activities;
  std::vector<ResourceUse> uses;
  std::vector<double> rates;
  std::vector<std::int32_t> bottleneck;

  void add(double weight, double ceiling, const std::vector<ResourceUse>& of) {
    const auto begin = static_cast<std::int32_t>(uses.size());
    uses.insert(uses.end(), of.begin(), of.end());
    activities.push_back({weight, ceiling, begin, static_cast<std::int32_t>(uses.size())});
  }
  const std::vector<double>& solve() {
    std::vector<std::int32_t> members(activities.size());
    std::iota(members.begin(), members.end(), 0);
    rates.assign(activities.size(), -1);
    bottleneck.assign(activities.size(), -2);
    MaxMinSolver solver;
    solver.solve(capacity, activities, members, uses, rates, bottleneck);
    return rates;
  }
};

// One link of 12 and weights 1, 2, 3: shares 2, 4, 6.
TEST(MaxMin, OneLinkIsSharedByWeight) {
  System system{{12}, {}, {}, {}, {}};
  for (const double weight : {1.0, 2.0, 3.0}) system.add(weight, kNoCeiling, {{0, 1}});
  EXPECT_THAT(system.solve(), ElementsAre(DoubleEq(2), DoubleEq(4), DoubleEq(6)));
}

// Links a = 10, b = 4; x over a and b, y over a, z over b.
// b fills up first, at level 2: x = z = 2; then a has 10 - 2 left: y = 8.
TEST(MaxMin, WhatOneLinkKeepsFromAFlowGoesToTheOthersOfItsOtherLink) {
  System system{{10, 4}, {}, {}, {}, {}};
  system.add(1, kNoCeiling, {{0, 1}, {1, 1}});
  system.add(1, kNoCeiling, {{0, 1}});
  system.add(1, kNoCeiling, {{1, 1}});
  EXPECT_THAT(system.solve(), ElementsAre(DoubleEq(2), DoubleEq(8), DoubleEq(2)));
  EXPECT_THAT(system.bottleneck, ElementsAre(1, 0, 1));
}

// A link of 9, three flows, one with ceiling 1: it leaves 8 for two.
TEST(MaxMin, ACeilingLeavesTheRestToTheOthers) {
  System system{{9}, {}, {}, {}, {}};
  system.add(1, 1, {{0, 1}});
  system.add(1, kNoCeiling, {{0, 1}});
  system.add(1, 100, {{0, 1}});
  EXPECT_THAT(system.solve(), ElementsAre(DoubleEq(1), DoubleEq(4), DoubleEq(4)));
  EXPECT_EQ(system.bottleneck[0], -1);
}

// A collective x over links a (amount 1) and b (amount 1/2), both of 6; a flow y over b.
// a alone would let x have 6, which takes 3 of b; b fills up at t: t / 2 + t = 6, t = 4: x = y = 4; a is not full.
TEST(MaxMin, AmountsSayHowMuchOfAResourceARateTakes) {
  System system{{6, 6}, {}, {}, {}, {}};
  system.add(1, kNoCeiling, {{0, 1}, {1, 0.5}});
  system.add(1, kNoCeiling, {{1, 1}});
  EXPECT_THAT(system.solve(), ElementsAre(DoubleEq(4), DoubleEq(4)));
}

TEST(MaxMin, EdgesOfTheSystem) {
  System nothing{{5}, {}, {}, {}, {}};
  EXPECT_TRUE(nothing.solve().empty());

  System alone{{}, {}, {}, {}, {}};
  alone.add(1, 7, {});
  EXPECT_THAT(alone.solve(), ElementsAre(DoubleEq(7)));

  System dead{{0, 5}, {}, {}, {}, {}};
  dead.add(1, kNoCeiling, {{0, 1}, {1, 1}});
  dead.add(1, kNoCeiling, {{1, 1}});
  EXPECT_THAT(dead.solve(), ElementsAre(DoubleEq(0), DoubleEq(5)));
}

// A heavy flow leaves a link before a light one: what is left of the sum of weights must be the light one's weight, and
// not the rounding error of 1e17 + 1 - 1e17. Links a = 1 and b = 10: heavy is limited by a to 1, light gets 9 of b.
TEST(MaxMin, WeightsFarApartKeepTheirShares) {
  System system{{1, 10}, {}, {}, {}, {}};
  system.add(1e17, kNoCeiling, {{0, 1}, {1, 1}});
  system.add(1, kNoCeiling, {{1, 1}});
  EXPECT_THAT(system.solve(), ElementsAre(DoubleEq(1), DoubleEq(9)));
}

// The definition, on 500 random systems: feasible, and everybody is at its ceiling or has a bottleneck.
TEST(MaxMin, SharesSatisfyTheDefinition) {
  for (unsigned seed = 0; seed < 500; ++seed) {
    std::mt19937 random(seed);
    const auto uniform = [&](double low, double high) {
      return std::uniform_real_distribution<double>(low, high)(random);
    };
    const auto below = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); };
    System system;
    const int resources = 1 + below(12);
    for (int r = 0; r < resources; ++r) system.capacity.push_back(uniform(1, 10));
    const int activities = 1 + below(40);
    for (int a = 0; a < activities; ++a) {
      std::vector<ResourceUse> uses;
      for (int r = 0; r < resources; ++r) {
        if (below(3) == 0) uses.push_back({r, below(2) == 0 ? 1.0 : uniform(0.1, 2)});
      }
      const bool ceiling = uses.empty() || below(3) == 0;
      system.add(below(2) == 0 ? 1.0 : uniform(0.5, 4), ceiling ? uniform(0.05, 3) : kNoCeiling, uses);
    }
    system.solve();

    std::vector<double> load(system.capacity.size(), 0.0);
    std::vector<double> top(system.capacity.size(), 0.0);
    for (std::size_t a = 0; a < system.activities.size(); ++a) {
      const MaxMinActivity& activity = system.activities[a];
      ASSERT_LE(system.rates[a], activity.ceiling) << "seed " << seed;
      for (std::int32_t u = activity.uses_begin; u < activity.uses_end; ++u) {
        const ResourceUse& use = system.uses[static_cast<std::size_t>(u)];
        const auto r = static_cast<std::size_t>(use.resource);
        load[r] += use.amount * system.rates[a];
        top[r] = std::max(top[r], system.rates[a] / activity.weight);
      }
    }
    for (std::size_t r = 0; r < load.size(); ++r)
      ASSERT_LE(load[r], system.capacity[r] * (1 + 1e-12)) << "seed " << seed;
    for (std::size_t a = 0; a < system.activities.size(); ++a) {
      if (system.bottleneck[a] < 0) {
        ASSERT_EQ(system.rates[a], system.activities[a].ceiling) << "seed " << seed;
        continue;
      }
      const auto r = static_cast<std::size_t>(system.bottleneck[a]);
      ASSERT_GE(load[r], system.capacity[r] * (1 - 1e-12)) << "seed " << seed << ", activity " << a;
      ASSERT_GE(system.rates[a] / system.activities[a].weight, top[r] * (1 - 1e-12)) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace foretoken::sim
