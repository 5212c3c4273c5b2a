// FlowSetOptions::accuracy against the exact times.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "sim/network/flow_set.hpp"
#include "tests/sim/network/all_to_all_flows.hpp"
#include "tests/sim/network/random_flows.hpp"

namespace foretoken::sim {
namespace {

// FlowTimes::error is what resources were ahead or behind: it holds what was asked for. Who is late on one resource
// starts late on others, so completions are off by more: measured on these systems, up to 1.3 times (all-to-alls) and 2
// times (small random systems) the accuracy for the makespan, 3.4 times for single flows, 0.2 times on average.
struct Measured {
  double worst = 0;
  double mean = 0;
  double makespan = 0;
};

Measured measure(const FlowSet& set, double accuracy) {
  const FlowTimes exact = run_flows(set);
  const FlowTimes fast = run_flows(set, {.accuracy = accuracy});
  EXPECT_EQ(exact.error, 0);
  EXPECT_LE(fast.error, accuracy) << "a resource was further ahead or behind than it may be";
  Measured measured;
  for (std::size_t f = 0; f < exact.completion.size(); ++f) {
    const double error = std::abs(fast.completion[f] - exact.completion[f]) / exact.completion[f];
    measured.worst = std::max(measured.worst, error);
    measured.mean += error / static_cast<double>(exact.completion.size());
  }
  const auto makespan = [](const FlowTimes& times) { return times.completion.last(); };
  measured.makespan = std::abs(makespan(fast) - makespan(exact)) / makespan(exact);
  return measured;
}

TEST(FlowAccuracy, RandomSystemsAreNearTheExactTimes) {
  for (const std::uint64_t seed : seeds(500)) {
    if (HasFailure()) return;  // one replay is enough
    SCOPED_TRACE(replay(seed));
    const FlowSet set = random_flows(seed);
    for (const double accuracy : {1e-2, 1e-3}) {
      SCOPED_TRACE("accuracy " + std::to_string(accuracy));
      const Measured measured = measure(set, accuracy);
      EXPECT_LE(measured.worst, 5 * accuracy);
      EXPECT_LE(measured.makespan, 3 * accuracy);
    }
  }
}

TEST(FlowAccuracy, SkewedExchangesAreNearTheExactTimesWithFewerSolves) {
  for (const std::int64_t nodes_per_leaf : {0, 2}) {
    SCOPED_TRACE("nodes per leaf " + std::to_string(nodes_per_leaf));
    const FlowSet set = all_to_all_flows({64, nodes_per_leaf, 'Z'});
    for (const double accuracy : {1e-2, 1e-3}) {
      SCOPED_TRACE("accuracy " + std::to_string(accuracy));
      const Measured measured = measure(set, accuracy);
      EXPECT_LE(measured.worst, 5 * accuracy);
      EXPECT_LE(measured.mean, accuracy);
      EXPECT_LE(measured.makespan, 2 * accuracy);
    }
    // 4,032 flows of nearly as many sizes: a solve for each is what exactness costs.
    EXPECT_LT(run_flows(set, {.accuracy = 1e-2}).solves, run_flows(set).solves / 4);
    EXPECT_GT(run_flows(set, {.accuracy = 1e-2}).error, 0);
  }
}

}  // namespace
}  // namespace foretoken::sim
