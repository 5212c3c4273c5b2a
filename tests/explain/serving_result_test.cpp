// Results of serving benchmarks as the measured side, and two runs in one timeline.
#include "tools/explain/serving_result.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "core/error.hpp"
#include "tests/explain/hand_results.hpp"
#include "tools/explain/timeline.hpp"

namespace foretoken::explain {
namespace {

using testing::HasSubstr;

ServingResult read(const std::string& text) {
  const JsonDocument document = JsonDocument::from_text(text, "measured.json");
  EXPECT_TRUE(is_serving(document));
  return read_serving(document);
}

TEST(ServingResult, OfVllm) {
  const ServingResult result = read(
      R"({"backend": "vllm", "request_rate": "inf", "max_concurrency": 16, "output_throughput": 1000.5,
          "mean_tpot_ms": 12.5, "median_tpot_ms": 12, "p99_tpot_ms": 30, "mean_e2el_ms": 900})");
  EXPECT_EQ(result.tool, "vLLM");
  EXPECT_EQ(result.tps, 1000.5);
  EXPECT_NEAR(result.mean->value(), 0.0125, 1e-12);
  EXPECT_FALSE(result.p95);
  EXPECT_EQ(result.concurrency, 16);
  EXPECT_THAT(result.definitions.front(), HasSubstr("(latency - time to first token) / (output tokens - 1)"));
}

TEST(ServingResult, OfSglang) {
  const ServingResult result = read(
      R"({"backend": "sglang", "concurrency": 15.8, "output_throughput": 900, "mean_tpot_ms": 14,
          "mean_e2e_latency_ms": 1000, "p99_tpot_ms": 33})");
  EXPECT_EQ(result.tool, "SGLang");
  EXPECT_EQ(result.concurrency, 15.8);
}

TEST(ServingResult, OfAiperf) {
  const ServingResult result = read(
      R"({"output_token_throughput": {"unit": "tokens/sec", "avg": 800},
          "inter_token_latency": {"unit": "ms", "avg": 13, "p50": 12.9, "p95": 15, "p99": 20}})");
  EXPECT_EQ(result.tool, "AIPerf");
  EXPECT_EQ(result.tps, 800);
  EXPECT_NEAR(result.p99->value(), 0.02, 1e-12);
}

// TPOT of the hand-made step is 100 ns: twice what was measured.
TEST(ServingResult, IsComparedByWhatBothHave) {
  ServingResult measured;
  measured.mean = Seconds(50e-9);
  const auto figures = compare_with_serving(test::steady({}), measured);
  ASSERT_EQ(figures.size(), 1u);
  EXPECT_EQ(figures[0].name, "tpot_mean_ms");
  EXPECT_NEAR(figures[0].error(), 1, 1e-12);
}

TEST(ServingResult, WithoutFiguresIsRefused) {
  EXPECT_THROW(read(R"({"output_throughput": "nan", "mean_tpot_ms": null})"), Error);
  EXPECT_FALSE(is_serving(JsonDocument::from_text(R"({"kind": "result"})", "a.json")));
  EXPECT_FALSE(is_serving(JsonDocument::from_text("[]", "a.json")));
}

// ---- two runs in one file ------------------------------------------------------------------------------------------

StoredResult chained(const test::StepShape& shape, std::int64_t ranks, std::int64_t start) {
  StoredResult result = test::steady(shape);
  result.trace = test::empty_trace(ranks, 2);
  for (std::int64_t rank = 0; rank < ranks; ++rank)
    test::add_rank(result.trace, static_cast<std::int32_t>(rank), shape, start);
  for (std::size_t op = 1; op < result.trace.roles[0].size(); ++op)
    result.trace.roles[0][op].after = {{static_cast<std::int32_t>(op) - 1, 0}};
  result.trace.roles[0][1].meets = TraceMeeting{0, ranks, 1, 0};
  return result;
}

nlohmann::json both(const StoredResult& a, const StoredResult& b) {
  return nlohmann::json::parse(
      timelines_json(a.trace, find_critical_path(a.trace), b.trace, find_critical_path(b.trace), "A and B"));
}

// The first counted step begins at 100 ns in A and at 250 ns in B: B's events are moved by -150 ns.
TEST(Timelines, AreAlignedAtTheFirstCountedStep) {
  test::StepShape slower;
  slower.gemm += 10'000;
  const nlohmann::json json = both(chained({}, 2, 100'000), chained(slower, 2, 250'000));
  std::map<std::string, std::int64_t> processes;
  for (const auto& event : json["traceEvents"])
    if (event["name"] == "process_name") processes[event["args"]["name"]] = event["pid"];
  ASSERT_TRUE(processes.contains("A rank 0") && processes.contains("B rank 0"));
  std::map<std::int64_t, double> begins;
  for (const auto& event : json["traceEvents"])
    if (event["ph"] == "X" && event["name"] == "l0.qkv" && !begins.contains(event["pid"]))
      begins[event["pid"]] = event["ts"];
  EXPECT_NEAR(begins.at(processes.at("A rank 0")), 0.1, 1e-9);
  EXPECT_NEAR(begins.at(processes.at("B rank 0")), 0.1, 1e-9);
}

// 64 ranks of both sides: every process has one name, and slices of one track nest or follow one another.
TEST(Timelines, Of64RanksNestPerTrack) {
  const nlohmann::json json = both(chained({}, 64, 100'000), chained({}, 64, 120'000));
  std::map<std::int64_t, int> names;
  std::map<std::pair<std::int64_t, std::int64_t>, std::vector<std::pair<double, double>>> tracks;
  for (const auto& event : json["traceEvents"]) {
    if (event["name"] == "process_name") ++names[event["pid"]];
    if (event["ph"] == "X") tracks[{event["pid"], event["tid"]}].emplace_back(event["ts"], event["dur"]);
  }
  EXPECT_EQ(names.size(), 2u * 65);  // ranks and a critical path each
  for (const auto& [process, count] : names) EXPECT_EQ(count, 1) << process;
  constexpr double half_a_picosecond = 5e-7;
  for (auto& [track, slices] : tracks) {
    std::sort(slices.begin(), slices.end());
    for (std::size_t i = 1; i < slices.size(); ++i)
      ASSERT_GE(slices[i].first, slices[i - 1].first + slices[i - 1].second - half_a_picosecond);
  }
}

TEST(OpsCsv, HasALinePerOpOfBothSides) {
  const StoredResult a = test::steady({}), b = test::steady({}, 3);
  std::istringstream lines(ops_csv(a.trace, b.trace));
  std::string line;
  std::size_t count = 0;
  std::string first;
  for (; std::getline(lines, line); ++count)
    if (count == 2) first = line;
  EXPECT_EQ(count, 1 + a.trace.size() + b.trace.size());
  EXPECT_EQ(first, "A,0,0,l0.qkv,gemm,compute,0,0,0,40000,measured");
}

}  // namespace
}  // namespace foretoken::explain
