#include "tools/explain/timeline.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "tests/explain/hand_results.hpp"
#include "tests/sim/tiny_program.hpp"

namespace foretoken::explain {
namespace {

using foretoken::test::round_machine;
using foretoken::test::TinyProgram;
using Json = nlohmann::json;
using plan::OpKind;

Trace pipeline() {
  TinyProgram program(2);
  const CommunicationId message = program.communication(OpKind::send);
  const std::size_t source = program.role({0});
  program.compute(source, "produce", 3);
  program.send(source, "send", message, 1, 1000);
  const std::size_t sink = program.role({1});
  program.recv(sink, "recv", message, -1, 1000);
  program.compute(sink, "consume", 2);
  program.step_end(sink);
  program.link_samples = 16;
  return program.run(round_machine(1, 2), 1, 1);
}

Json timeline_of(const Trace& trace) {
  return Json::parse(timeline_json(trace, find_critical_path(trace), "a \"run\""));
}

std::vector<Json> entries(const Json& timeline, const std::string& phase) {
  std::vector<Json> list;
  for (const Json& entry : timeline["traceEvents"])
    if (entry["ph"] == phase) list.push_back(entry);
  return list;
}

// Rank 0 produces from 5 to 8 us in its second step: rank 1, process 2, waits for it from 7 to 8 and receives until 10.
TEST(Timeline, ShowsOpsWhereTheyRan) {
  const std::string text = timeline_json(pipeline(), find_critical_path(pipeline()), "run");
  EXPECT_THAT(text, ::testing::HasSubstr(
                        R"({"ph":"X","pid":1,"tid":1,"ts":5.000000,"dur":3.000000,"name":"produce","cat":"gemm",)"));
  EXPECT_THAT(text, ::testing::HasSubstr(R"("pid":2,"tid":1,"ts":7.000000,"dur":1.000000,"name":"wait","cat":"wait")"));
  EXPECT_THAT(text, ::testing::HasSubstr(R"("ts":8.000000,"dur":2.000000,"name":"recv","cat":"recv")"));
}

TEST(Timeline, IsWhatViewersNeed) {
  const Json timeline = timeline_of(pipeline());
  EXPECT_EQ(timeline["displayTimeUnit"], "ns");
  EXPECT_EQ(timeline["otherData"]["title"], "a \"run\"");
  std::set<std::string> processes;
  for (const Json& entry : entries(timeline, "M"))
    if (entry["name"] == "process_name") processes.insert(entry["args"]["name"].get<std::string>());
  EXPECT_THAT(processes, ::testing::ElementsAre("critical path", "links", "rank 0", "rank 1"));

  // Slices of a thread follow each other; process 0 is the viewers' own.
  std::map<std::pair<int, int>, double> ended;
  for (const Json& entry : entries(timeline, "X")) {
    EXPECT_GT(entry["pid"], 0);
    EXPECT_GT(entry["dur"], 0);
    double& before = ended[{entry["pid"].get<int>(), entry["tid"].get<int>()}];
    EXPECT_GE(entry["ts"].get<double>(), before - 1e-9);
    before = entry["ts"].get<double>() + entry["dur"].get<double>();
  }
  EXPECT_EQ(entries(timeline, "i").size(), 2U);  // a step_end per step

  // Arrows in pairs, forward in time: a message in each of two steps, and one along the critical path.
  const auto starts = entries(timeline, "s");
  const auto finishes = entries(timeline, "f");
  ASSERT_EQ(starts.size(), 3U);
  ASSERT_EQ(finishes.size(), starts.size());
  for (std::size_t a = 0; a < starts.size(); ++a) {
    EXPECT_EQ(starts[a]["id"], finishes[a]["id"]);
    EXPECT_EQ(starts[a]["pid"], 1);
    EXPECT_EQ(finishes[a]["pid"], 2);
    EXPECT_LE(starts[a]["ts"].get<double>(), finishes[a]["ts"].get<double>());
  }
  for (const Json& counter : entries(timeline, "C")) {
    EXPECT_GE(counter["args"]["value"], 0);
    EXPECT_LE(counter["args"]["value"].get<double>(), 100 + 1e-6);
  }
  EXPECT_FALSE(entries(timeline, "C").empty());
}

// The path of 5 us: 1 us of rank 0, 2 us of message, 2 us of rank 1.
TEST(Timeline, HasTheCriticalPathAsAProcess) {
  std::vector<std::string> names;
  double time = 0;
  for (const Json& entry : entries(timeline_of(pipeline()), "X")) {
    if (entry["pid"] != 3) continue;
    names.push_back(entry["name"].get<std::string>());
    time += entry["dur"].get<double>();
  }
  EXPECT_THAT(names, ::testing::ElementsAre("produce", "recv", "consume"));
  EXPECT_DOUBLE_EQ(time, 5.0);
}

// Beyond 64 ranks: the first of each role and the slowest.
TEST(Timeline, OfManyRanksShowsOnePerRole) {
  Trace trace = test::empty_trace(100, 1);
  trace.roles[0][1].meets = TraceMeeting{};
  for (std::int32_t rank = 0; rank < 100; ++rank)
    test::add_rank(trace, rank, rank == 42 ? test::StepShape{50'000} : test::StepShape{});
  std::set<int> processes;
  for (const Json& entry : entries(timeline_of(trace), "X")) processes.insert(entry["pid"].get<int>());
  EXPECT_THAT(processes, ::testing::ElementsAre(1, 43, 101));  // ranks 0 and 42, the critical path
}

// A picosecond stays one after 100 days, where a double of microseconds has long lost it.
TEST(Timeline, KeepsPicoseconds) {
  Trace trace = test::empty_trace(1, 1);
  trace.roles[0][1].meets = TraceMeeting{};
  test::add_rank(trace, 0, {}, 8'640'000'000'000'000'001);
  EXPECT_THAT(timeline_json(trace, find_critical_path(trace), ""),
              ::testing::HasSubstr("\"ts\":8640000000000.000001,\"dur\":0.040000"));
}

}  // namespace
}  // namespace foretoken::explain
