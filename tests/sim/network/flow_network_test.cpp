#include "sim/network/flow_network.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <random>

#include "core/error.hpp"
#include "tests/sim/network/max_min_solver.hpp"

namespace foretoken::sim {
namespace {

using ::testing::ElementsAre;

std::vector<std::int32_t> complete(FlowNetwork& network) {
  std::vector<std::int32_t> tags;
  network.complete(tags);
  return tags;
}

// One link of 1 per second. A (demand 4) starts at 0, B (demand 1) at 2.
//   0..2  A alone: 2 done, 2 left      2..4  half each: B done at 4, A has 1 left      4..5  A alone: done at 5
TEST(FlowNetwork, ASecondFlowHalvesTheRateWhileItLasts) {
  FlowNetwork network({1.0});
  const std::vector<ResourceUse> link{{0, 1.0}};
  network.start({.demand = 4, .uses = link, .tag = 7});
  EXPECT_DOUBLE_EQ(network.next_completion(), 4);
  network.advance(2);
  network.start({.demand = 1, .uses = link, .tag = 8});
  EXPECT_DOUBLE_EQ(network.next_completion(), 4);
  EXPECT_THAT(complete(network), ElementsAre(8));
  EXPECT_DOUBLE_EQ(network.next_completion(), 5);
  EXPECT_THAT(complete(network), ElementsAre(7));
  EXPECT_EQ(network.active(), 0U);
  EXPECT_EQ(network.next_completion(), std::numeric_limits<double>::infinity());
  EXPECT_DOUBLE_EQ(network.delivered(), 5);
}

// Ten flows of demands that are no binary fractions, over links that are none either: after any past, their times from
// a restart on are the same, to the bit.
TEST(FlowNetwork, WhatFollowsARestartOfItsClockDependsOnNothingBefore) {
  FlowNetwork network({0.3, 0.7, 0.9});
  const auto run = [&] {
    for (std::int32_t tag = 0; tag < 10; ++tag) {
      const std::vector<ResourceUse> links{{tag % 3, 1.0}, {(tag + 1) % 3, 1.0}};
      network.start({.demand = 0.1 * (1 + tag), .ceiling = 0.11, .uses = links, .tag = tag});
    }
    std::vector<std::pair<double, std::vector<std::int32_t>>> ends;
    while (network.active() > 0) {
      const double time = network.next_completion();
      ends.emplace_back(time, complete(network));
    }
    return ends;
  };
  const auto first = run();
  const double carried = network.carried(network.now())[0];
  network.restart_clock();
  EXPECT_EQ(network.now(), 0);
  EXPECT_EQ(run(), first);
  EXPECT_DOUBLE_EQ(network.carried(network.now())[0], 2 * carried);
}

// Two flows pass a link of 5 and then one of 6, which guards keep out of the solving. At 1 two more come that use only
// the second: it is full now, at 1.5 each, and the first of no account.
//   0..1  2.5 each, 2.5 left      1..8/3  1.5 each: two done, 7.5 left of the others' 10      then 3 each, for 2.5
TEST(FlowNetwork, ALinkThatStopsBeingGuardedLimitsThoseThatUsedIt) {
  FlowNetwork network({5.0, 6.0});
  const std::vector<ResourceUse> both{{0, 1.0}, {1, 1.0}};
  const std::vector<ResourceUse> second{{1, 1.0}};
  for (const std::int32_t tag : {1, 2}) network.start({.demand = 5, .uses = both, .tag = tag});
  EXPECT_DOUBLE_EQ(network.next_completion(), 2);
  network.advance(1);
  for (const std::int32_t tag : {3, 4}) network.start({.demand = 10, .uses = second, .tag = tag});
  EXPECT_DOUBLE_EQ(network.next_completion(), 8.0 / 3);
  EXPECT_THAT(complete(network), ElementsAre(1, 2));
  EXPECT_DOUBLE_EQ(network.next_completion(), 31.0 / 6);
  EXPECT_THAT(complete(network), ElementsAre(3, 4));
}

// A and B of demand 4 share a link of 2 per second: 2 done each by 2. At a half of it: half each, 4 s for the other 2.
TEST(FlowNetwork, ACapacityMayChange) {
  FlowNetwork network({2.0});
  const std::vector<ResourceUse> link{{0, 1.0}};
  for (const std::int32_t tag : {1, 2}) network.start({.demand = 4, .uses = link, .tag = tag});
  network.advance(2);
  network.set_capacity(0, 1.0);
  EXPECT_DOUBLE_EQ(network.next_completion(), 6);
  EXPECT_DOUBLE_EQ(network.rate_of(2), 0.5);
  network.set_capacity(0, 0.0);
  EXPECT_EQ(network.next_completion(), std::numeric_limits<double>::infinity());
  network.set_capacity(0, 4.0);
  EXPECT_DOUBLE_EQ(network.next_completion(), 3);
  EXPECT_THAT(complete(network), ElementsAre(1, 2));
}

// The same two; at 1 A has 3 of 4 left and is taken away; B has the link to itself, 3 at 2 per second.
TEST(FlowNetwork, WhatIsWithdrawnSaysWhatIsLeft) {
  FlowNetwork network({2.0});
  const std::vector<ResourceUse> link{{0, 1.0}};
  for (const std::int32_t tag : {1, 2}) network.start({.demand = 4, .uses = link, .tag = tag});
  network.advance(1);
  EXPECT_DOUBLE_EQ(network.withdraw(1), 0.75);
  EXPECT_EQ(network.active(), 1U);
  EXPECT_DOUBLE_EQ(network.next_completion(), 2.5);
  // Withdrawn at the instant of its start, all is left.
  network.start({.demand = 4, .uses = link, .tag = 3});
  EXPECT_DOUBLE_EQ(network.withdraw(3), 1.0);
  EXPECT_THAT(complete(network), ElementsAre(2));
  EXPECT_DOUBLE_EQ(network.delivered(), 5);
  EXPECT_THROW(network.withdraw(2), Error);
}

TEST(FlowNetwork, WhatEndsTogetherIsReportedTogetherInOrderOfStart) {
  FlowNetwork network({3.0, 1.0});
  const std::vector<ResourceUse> wide{{0, 1.0}};
  const std::vector<ResourceUse> narrow{{1, 1.0}};
  for (const std::int32_t tag : {5, 3, 4}) network.start({.demand = 1.0 / 3, .uses = wide, .tag = tag});
  network.start({.demand = 1.0 / 3, .uses = narrow, .tag = 1});
  EXPECT_THAT(complete(network), ElementsAre(5, 3, 4, 1));
}

// What is due long before the clock can show it still ends: 1 byte at 1e15 per second after 1e6 seconds.
TEST(FlowNetwork, EndsWhatTakesLessThanTheClockCanShow) {
  FlowNetwork network({1e15});
  const std::vector<ResourceUse> link{{0, 1.0}};
  network.advance(1e6);
  network.start({.demand = 1, .uses = link, .tag = 0});
  EXPECT_THAT(complete(network), ElementsAre(0));
  EXPECT_EQ(network.now(), 1e6);
}

TEST(FlowNetwork, ADeadLinkEndsNothing) {
  FlowNetwork network({0.0});
  const std::vector<ResourceUse> link{{0, 1.0}};
  network.start({.demand = 1, .uses = link, .tag = 0});
  EXPECT_EQ(network.next_completion(), std::numeric_limits<double>::infinity());
}

// The oracle: all rates solved afresh after every change, completions one by one.
struct Job {
  double start = 0;
  double demand = 0;
  double weight = 1;
  double ceiling = 0;
  std::vector<ResourceUse> uses;
};
std::vector<double> completions_by_brute_force(const std::vector<double>& capacity, const std::vector<Job>& jobs) {
  std::vector<double> left;
  std::vector<double> done(jobs.size(), -1);
  std::vector<MaxMinActivity> activities;
  std::vector<ResourceUse> uses;
  for (const Job& job : jobs) {
    const auto begin = static_cast<std::int32_t>(uses.size());
    uses.insert(uses.end(), job.uses.begin(), job.uses.end());
    activities.push_back({job.weight, job.ceiling, begin, static_cast<std::int32_t>(uses.size())});
    left.push_back(job.demand);
  }
  std::vector<double> rates(jobs.size(), 0);
  std::vector<std::int32_t> bottleneck(jobs.size(), -1);
  double now = 0;
  for (;;) {
    std::vector<std::int32_t> members;
    double next = std::numeric_limits<double>::infinity();
    for (std::size_t j = 0; j < jobs.size(); ++j) {
      if (done[j] >= 0) continue;
      if (jobs[j].start <= now) members.push_back(static_cast<std::int32_t>(j));
      else next = std::min(next, jobs[j].start - now);
    }
    if (members.empty() && next == std::numeric_limits<double>::infinity()) return done;
    MaxMinSolver().solve(capacity, activities, members, uses, rates, bottleneck);
    std::size_t due = jobs.size();
    for (const std::int32_t m : members) {
      const auto j = static_cast<std::size_t>(m);
      if (left[j] / rates[j] >= next) continue;
      next = left[j] / rates[j];
      due = j;
    }
    for (const std::int32_t m : members) left[static_cast<std::size_t>(m)] -= rates[static_cast<std::size_t>(m)] * next;
    now += next;
    if (due < jobs.size()) done[due] = now;
    else {
      for (const Job& job : jobs) {  // a start: to the digit
        if (job.start > now - 1e-9 && job.start < now + 1e-9) now = job.start;
      }
    }
  }
}

// Solving only what a change can reach gives what solving everything gives; bytes are conserved; no resource carries
// more than it can in the time it takes.
TEST(FlowNetwork, LocalSolvesAgreeWithSolvingEverything) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    const auto uniform = [&](double low, double high) {
      return std::uniform_real_distribution<double>(low, high)(random);
    };
    const auto below = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); };
    std::vector<double> capacity;
    const int resources = 2 + below(20);
    for (int r = 0; r < resources; ++r) capacity.push_back(below(2) == 0 ? 1.0 : uniform(0.5, 3));
    std::vector<Job> jobs;
    const int count = 1 + below(60);
    for (int j = 0; j < count; ++j) {
      Job job;
      job.start = below(4);  // several start at one instant
      job.demand = below(2) == 0 ? 1.0 : uniform(0.1, 3);
      job.weight = below(3) == 0 ? uniform(0.5, 2) : 1.0;
      job.ceiling = below(4) == 0 ? uniform(0.05, 1) : std::numeric_limits<double>::infinity();
      for (int hop = 0; hop < 1 + below(3); ++hop) {
        const int resource = below(resources);
        const bool known =
            std::any_of(job.uses.begin(), job.uses.end(), [&](const auto& use) { return use.resource == resource; });
        if (!known) job.uses.push_back({resource, below(3) == 0 ? uniform(0.2, 1) : 1.0});
      }
      jobs.push_back(job);
    }
    std::stable_sort(jobs.begin(), jobs.end(), [](const Job& a, const Job& b) { return a.start < b.start; });
    const std::vector<double> expected = completions_by_brute_force(capacity, jobs);

    FlowNetwork network(capacity);
    std::vector<double> done(jobs.size(), -1);
    std::size_t started = 0;
    double demanded = 0;
    for (const Job& job : jobs) demanded += job.demand;
    while (started < jobs.size() || network.active() > 0) {
      const double start = started < jobs.size() ? jobs[started].start : std::numeric_limits<double>::infinity();
      if (network.next_completion() < start) {
        for (const std::int32_t tag : complete(network)) done[static_cast<std::size_t>(tag)] = network.now();
        continue;
      }
      network.advance(start);
      for (; started < jobs.size() && jobs[started].start == start; ++started) {
        const Job& job = jobs[started];
        network.start({job.demand, job.weight, job.ceiling, job.uses, static_cast<std::int32_t>(started)});
      }
    }
    double makespan = 0;
    for (std::size_t j = 0; j < jobs.size(); ++j) {
      ASSERT_NEAR(done[j], expected[j], 1e-8 * expected[j]) << "seed " << seed << ", job " << j;
      makespan = std::max(makespan, done[j]);
    }
    ASSERT_NEAR(network.delivered(), demanded, 1e-9 * demanded) << "seed " << seed;
    std::vector<double> load(capacity.size(), 0);
    for (const Job& job : jobs) {
      for (const ResourceUse& use : job.uses) load[static_cast<std::size_t>(use.resource)] += use.amount * job.demand;
    }
    for (std::size_t r = 0; r < load.size(); ++r) ASSERT_GE(makespan, load[r] / capacity[r] * (1 - 1e-8)) << seed;
  }
}

}  // namespace
}  // namespace foretoken::sim
