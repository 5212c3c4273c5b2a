// Counts of visits that serving frameworks have written, and what is drawn from them.
#include "plan/routing/expert_counts.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "plan/routing/routing.hpp"
#include "tests/plan/plan_files.hpp"

namespace foretoken::plan {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Three layers, the first of them dense; four experts, two for each token.
ModelSpec small_model() {
  ModelSpec model;
  model.layers = 3;
  model.dense_layers = 1;
  model.experts = 4;
  model.top_k = 2;
  return model;
}

class ExpertCountsFile : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  ExpertCounts read(const std::string& text) const {
    const auto path = folder_ / "counts.json";
    std::ofstream(path) << text;
    return read_expert_counts(path, small_model());
  }
  std::string refusal(const std::string& text) const {
    try {
      static_cast<void>(read(text));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_input);
      return error.what();
    }
    return "it was accepted";
  }

  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / fmt::format("foretoken_expert_counts_{}", ::getpid());
};

TEST_F(ExpertCountsFile, RowsAreLayersWithExpertsOrAllLayers) {
  const ExpertCounts some = read(R"({"logical_count": [[1, 2, 3, 4], [4, 3, 2, 1]]})");
  EXPECT_EQ(some.steps, 1);
  EXPECT_THAT(some.of(0, 1), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(some.of(7, 2), ElementsAre(4, 3, 2, 1));
  const ExpertCounts all = read(R"({"logical_count": [[0, 0, 0, 0], [1, 2, 3, 4], [4, 3, 2, 1]]})");
  EXPECT_EQ(all.visits, some.visits);
  const ExpertCounts named = read(R"({"logical_count": [[4, 3, 2, 1], [1, 2, 3, 4]], "layers": [2, 1]})");
  EXPECT_EQ(named.visits, some.visits);
  EXPECT_EQ(named.hash, some.hash);
}

TEST_F(ExpertCountsFile, SamplesCycle) {
  const ExpertCounts counts =
      read(R"({"logical_count": [[[1, 2, 3, 4], [4, 3, 2, 1]], [[5, 5, 5, 5], [6, 6, 6, 6]]]})");
  EXPECT_EQ(counts.steps, 2);
  EXPECT_THAT(counts.of(1, 1), ElementsAre(5, 5, 5, 5));
  EXPECT_THAT(counts.of(2, 1), ElementsAre(1, 2, 3, 4));
}

TEST_F(ExpertCountsFile, ChoicesOfTokensAreCounted) {
  const ExpertCounts counts = read(R"({"routed_experts": [[[0, 1], [2, 3]], [[0, 2], [3, 1]], [[3, 1], [0, 1]]]})");
  EXPECT_THAT(counts.of(0, 1), ElementsAre(2, 2, 1, 1));
  EXPECT_THAT(counts.of(0, 2), ElementsAre(1, 2, 1, 2));
}

TEST_F(ExpertCountsFile, DamageIsNamed) {
  const std::vector<std::pair<const char*, const char*>> cases{
      {R"({})", "counts.json: there are no counts in it; write one of logical_count and routed_experts"},
      {R"({"logical_count": [[1,1,1,1],[1,1,1,1]], "routed_experts": []})", "both logical_count and routed_experts"},
      {R"({"logical_count": []})", "#/logical_count: "},
      {R"({"logical_count": 7})", "#/logical_count: "},
      {R"({"logical_count": [7, 8]})", "#/logical_count/0: "},
      {R"({"logical_count": [[1, 1, 1], [1, 1, 1]]})", "#/logical_count/0: "},
      {R"({"logical_count": [[1, 1, 1, 1, 1], [1, 1, 1, 1, 1]]})", "#/logical_count/0: "},
      {R"({"logical_count": [[1, 1, 1, 1]]})",
       "#/logical_count: there are 1 rows, and the model has 3 layers, 2 of them with experts; add \"layers\""},
      {R"({"logical_count": [[1, -1, 1, 1], [1, 1, 1, 1]]})", "#/logical_count/0/1: "},
      {R"({"logical_count": [[1, 1.5, 1, 1], [1, 1, 1, 1]]})", "#/logical_count/0/1: "},
      {R"({"logical_count": [[1, null, 1, 1], [1, 1, 1, 1]]})", "#/logical_count/0/1: "},
      {R"({"logical_count": [[1, 1, 1, 1], [0, 0, 0, 0]]})", "#/logical_count/1: nobody visited an expert"},
      {R"({"logical_count": [[9, 1, 1, 1], [1, 1, 1, 1]]})",
       "#/logical_count/0: expert 0 has 9 of 12 visits, and a token visits 2 distinct ones"},
      {R"({"logical_count": [[1, 1, 1, 1], [1, 1, 1, 1]], "layers": [1]})", "#/layers: "},
      {R"({"logical_count": [[1, 1, 1, 1], [1, 1, 1, 1]], "layers": [1, 1]})", "#/layers: layer 1 is named twice"},
      {R"({"logical_count": [[1, 1, 1, 1], [1, 1, 1, 1]], "layers": [0, 1]})",
       "#/layers: layer 2 of the model has experts and no row"},
      {R"({"logical_count": [[1, 1, 1, 1], [1, 1, 1, 1]], "layers": [1, 3]})", "#/layers/1: "},
      {R"({"logical_count": [[[1, 1, 1, 1], [1, 1, 1, 1]], [[1, 1, 1, 1]]]})", "#/logical_count/1: there are 1 rows"},
      {R"({"routed_experts": [[[0, 0], [1, 2]]]})", "#/routed_experts/0/0: expert 0 is visited twice"},
      {R"({"routed_experts": [[[0, 4], [1, 2]]]})", "#/routed_experts/0/0/1: "},
      {R"({"routed_experts": [[[0, 1, 2], [1, 2, 3]]]})", "#/routed_experts/0/0: "},
      {R"({"logical_count": [[1, 1)", "counts.json"}};
  for (const auto& [text, message] : cases) EXPECT_THAT(refusal(text), HasSubstr(message)) << text;
}

/// [expert] share of the visits of `tokens` tokens, of a routed step and layer.
std::vector<double> shares(const Routing& routing, std::int64_t step, std::int64_t layer, std::int64_t experts,
                           std::int64_t tokens) {
  std::vector<double> seen(static_cast<std::size_t>(experts));
  std::vector<std::int32_t> chosen(static_cast<std::size_t>(routing.top_k()));
  for (std::int64_t token = 0; token < tokens; ++token) {
    routing.experts_of(step, layer, token, chosen);
    for (const std::int32_t expert : chosen)
      seen[static_cast<std::size_t>(expert)] += 1.0 / static_cast<double>(tokens * routing.top_k());
  }
  return seen;
}

// A share p of k visits is hit with chance k p by each of n tokens: its standard error is sqrt(k p (1 - k p) / n) / k,
// at most 0.5 / (k sqrt(n)); five of them are never seen by chance.
TEST_F(ExpertCountsFile, EachExpertGetsItsCountedShare) {
  const ExpertCounts counts =
      read(R"({"logical_count": [[[8, 1, 2, 5], [1, 1, 1, 1]], [[5, 2, 1, 8], [4, 0, 4, 0]]]})");
  RoutingSpec spec{RoutingKind::counts, 0, 3, 2};
  spec.counts = std::make_shared<const ExpertCounts>(counts);
  const Routing routing(spec, 3, 4, 2);
  constexpr std::int64_t tokens = 20'000;
  const double error = 5 * 0.5 / (2 * std::sqrt(tokens));
  for (std::int64_t step = 0; step < 2; ++step)
    for (std::int64_t layer = 1; layer < 3; ++layer) {
      const std::vector<double> drawn = shares(routing, step, layer, 4, tokens);
      const auto visits = counts.of(step, layer);
      const auto total = static_cast<double>(std::accumulate(visits.begin(), visits.end(), std::uint64_t{0}));
      for (std::size_t expert = 0; expert < 4; ++expert)
        EXPECT_NEAR(drawn[expert], static_cast<double>(visits[expert]) / total, error) << step << " " << expert;
    }
}

// Also at its limits: every token goes to all hot experts, or to as few as there are too few others.
TEST(HotSet, GetsItsShareAndOthersTheRest) {
  constexpr std::int64_t tokens = 5'000;
  for (const double share : {0.0, 0.1, 0.5, 1.0}) {
    RoutingSpec spec{RoutingKind::hot_set, 0, 7, 1};
    spec.hot = 8;
    spec.share = share;
    const Routing routing(spec, 2, 32, 8);
    std::vector<double> drawn = shares(routing, 0, 1, 32, tokens);
    std::sort(drawn.rbegin(), drawn.rend());
    const double hot = std::accumulate(drawn.begin(), drawn.begin() + 8, 0.0);
    if (share >= 0.5) {
      EXPECT_NEAR(hot, share, 0.02);
    }
    for (const double one : drawn) EXPECT_LE(one, 1.0 / 8 + 1e-9);
    if (share == 0.0) {
      EXPECT_EQ(drawn[24], 0);
    } else if (share == 1.0) {
      EXPECT_EQ(drawn[8], 0);
    }
  }
}

TEST(HotSet, ExpertsAreDistinct) {
  for (const std::int64_t top_k : {1, 3, 8, 15}) {
    RoutingSpec spec{RoutingKind::hot_set, 0, 7, 1};
    spec.hot = 5;
    spec.share = std::min(1.0, 5.0 / static_cast<double>(top_k));
    const Routing routing(spec, 1, 16, top_k);
    std::vector<std::int32_t> chosen(static_cast<std::size_t>(top_k));
    for (std::int64_t token = 0; token < 500; ++token) {
      routing.experts_of(0, 0, token, chosen);
      std::vector<std::int32_t> sorted = chosen;
      std::sort(sorted.begin(), sorted.end());
      EXPECT_EQ(std::adjacent_find(sorted.begin(), sorted.end()), sorted.end());
      EXPECT_GE(sorted.front(), 0);
      EXPECT_LT(sorted.back(), 16);
    }
  }
}

/// The eight most visited experts of a routed step.
std::vector<std::size_t> hottest(const Routing& routing, std::int64_t step) {
  const std::vector<double> drawn = shares(routing, step, 0, 64, 3'000);
  std::vector<std::size_t> order(64);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return drawn[a] > drawn[b]; });
  order.resize(8);
  std::sort(order.begin(), order.end());
  return order;
}

TEST(Drift, MovesTheStatedShareOfExperts) {
  const auto routing = [](double drift) {
    RoutingSpec spec{RoutingKind::hot_set, 0, 5, 4};
    spec.hot = 8;
    spec.share = 0.9;
    spec.drift = drift;
    return Routing(spec, 1, 64, 4);
  };
  const auto stayed = [](const Routing& one, std::int64_t step) {
    const auto before = hottest(one, step - 1);
    const auto after = hottest(one, step);
    std::vector<std::size_t> both;
    std::set_intersection(before.begin(), before.end(), after.begin(), after.end(), std::back_inserter(both));
    return both.size();
  };
  for (std::int64_t step = 1; step < 4; ++step) {
    EXPECT_EQ(stayed(routing(0), step), 8u);
    EXPECT_LT(stayed(routing(1), step), 6u);     // 64 experts change places: one of the eight stays hot on average
    EXPECT_GT(stayed(routing(0.25), step), 3u);  // 16 do: two of the eight leave
    EXPECT_LT(stayed(routing(0.25), step), 8u);
  }
  EXPECT_THAT(routing(0.25).canonical_text(), HasSubstr("kind hot_set\nhot 8\nshare 0x1.ccccccccccccdp-1\ndrift"));
}

}  // namespace
}  // namespace foretoken::plan
