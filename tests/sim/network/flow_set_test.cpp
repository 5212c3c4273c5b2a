// run_flows and FlowNetwork against the slow solver beside this file, on systems drawn from seeds.
#include "sim/network/flow_set.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.hpp"
#include "core/numbers.hpp"
#include "tests/sim/network/network_driver.hpp"
#include "tests/sim/network/random_flows.hpp"
#include "tests/sim/network/slow_solver.hpp"

namespace foretoken::sim {
namespace {

using ::testing::DoubleEq;
using ::testing::ElementsAre;

// The oracle itself, by hand. Links a = 10, b = 4; x over a and b, y over a, z over b with weight 3 from t = 1 on.
//   0..1  x is stopped by b at level 4; a leaves 6 to y: x has 4 of its 6 bytes, y 6 of its 21.
//   1..3  b is full at level 4 / (1 + 3): x has 1, z 3, both end at 1 + 2/1 = 1 + 6/3. y has 10 - 1: ends at 1 + 15/9.
TEST(SlowSolver, AgreesWithPencilAndPaper) {
  const FlowSet set{{10, 4},
                    {{0, 6, 1, kInfinity, 0, 2}, {0, 21, 1, kInfinity, 2, 3}, {1, 6, 3, kInfinity, 3, 4}},
                    {{0, 1}, {1, 1}, {0, 1}, {1, 1}}};
  EXPECT_THAT(shares_by_definition(set, {1, 1, 0}), ElementsAre(4.0L, 6.0L, 0.0L));
  EXPECT_THAT(shares_by_definition(set, {1, 1, 1}), ElementsAre(1.0L, 9.0L, 3.0L));
  EXPECT_THAT(completions_by_definition(set), ElementsAre(DoubleEq(3), DoubleEq(1 + 5.0 / 3), DoubleEq(3)));
}

// Two flows of demand 4 and 2 on a link of 2, the second from t = 1 on at twice the amount and with ceiling 1/4:
//   0..1  the first has 2; then 2 - 2 x 1/4 = 1.5 for it: the other 2 take 4/3.  The second needs 2 / (1/4) = 8.
// A flow without a resource runs at its ceiling: 3 / 0.5 = 6 after its start at 2.
TEST(FlowSet, CeilingsAmountsAndStartsByHand) {
  const FlowSet set{{2}, {{0, 4, 1, kInfinity, 0, 1}, {1, 2, 1, 0.25, 1, 2}, {2, 3, 1, 0.5, 2, 2}}, {{0, 1}, {0, 2}}};
  EXPECT_THAT(run_flows(set).completion.each(), ElementsAre(DoubleEq(1 + 4.0 / 3), DoubleEq(9), DoubleEq(8)));
}

TEST(FlowSet, EdgesOfTheSystem) {
  EXPECT_TRUE(run_flows({}).completion.each().empty());
  EXPECT_TRUE(run_flows({{1, 2}, {}, {}}).completion.each().empty());
  // A resource that nobody uses may be dead; one that is used may not, by whoever it is and however late.
  EXPECT_THAT(run_flows({{0, 2}, {{0, 2, 1, kInfinity, 0, 1}}, {{1, 1}}}).completion.each(), ElementsAre(DoubleEq(1)));
  const FlowSet dead{{0, 2}, {{0, 2, 1, kInfinity, 0, 1}, {9, 2, 1, 1, 1, 3}}, {{1, 1}, {1, 1}, {0, 1}}};
  for (const bool merge : {false, true}) {
    try {
      run_flows(dead, {.merge_symmetric = merge});
      ADD_FAILURE() << "a flow over a dead resource ended";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    }
  }
}

// 16,000 flows that differ take 0.8 s; equal ones are one kind. With an accuracy, in proportion to their number.
TEST(FlowSet, WhatWouldTakeTooLongIsRefused) {
  EXPECT_NEAR(sharing_seconds(16'000, 0), 0.8, 0.05);
  EXPECT_NEAR(sharing_seconds(65'000, 1e-3), 5, 0.5);
  EXPECT_NEAR(sharing_seconds(65'000, 1e-5), 50, 5);
  FlowSet set{{2}, {}, {}};
  for (std::int32_t i = 0; i < 100; ++i) {
    set.flows.push_back({0, 1, 1, kInfinity, i, i + 1});
    set.uses.push_back({0, 1});
  }
  const FlowSetOptions options{.seconds_max = 1e-6};  // 3.2 ns for one, 32 us for a hundred
  EXPECT_THAT(run_flows(set, options).completion[0], DoubleEq(50));
  for (std::size_t i = 0; i < set.flows.size(); ++i) set.flows[i].demand += static_cast<double>(i);
  try {
    static_cast<void>(run_flows(set, options));
    ADD_FAILURE() << "ran";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("100 flows that differ may take 3.2e-05 s"));
  }
}

// Every completion time, to 1e-9, of run_flows in both ways and of FlowNetwork.
void expect_what_the_definition_says(std::uint64_t count, int scale) {
  for (const std::uint64_t seed : seeds(count)) {
    if (::testing::Test::HasFatalFailure()) return;  // one replay is enough
    SCOPED_TRACE(replay(seed));
    const FlowSet set = random_flows(seed, scale);
    const std::vector<double> expected = completions_by_definition(set);
    FlowNetwork network(set.capacity);
    const std::vector<std::pair<const char*, std::vector<double>>> found{
        {"run_flows", run_flows(set).completion.each()},
        {"run_flows, without merging", run_flows(set, {.merge_symmetric = false}).completion.each()},
        {"FlowNetwork", drive(network, set)}};
    for (const auto& [who, completion] : found) {
      ASSERT_EQ(completion.size(), expected.size()) << who;
      for (std::size_t f = 0; f < expected.size(); ++f)
        ASSERT_NEAR(completion[f], expected[f], 1e-9 * expected[f]) << who << ", flow " << f;
    }
  }
}

TEST(FlowSet, EndsWhenTheDefinitionSays) { expect_what_the_definition_says(2000, 1); }

TEST(FlowSet, EndsWhenTheDefinitionSaysInLargerSystems) { expect_what_the_definition_says(60, 4); }

}  // namespace
}  // namespace foretoken::sim
