// FlowSetOptions::accuracy: the error that was asked for at most, measured against the exact times, and the error that
// run_flows says it made.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "sim/network/flow_set.hpp"
#include "tests/sim/network/all_to_all_flows.hpp"
#include "tests/sim/network/random_flows.hpp"

namespace foretoken::sim {
namespace {

constexpr bool kAccuracyActs = false;  // run_flows reads FlowSetOptions::accuracy

void expect_within(const FlowSet& set, double accuracy) {
  SCOPED_TRACE("accuracy " + std::to_string(accuracy));
  const FlowTimes exact = run_flows(set);
  const FlowTimes fast = run_flows(set, {.accuracy = accuracy});
  EXPECT_EQ(exact.error, 0);
  ASSERT_EQ(fast.completion.size(), exact.completion.size());
  double measured = 0;
  for (std::size_t f = 0; f < exact.completion.size(); ++f) {
    const double error = std::abs(fast.completion[f] - exact.completion[f]) / exact.completion[f];
    ASSERT_LE(error, accuracy) << "flow " << f;
    measured = std::max(measured, error);
  }
  EXPECT_LE(measured, fast.error + 1e-9) << "it made a larger error than it says";
  EXPECT_LE(fast.error, accuracy) << "it says that it made a larger error than it may";
  const auto makespan = [](const FlowTimes& times) {
    return *std::max_element(times.completion.begin(), times.completion.end());
  };
  EXPECT_NEAR(makespan(fast), makespan(exact), accuracy * makespan(exact));
}

TEST(FlowAccuracy, RandomSystemsAreWithinTheErrorAskedFor) {
  if (!kAccuracyActs) GTEST_SKIP() << "run_flows does not read the accuracy yet";
  for (const std::uint64_t seed : seeds(500)) {
    if (HasFatalFailure()) return;  // one replay is enough
    SCOPED_TRACE(replay(seed));
    const FlowSet set = random_flows(seed);
    for (const double accuracy : {1e-2, 1e-3, 1e-6}) expect_within(set, accuracy);
  }
}

TEST(FlowAccuracy, SkewedExchangesAreWithinTheErrorAskedForWithFewerSolves) {
  if (!kAccuracyActs) GTEST_SKIP() << "run_flows does not read the accuracy yet";
  for (const std::int64_t nodes_per_leaf : {0, 2}) {
    SCOPED_TRACE("nodes per leaf " + std::to_string(nodes_per_leaf));
    const FlowSet set = all_to_all_flows({64, nodes_per_leaf, 'Z'});
    for (const double accuracy : {1e-2, 1e-3}) expect_within(set, accuracy);
    // 4,032 flows of nearly as many sizes: a solve for each is what exactness costs.
    EXPECT_LT(run_flows(set, {.accuracy = 1e-2}).solves, run_flows(set).solves / 2);
  }
}

}  // namespace
}  // namespace foretoken::sim
