// All-to-alls whose completion times another simulator has found: SimGrid 3.32, ideal max-min shares over links without
// latency, delayed starts. Two further solvers agree with its times to 5e-14. tests/bench/against_simgrid finds them
// again, for every flow.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "tests/sim/network/all_to_all_classes.hpp"
#include "tests/sim/network/all_to_all_flows.hpp"
#include "tests/sim/network/network_driver.hpp"

namespace foretoken::sim {
namespace {

struct Single {
  std::int64_t from;
  std::int64_t to;
  double completion_us;
};

struct KnownExchange {
  AllToAllCase exchange;
  double makespan_us;
  double mean_us;
  double last_nvlink_us;
  std::array<Single, 6> singles;  // over NVLink, next to each other, far apart; there and back
};

class AllToAll : public ::testing::TestWithParam<KnownExchange> {
 protected:
  // To 1e-9, or to a picosecond.
  static void expect_us(double seconds, double expected_us) {
    constexpr double picosecond = 1e-6;
    EXPECT_NEAR(seconds * 1e6, expected_us, std::max(picosecond, 1e-9 * expected_us));
  }

  static void expect_times(const std::vector<double>& completion) {
    const auto& [exchange, makespan_us, mean_us, last_nvlink_us, singles] = GetParam();
    ASSERT_EQ(completion.size(), static_cast<std::size_t>(exchange.flows()));
    const auto index = [&](std::int64_t from, std::int64_t to) {
      return static_cast<std::size_t>(from * (exchange.ranks - 1) + to - (to > from ? 1 : 0));
    };
    double last = 0, last_nvlink = 0, sum = 0;
    for (std::int64_t i = 0; i < exchange.ranks; ++i) {
      for (std::int64_t j = 0; j < exchange.ranks; ++j) {
        if (i == j) continue;
        const double end = completion[index(i, j)];
        last = std::max(last, end);
        if (exchange.path(i, j) == PathKind::nvlink) last_nvlink = std::max(last_nvlink, end);
        sum += end;
      }
    }
    expect_us(last, makespan_us);
    expect_us(sum / static_cast<double>(completion.size()), mean_us);
    expect_us(last_nvlink, last_nvlink_us);
    for (const Single& single : singles) {
      SCOPED_TRACE("from " + std::to_string(single.from) + " to " + std::to_string(single.to));
      expect_us(completion[index(single.from, single.to)], single.completion_us);
    }
  }
};

TEST_P(AllToAll, EndsWhenAnotherSimulatorSays) {
  expect_times(run_flows(all_to_all_flows(GetParam().exchange)).completion.each());
}

TEST_P(AllToAll, EndsThenInANetworkThatLearnsOfFlowsAsTheyStart) {
  const FlowSet set = all_to_all_flows(GetParam().exchange);
  FlowNetwork network(set.capacity);
  expect_times(drive(network, set));
}

// 4,032 flows as the 2 or 3 classes of U, or the 504 or more of K: every flow at the same time.
TEST(AllToAllClasses, EndWhenTheirFlowsDo) {
  for (const char workload : {'U', 'K'}) {
    for (const std::int64_t nodes_per_leaf : {0, 1, 2, 4}) {
      SCOPED_TRACE(fmt::format("{}, nodes per leaf {}", workload, nodes_per_leaf));
      const AllToAllCase exchange{64, nodes_per_leaf, workload};
      const std::vector<FlowClass> classes = flow_classes(exchange);
      const std::vector<double> by_class =
          times_of_flows(exchange, classes, run_flows(class_set(exchange, classes)).completion.each());
      const std::vector<double> by_flow = run_flows(all_to_all_flows(exchange)).completion.each();
      ASSERT_EQ(by_class.size(), by_flow.size());
      for (std::size_t f = 0; f < by_flow.size(); ++f)
        ASSERT_NEAR(by_class[f], by_flow[f], 1e-9 * by_flow[f]) << "flow " << f;
    }
  }
  EXPECT_EQ(flow_classes({64, 0, 'U'}).size(), 2U);
  EXPECT_EQ(flow_classes({64, 2, 'K'}).size(), 1008U);
  EXPECT_THROW(flow_classes({64, 0, 'Z'}), std::invalid_argument);
  EXPECT_THROW(flow_classes({16, 0, 'K'}), std::invalid_argument);
}

INSTANTIATE_TEST_SUITE_P(SimGrid, AllToAll,
                         ::testing::Values(KnownExchange{{16, 0, 'U'},
                                                         45.94304,
                                                         27.339259259,
                                                         6.077795556,
                                                         {{{0, 1, 6.07779555555556},
                                                           {15, 8, 6.07779555555556},
                                                           {3, 9, 45.94304},
                                                           {9, 3, 45.94304},
                                                           {5, 14, 45.94304},
                                                           {13, 2, 45.94304}}}},
                                           KnownExchange{{16, 0, 'K'},
                                                         33.16352,
                                                         12.433272261,
                                                         4.721564444,
                                                         {{{0, 1, 3.06930424242424},
                                                           {15, 8, 3.65660444444444},
                                                           {3, 9, 28.9716757671958},
                                                           {9, 3, 11.20896},
                                                           {5, 14, 10.3476297142857},
                                                           {13, 2, 29.3734891811539}}}},
                                           KnownExchange{{16, 0, 'Z'},
                                                         687.34096,
                                                         95.115141583,
                                                         69.562397778,
                                                         {{{0, 1, 9.51045152777778},
                                                           {15, 8, 7.85122222222222},
                                                           {3, 9, 243.77312},
                                                           {9, 3, 87.1184},
                                                           {5, 14, 126.04336},
                                                           {13, 2, 343.57904}}}},
                                           KnownExchange{{16, 1, 'U'},
                                                         88.88608,
                                                         50.242213926,
                                                         6.077795556,
                                                         {{{0, 1, 6.07779555555556},
                                                           {15, 8, 6.07779555555556},
                                                           {3, 9, 88.88608},
                                                           {9, 3, 88.88608},
                                                           {5, 14, 88.88608},
                                                           {13, 2, 88.88608}}}},
                                           KnownExchange{{16, 1, 'K'},
                                                         49.40064,
                                                         20.144490613,
                                                         4.721564444,
                                                         {{{0, 1, 3.06930424242424},
                                                           {15, 8, 3.65660444444444},
                                                           {3, 9, 46.94304},
                                                           {9, 3, 18.7216},
                                                           {5, 14, 17.41088},
                                                           {13, 2, 47.27072}}}},
                                           KnownExchange{{16, 1, 'Z'},
                                                         767.47285,
                                                         136.637560906,
                                                         69.562397778,
                                                         {{{0, 1, 9.51045152777778},
                                                           {15, 8, 7.85122222222222},
                                                           {3, 9, 323.90501},
                                                           {9, 3, 164.82762},
                                                           {5, 14, 206.17525},
                                                           {13, 2, 422.537045}}}},
                                           KnownExchange{{64, 0, 'U'},
                                                         297.60128,
                                                         265.209781728,
                                                         6.077795556,
                                                         {{{0, 1, 6.07779555555556},
                                                           {63, 56, 6.07779555555556},
                                                           {3, 9, 297.60128},
                                                           {9, 3, 297.60128},
                                                           {5, 62, 297.60128},
                                                           {61, 2, 297.60128}}}},
                                           KnownExchange{{64, 0, 'K'},
                                                         157.68192,
                                                         93.000341365,
                                                         4.721564444,
                                                         {{{0, 1, 3.06930424242424},
                                                           {63, 56, 3.65660444444444},
                                                           {3, 9, 150.517172649176},
                                                           {9, 3, 50.8075373051811},
                                                           {5, 62, 155.120372149845},
                                                           {61, 2, 30.590260629834}}}},
                                           KnownExchange{{64, 0, 'Z'},
                                                         4853.65872,
                                                         401.799735297,
                                                         68.998486667,
                                                         {{{0, 1, 9.53490444444444},
                                                           {63, 56, 7.48585333333333},
                                                           {3, 9, 1687.74688000001},
                                                           {9, 3, 257.63376},
                                                           {5, 62, 251.939962498075},
                                                           {61, 2, 395.516}}}},
                                           KnownExchange{{64, 2, 'U'},
                                                         508.31648,
                                                         398.9972103,
                                                         6.077795556,
                                                         {{{0, 1, 6.07779555555556},
                                                           {63, 56, 6.07779555555556},
                                                           {3, 9, 86.8860800000002},
                                                           {9, 3, 86.8860800000002},
                                                           {5, 62, 508.31648},
                                                           {61, 2, 508.31648}}}},
                                           KnownExchange{{64, 2, 'K'},
                                                         259.27968,
                                                         138.578155977,
                                                         4.721564444,
                                                         {{{0, 1, 3.06930424242424},
                                                           {63, 56, 3.65660444444444},
                                                           {3, 9, 52.2086142418292},
                                                           {9, 3, 17.3454258122552},
                                                           {5, 62, 256.78112},
                                                           {61, 2, 50.312}}}},
                                           KnownExchange{{64, 2, 'Z'},
                                                         4853.65872,
                                                         482.501067423,
                                                         68.998486667,
                                                         {{{0, 1, 9.53490444444444},
                                                           {63, 56, 7.48585333333333},
                                                           {3, 9, 732.194664363989},
                                                           {9, 3, 76.5978880000002},
                                                           {5, 62, 476.498269507208},
                                                           {61, 2, 565.975394686685}}}}),
                         [](const ::testing::TestParamInfo<KnownExchange>& one) {
                           const AllToAllCase& exchange = one.param.exchange;
                           return std::to_string(exchange.ranks) + (exchange.nodes_per_leaf > 0 ? "_tree_" : "_open_") +
                                  exchange.workload;
                         });

}  // namespace
}  // namespace foretoken::sim
