// The health check of a launch's ranks: who is measured when, what counts as ill, and that all readings come together.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "runtime/health/health_probe.hpp"
#include "runtime/health/outliers.hpp"
#include "tests/runtime/call_on_threads.hpp"

namespace foretoken::test {
namespace {

using runtime::HealthOptions;
using runtime::HealthReadings;
using runtime::OutlierRule;
using testing::ElementsAre;
using testing::IsEmpty;

// ---- turns
// -----------------------------------------------------------------------------------------------------------

TEST(Turns, EverybodyMeetsEverybodyOnceAndPlaysOncePerRound) {
  for (const std::int32_t players : {1, 2, 3, 4, 5, 8, 13}) {
    std::set<std::pair<std::int32_t, std::int32_t>> met;
    for (const auto& round : runtime::tournament(players)) {
      std::set<std::int32_t> playing;
      for (const auto& [a, b] : round) {
        EXPECT_TRUE(met.insert(std::minmax(a, b)).second) << players;
        EXPECT_TRUE(playing.insert(a).second && playing.insert(b).second) << players;
      }
    }
    EXPECT_EQ(met.size(), static_cast<std::size_t>(players * (players - 1) / 2));
  }
}

TEST(Turns, NodesThatShareNoCoresAreMeasuredAtOneTime) {
  const std::vector<std::int32_t> two_by_two{0, 0, 1, 1};
  EXPECT_EQ(runtime::pairs_within_nodes(two_by_two, {}).size(), 1U);
  EXPECT_EQ(runtime::pairs_within_nodes(two_by_two, {.one_at_a_time = true}).size(), 2U);
  EXPECT_EQ(runtime::ranks_in_turn(two_by_two, {}).size(), 2U);
  EXPECT_EQ(runtime::ranks_in_turn(two_by_two, {.one_at_a_time = true}).size(), 4U);
  EXPECT_THAT(runtime::pairs_between_nodes(two_by_two, {}),
              ElementsAre(ElementsAre(runtime::RankPair{RankId(0), RankId(2)})));
  EXPECT_THAT(runtime::pairs_between_nodes(std::vector<std::int32_t>{0, 0}, {}), IsEmpty());
}

// Two nodes of two and one of three: as many places as all have. Nodes 0-2 meet as {1-2}, {2-0}, {0-1} in some order.
TEST(Turns, EveryPlaceOfANodeMeetsThoseOfOthers) {
  const auto turns = runtime::pairs_between_places(std::vector<std::int32_t>{0, 0, 1, 1, 2, 2, 2}, {});
  ASSERT_EQ(turns.size(), 6U);
  std::set<runtime::RankPair> first, second;
  for (std::size_t t = 0; t < turns.size(); ++t)
    for (const runtime::RankPair& pair : turns[t])
      (t < 3 ? first : second).insert({std::min(pair.first, pair.second), std::max(pair.first, pair.second)});
  const auto pair = [](std::int32_t a, std::int32_t b) { return runtime::RankPair{RankId(a), RankId(b)}; };
  EXPECT_THAT(first, testing::UnorderedElementsAre(pair(0, 2), pair(0, 4), pair(2, 4)));
  EXPECT_THAT(second, testing::UnorderedElementsAre(pair(1, 3), pair(1, 5), pair(3, 5)));
}

// Of 12 nodes 11 rounds would be the whole tournament.
TEST(Turns, ManyNodesMeetSomeOfTheOthers) {
  std::vector<std::int32_t> nodes(12);
  for (std::size_t n = 0; n < nodes.size(); ++n) nodes[n] = static_cast<std::int32_t>(n);
  const auto turns = runtime::pairs_between_nodes(nodes, {.opponents_max = 3});
  std::map<RankId, int> opponents;
  for (const auto& turn : turns)
    for (const auto& pair : turn) ++opponents[pair.first], ++opponents[pair.second];
  ASSERT_EQ(opponents.size(), 12U);
  for (const auto& [rank, count] : opponents) EXPECT_EQ(count, 3) << rank.value();
}

// ---- the rule
// --------------------------------------------------------------------------------------------------------

TEST(Outliers, OfAnEvenNumberTheBetterMiddleCounts) {
  // typical = the 2nd of 4 costs; distances 1, 0, 1, 6: the 2nd smallest is 1; limit = max(3 x 1.25, 3 + 5 x 1.4826).
  const std::vector<double> costs{2, 3, 4, 9};
  const runtime::Peers peers = runtime::peers_of(costs, {});
  EXPECT_DOUBLE_EQ(peers.typical, 3);
  EXPECT_DOUBLE_EQ(peers.deviation, 1.4826);
  EXPECT_DOUBLE_EQ(peers.limit, 3 + 5 * 1.4826);
  EXPECT_THAT(runtime::outliers(costs, {}), IsEmpty());
}

TEST(Outliers, HalfOfThePeersMayBeIll) {
  EXPECT_THAT(runtime::outliers(std::vector<double>{1, 2}, {}), ElementsAre(1));
  EXPECT_THAT(runtime::outliers(std::vector<double>{2.1, 1, 2, 1.01}, {}), ElementsAre(0, 2));
  EXPECT_THAT(runtime::outliers(std::vector<double>{2, 2, 2, 1}, {}), IsEmpty());  // most are: then that is typical
}

TEST(Outliers, NoiseAndLittleDifferencesAreNone) {
  EXPECT_THAT(runtime::outliers(std::vector<double>{1, 1.24}, {}), IsEmpty());
  EXPECT_THAT(runtime::outliers(std::vector<double>{1, 1.26}, {}), ElementsAre(1));
  EXPECT_THAT(runtime::outliers(std::vector<double>{1, 1.26}, OutlierRule{.tolerance = 0.3}), IsEmpty());
  EXPECT_THAT(runtime::outliers(std::vector<double>{7}, {}), IsEmpty());
}

// ---- all of it
// -------------------------------------------------------------------------------------------------------

HealthOptions quick() {
  HealthOptions options;
  options.link.message = std::chrono::microseconds(1);
  options.link.smallest = Bytes(1 << 10);
  options.link.largest = Bytes(4 << 10);
  options.link.round_trips = 3;
  options.probe_core = [](const runtime::CoreProbeOptions&) {
    return runtime::CoreReading{FlopsPerSecond(1e9), BytesPerSecond(1e9)};
  };
  return options;
}

// Ranks 0, 2, 4 are said to be on host "a", the others on "b".
TEST(HealthProbe, AllReadingsComeTogetherAtRankZero) {
  constexpr std::int64_t ranks = 5;
  std::vector<std::optional<HealthReadings>> readings(ranks);
  call_on_threads(ranks, [&](RankId rank, runtime::Communicator& communicator) {
    readings[rank.index()] =
        runtime::probe_health(communicator, rank, ranks, rank.value() % 2 == 0 ? "a" : "b", quick());
  });
  for (std::size_t r = 1; r < ranks; ++r) EXPECT_FALSE(readings[r].has_value());
  ASSERT_TRUE(readings[0].has_value());
  EXPECT_THAT(readings[0]->hosts, ElementsAre("a", "b"));
  EXPECT_THAT(readings[0]->node_of_rank, ElementsAre(0, 1, 0, 1, 0));
  EXPECT_EQ(readings[0]->cores.size(), 5U);
  EXPECT_EQ(readings[0]->within_nodes.size(), 4U);  // 3 pairs of three ranks, and 1 of two
  ASSERT_EQ(readings[0]->between_nodes.size(), 1U);
  const runtime::LinkReading& between = readings[0]->between_nodes.front();
  EXPECT_EQ(between.pair, (runtime::RankPair{RankId(0), RankId(1)}));
  EXPECT_GT(between.latency, Seconds(0));
  for (const std::size_t direction : {0, 1}) {
    EXPECT_GT(between.bandwidth[direction], BytesPerSecond(0));
    EXPECT_GE(between.message[direction], Bytes(1 << 10));
    EXPECT_LE(between.message[direction], Bytes(4 << 10));
  }
}

// Rank 1 is asked to end. Ranks of one host are measured one after the other, then three pairs of them.
HealthReadings interrupted_after(std::int64_t measurements) {
  constexpr std::int64_t ranks = 3;
  std::optional<HealthReadings> readings;
  std::vector<char> told(ranks, 0);
  call_on_threads(ranks, [&](RankId rank, runtime::Communicator& communicator) {
    HealthOptions options = quick();
    options.core.window = std::chrono::microseconds(100);
    std::int64_t asked = 0;
    options.interrupted = [&] { return rank == RankId(1) && asked++ >= measurements; };
    bool interrupted = false;
    auto own = runtime::probe_health(communicator, rank, ranks, "a", options, {}, &interrupted);
    told[rank.index()] = interrupted ? 1 : 0;
    if (own) readings = std::move(own);
  });
  EXPECT_THAT(told, testing::Each(measurements < 6 ? 1 : 0));
  return std::move(readings).value();
}

TEST(HealthProbe, WhoIsInterruptedKeepsWhatWasMeasured) {
  const HealthReadings none = interrupted_after(0);
  EXPECT_TRUE(none.interrupted);
  EXPECT_THAT(none.cores, IsEmpty());
  // Cores that were measured have peers only if all were.
  EXPECT_THAT(interrupted_after(2).cores, IsEmpty());
  const HealthReadings some = interrupted_after(4);
  EXPECT_TRUE(some.interrupted);
  EXPECT_EQ(some.cores.size(), 3U);
  EXPECT_EQ(some.within_nodes.size(), 1U);
  const HealthReadings all = interrupted_after(6);
  EXPECT_FALSE(all.interrupted);
  EXPECT_EQ(all.within_nodes.size(), 3U);
}

TEST(HealthProbe, OneRankAloneHasACoreAndNoLinks) {
  std::optional<HealthReadings> readings;
  call_on_threads(1, [&](RankId rank, runtime::Communicator& communicator) {
    readings = runtime::probe_health(communicator, rank, 1, "a", quick());
  });
  ASSERT_TRUE(readings.has_value());
  EXPECT_EQ(readings->cores.size(), 1U);
  EXPECT_THAT(readings->within_nodes, IsEmpty());
  EXPECT_THAT(readings->between_nodes, IsEmpty());
}

TEST(HealthProbe, ARankThatDoesNotAnswerIsNamed) {
  HealthOptions options = quick();
  options.deadline = std::chrono::milliseconds(100);
  try {
    call_on_threads(2, [&](RankId rank, runtime::Communicator& communicator) {
      if (rank.value() == 0) static_cast<void>(runtime::probe_health(communicator, rank, 2, "a", options));
    });
    FAIL() << "nobody missed rank 1";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::rank_failed);
    EXPECT_THAT(error.what(), testing::HasSubstr("rank 1 did not answer"));
  }
}

// What it is on one core says nothing here but that it is measured at all.
TEST(CoreProbe, GivesRates) {
  runtime::CoreProbeOptions options;
  options.window = std::chrono::microseconds(2'000);
  options.windows = 1;
  options.product = 32;
  options.copied = Bytes(1 << 20);
  const runtime::CoreReading reading = runtime::probe_core(options);
  EXPECT_GT(reading.product, FlopsPerSecond(0));
  EXPECT_GT(reading.copy, BytesPerSecond(0));
}

}  // namespace
}  // namespace foretoken::test
