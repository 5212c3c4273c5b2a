#include "tools/explain/compare.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/error.hpp"
#include "tests/explain/hand_results.hpp"

namespace foretoken::explain {
namespace {

using test::add_rank;
using test::empty_trace;
using test::steady;
using test::StepShape;
using test::stored_json;
using testing::HasSubstr;
using testing::Not;

StoredResult read_back(const StoredResult& result) {
  return read_result(JsonDocument::from_text(stored_json(result).dump(), result.file));
}

std::string refusal(const StoredResult& a, const StoredResult& b, const CompareOptions& options = {}) {
  try {
    static_cast<void>(compare(a, b, options));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    return error.what();
  }
  return "";
}

// Steps of 110 and 100 ns: TPOT is 10 % too high, TPS 1 / 1.1 - 1 = 9.1 % too low.
TEST(Compare, ErrorsAreAOverBMinusOne) {
  StepShape slower;
  slower.norm += 10'000;
  StoredResult a = steady(slower), b = steady({});
  a.cpu_step = Seconds(3e-9);
  const auto figures = compare(a, b, {}).figures;
  ASSERT_EQ(figures.size(), 6u);  // B has no CPU time
  EXPECT_NEAR(find_figure(figures, "tps")->error(), 1 / 1.1 - 1, 1e-12);
  for (const char* name : {"tpot_mean_ms", "tpot_p50_ms", "tpot_p95_ms", "tpot_p99_ms", "step_mean_ms"})
    EXPECT_NEAR(find_figure(figures, name)->error(), 0.1, 1e-12) << name;
  EXPECT_EQ(find_figure(figures, "cpu_step_ms"), nullptr);
  b.cpu_step = Seconds(2e-9);
  EXPECT_NEAR(find_figure(compare(a, b, {}).figures, "cpu_step_ms")->error(), 0.5, 1e-12);
}

// What was stored is what is compared: parts of both sides survive the way through JSON to the picosecond.
TEST(Compare, StoredResultsAreReadBackExactly) {
  StepShape shape;
  shape.gemm = 123'457;
  StoredResult a = steady(shape, 3), b = steady({}, 3);
  b.overhead = 0.0;
  const Waterfall direct = compare(a, b, {}).tpot;
  const Waterfall stored = compare(read_back(a), read_back(b), {}).tpot;
  ASSERT_EQ(direct.parts.size(), stored.parts.size());
  for (std::size_t i = 0; i < direct.parts.size(); ++i) {
    EXPECT_EQ(direct.parts[i].of, stored.parts[i].of);
    EXPECT_EQ(direct.parts[i].a, stored.parts[i].a);
    EXPECT_EQ(direct.parts[i].b, stored.parts[i].b);
  }
  EXPECT_EQ(stored.parts.front().difference(), SimTime(250'371));  // 3 steps x (123,457 - 40,000)
}

// A trace of more than 64 ranks is stored for some; the slowest, rank 70, is among them and is the one that is tiled.
TEST(Compare, TracesOfSomeRanksWillDo) {
  StepShape slow;
  slow.waiting += 7'000;
  StoredResult a = steady(slow);
  a.trace = empty_trace(100, 2);
  add_rank(a.trace, 0, {});
  add_rank(a.trace, 70, slow);
  a.slowest_rank = 70;
  nlohmann::json json = stored_json(a);
  json["trace"]["ranks"] = {0, 70};
  const StoredResult stored = read_result(JsonDocument::from_text(json.dump(), "a.json"));
  EXPECT_EQ(stored.slowest_rank, 70);
  const Waterfall waterfall = compare(stored, steady({}), {}).tpot;
  EXPECT_EQ(waterfall.parts.front().cause, Cause::waiting);
  EXPECT_EQ(waterfall.difference(), SimTime(14'000));
}

TEST(Compare, RefusesDifferentPlansAndSaysWhereTheScenariosDiffer) {
  StoredResult a = steady({}), b = steady({});
  a.file = "a.json";
  b.file = "b.json";
  b.scenario = "another";
  b.plan_hash = "fedcba9876543210fedcba9876543210";
  b.scenario_document = {{"name", "another"}, {"about", "x"}, {"deployment", {{"micro_batches", 4}, {"chunks", 2}}}};
  const std::string message = refusal(a, b);
  for (const char* part : {"a.json", "b.json", "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210",
                           "invented", "another", "/deployment/micro_batches: 1 in A, 4 in B",
                           "/deployment/chunks: nothing in A, 2 in B", "same --set"})
    EXPECT_THAT(message, HasSubstr(part));
  EXPECT_THAT(message, Not(HasSubstr("/about")));
}

TEST(Compare, ListsOnlyTheFirstOfManyDifferences) {
  StoredResult a = steady({}), b = steady({});
  b.plan_hash = std::string(32, 'f');
  for (int i = 0; i < 20; ++i) {
    a.scenario_document["model"]["field" + std::to_string(10 + i)] = i;
    b.scenario_document["model"]["field" + std::to_string(10 + i)] = std::string(5000, 'x');
  }
  const std::string message = refusal(a, b);
  EXPECT_THAT(message, HasSubstr("/model/field10: 0 in A, \"xxx"));
  EXPECT_THAT(message, HasSubstr("and 12 more"));
  EXPECT_LT(message.size(), 2000u);
}

TEST(Compare, OfEqualScenariosWithDifferentPlansTheProgramsAreNamed) {
  StoredResult a = steady({}), b = steady({});
  b.plan_hash = std::string(32, 'f');
  b.build = "0.2.0 def";
  EXPECT_THAT(refusal(a, b), HasSubstr("foretoken 0.1.0 abc and 0.2.0 def"));
}

TEST(Compare, SeedsCalibrationsAndTopologiesMayDiffer) {
  StoredResult b = steady({});
  b.seed = 2;
  b.calibration = "";
  b.topology = "host";
  b.clock = "wall";
  EXPECT_EQ(refusal(steady({}), b), "");
}

TEST(Compare, CpuTimeNeedsBothSides) {
  StoredResult with = steady({}), without = steady({});
  with.trace.cpu.assign(with.trace.size(), SimTime(10));
  with.file = "with.json";
  without.file = "without.json";
  EXPECT_THAT(refusal(with, without, {GroupBy::kind, true}), HasSubstr("without.json#/trace/events: there is no CPU"));
  EXPECT_THAT(refusal(without, with, {GroupBy::kind, true}), HasSubstr("without.json"));
  const Comparison comparison = compare(with, with, {GroupBy::kind, true});
  ASSERT_TRUE(comparison.cpu);
  EXPECT_EQ(comparison.cpu->a, SimTime(80));  // 10 of each of 4 ops in 2 steps
  EXPECT_EQ(comparison.cpu->difference(), SimTime(0));
}

TEST(Compare, CpuTimeNeedsAllRanks) {
  StoredResult some = steady({});
  some.trace = empty_trace(2, 2);
  add_rank(some.trace, 0, {});
  some.trace.cpu.assign(some.trace.size(), SimTime(10));
  EXPECT_THAT(refusal(some, some, {GroupBy::kind, true}), HasSubstr("at most 64 ranks"));
}

TEST(ComparePublished, HasWhatWasPublished) {
  StoredResult a = steady({});  // TPOT 100 ns, TPS 8 / 100 ns
  a.published = PublishedEntry{"invented", 64e6, std::nullopt};
  const auto figures = compare_with_published(a);
  ASSERT_EQ(figures.size(), 1u);
  EXPECT_NEAR(find_figure(figures, "tps")->error(), 0.25, 1e-12);
  a.published->tpot = Seconds(125e-9);
  EXPECT_NEAR(find_figure(compare_with_published(a), "tpot_mean_ms")->error(), -0.2, 1e-12);
}

TEST(ComparePublished, WithoutFiguresIsRefused) {
  StoredResult a = steady({});
  EXPECT_THROW(static_cast<void>(compare_with_published(a)), Error);
  a.published = PublishedEntry{"nothing measured", std::nullopt, std::nullopt};
  EXPECT_THROW(static_cast<void>(compare_with_published(a)), Error);
}

}  // namespace
}  // namespace foretoken::explain
