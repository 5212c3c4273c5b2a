// foretoken simulate --explain, --sensitivity and --trace, and compare --critical-path, through the command line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/cli/command_line.hpp"
#include "tests/plan/json_schema.hpp"

namespace foretoken::explain {
namespace {

using Json = nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
namespace fs = std::filesystem;
using test::Answer;
using test::foretoken_cli;
using test::text_of;

constexpr const char* kExplained = "scenarios/paper/scaling-ep16.json";

class ExplainCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() / ("foretoken_explain_" + std::to_string(::getpid()) + "_" +
                                          ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder);
    fs::create_directories(folder);
  }
  void TearDown() override { fs::remove_all(folder); }

  [[nodiscard]] std::string file(const std::string& name) const { return (folder / name).string(); }

  fs::path folder;
};

std::int64_t sum_of_shares(const Json& shares) {
  std::int64_t sum = 0;
  for (const Json& share : shares) sum += share["ps"].get<std::int64_t>();
  return sum;
}

TEST_F(ExplainCommand, TextSaysWhy) {
  const Answer answer = foretoken_cli({"simulate", kExplained, "--explain"});
  ASSERT_EQ(answer.code, 0) << answer.err;
  EXPECT_THAT(answer.out, AllOf(HasSubstr("Critical path: what the last token of rank "), HasSubstr("changes of rank"),
                                HasSubstr("Bound by: memory bandwidth"), HasSubstr("Waiting for the last to arrive"),
                                HasSubstr("busiest link"), Not(HasSubstr("What to buy next"))));
  EXPECT_THAT(answer.err, IsEmpty());
}

// Where communication runs beside compute, memory is shared too; links are told all the same.
TEST_F(ExplainCommand, LinksOfAPlanThatOverlaps) {
  const Answer answer = foretoken_cli({"simulate", "scenarios/paper/baseline-tp8-pp2.json", "--explain"});
  ASSERT_EQ(answer.code, 0) << answer.err;
  EXPECT_THAT(answer.out, HasSubstr("Links over the counted steps"));
}

TEST_F(ExplainCommand, ALineIsNoPlaceForReasons) {
  const Answer answer = foretoken_cli({"simulate", kExplained, "--brief", "--explain"});
  EXPECT_EQ(answer.code, 2);
  EXPECT_THAT(answer.err, HasSubstr("--brief: --explain is given too"));
}

TEST_F(ExplainCommand, WithoutItNothingChanges) {
  const Answer plain = foretoken_cli({"simulate", kExplained});
  EXPECT_THAT(plain.out, Not(HasSubstr("Critical path")));
  EXPECT_FALSE(Json::parse(foretoken_cli({"simulate", kExplained, "--json"}).out).contains("explanation"));
  // What is asked for stands behind what is printed anyway.
  EXPECT_EQ(foretoken_cli({"simulate", kExplained, "--explain"}).out.substr(0, plain.out.size()), plain.out);
}

TEST_F(ExplainCommand, JsonFollowsItsSchemaAndAddsUp) {
  const Answer answer = foretoken_cli({"simulate", kExplained, "--explain", "--sensitivity", "--json"});
  ASSERT_EQ(answer.code, 0) << answer.err;
  EXPECT_THAT(answer.err, HasSubstr("simulating with better nvlink"));
  const Json json = Json::parse(answer.out);
  const plan::test::JsonSchema schema(Json::parse(foretoken_cli({"schema", "result"}).out));
  EXPECT_THAT(schema.check(json), IsEmpty());
  const Json& path = json["explanation"]["critical_path"];
  const auto window = path["end_ps"].get<std::int64_t>() - path["begin_ps"].get<std::int64_t>();
  for (const char* by : {"by_kind", "by_layer", "by_rank", "by_cause"})
    EXPECT_EQ(sum_of_shares(path[by]), window) << by;
  EXPECT_EQ(sum_of_shares(json["explanation"]["bounds"]), window);
  EXPECT_EQ(json["explanation"]["bounds"][0]["of"], "memory bandwidth");  // decoding reads weights
  EXPECT_EQ(path["rank"], json["breakdown"]["rank"]);
  EXPECT_NEAR(static_cast<double>(window) * 1e-9 / path["steps"].get<double>(),
              json["breakdown"]["step_ms"].get<double>(), 1e-9);
  EXPECT_EQ(json["explanation"]["sensitivity"]["resources"].size(), 8U);
  for (const Json& link : json["explanation"]["links"]["busiest"]) {
    EXPECT_GE(link["peak"].get<double>(), link["utilisation"].get<double>() * (1 - 1e-9));
    EXPECT_LE(link["peak"].get<double>(), 1 + 1e-6);
  }
}

/// `explain FILE --json`, checked against its schema.
Json explained(const std::vector<std::string>& words) {
  std::vector<std::string> all{"explain"};
  all.insert(all.end(), words.begin(), words.end());
  all.emplace_back("--json");
  const Answer answer = foretoken_cli(all);
  EXPECT_EQ(answer.code, 0) << answer.err;
  Json json = Json::parse(answer.out);
  const plan::test::JsonSchema schema(Json::parse(foretoken_cli({"schema", "explanation"}).out));
  EXPECT_THAT(schema.check(json), IsEmpty());
  return json;
}

// A stored prediction says of itself what the simulation says with both options.
TEST_F(ExplainCommand, OfAStoredPredictionIsThatOfTheSimulation) {
  ASSERT_EQ(foretoken_cli({"simulate", kExplained, "--set", "workload.context=256", "--out", file("a.json")}).code, 0);
  const Json json = explained({file("a.json")});
  const Json simulated = Json::parse(
      foretoken_cli({"simulate", kExplained, "--set", "workload.context=256", "--explain", "--sensitivity", "--json"})
          .out)["explanation"];
  for (const char* member : {"critical_path", "bounds", "stragglers", "links", "sensitivity"})
    EXPECT_EQ(json[member], simulated[member]) << member;
  EXPECT_FALSE(json.contains("no_links_and_sensitivity"));
  EXPECT_THAT(foretoken_cli({"explain", file("a.json")}).out,
              AllOf(HasSubstr("busiest link"), HasSubstr("What to buy next")));
}

TEST_F(ExplainCommand, SaysWhyAResultIsNotSimulatedAgain) {
  ASSERT_EQ(foretoken_cli({"simulate", kExplained, "--out", file("a.json")}).code, 0);
  const auto why_not = [&](const std::function<void(Json&)>& change, const std::vector<std::string>& more = {}) {
    Json result = Json::parse(text_of(file("a.json")));
    change(result);
    std::ofstream(file("b.json")) << result.dump();
    std::vector<std::string> words{file("b.json")};
    words.insert(words.end(), more.begin(), more.end());
    const Json json = explained(words);
    EXPECT_FALSE(json.contains("links"));
    EXPECT_TRUE(json.contains("critical_path"));
    return json.value("no_links_and_sensitivity", "");
  };
  EXPECT_THAT(why_not([](Json& result) { result["clock"] = "wall"; }), HasSubstr("was measured"));
  EXPECT_THAT(why_not([](Json& result) { result["resolved_scenario"]["cluster"]["topology"] = "gone.json"; }),
              HasSubstr("no topology file was found"));
  EXPECT_THAT(why_not([](Json& result) { result["resolved_scenario"]["workload"]["context"] = 77; }),
              HasSubstr("no topology file was found"));
  EXPECT_THAT(why_not([](Json& result) { result["resolved_scenario"].erase("model"); }),
              HasSubstr("cannot be simulated again"));
  EXPECT_THAT(why_not([](Json& result) { result["tpot_ms"]["mean"] = 3.5; }), HasSubstr("not 3.5000"));
  // The machine may be named; then what cannot be read is an error.
  Json result = Json::parse(text_of(file("a.json")));
  result["resolved_scenario"]["cluster"]["topology"] = "gone.json";
  std::ofstream(file("b.json")) << result.dump();
  EXPECT_TRUE(explained({file("b.json"), "--topology", "topologies/hgx-h100-2nodes-ndr400.json"}).contains("links"));
  EXPECT_EQ(foretoken_cli({"explain", file("b.json"), "--topology", file("none.json")}).code, 2);
}

TEST_F(ExplainCommand, WritesATimeline) {
  const Answer answer = foretoken_cli({"simulate", kExplained, "--trace", file("timeline.json")});
  ASSERT_EQ(answer.code, 0) << answer.err;
  const Json timeline = Json::parse(text_of(file("timeline.json")));
  EXPECT_GT(timeline["traceEvents"].size(), 1000U);
  // The same scenario gives the same bytes.
  ASSERT_EQ(foretoken_cli({"simulate", kExplained, "--trace", file("again.json")}).code, 0);
  EXPECT_EQ(text_of(file("timeline.json")), text_of(file("again.json")));
}

TEST_F(ExplainCommand, RefusesTimelinesThatItCannotWrite) {
  const auto refused = [&](const std::vector<std::string>& arguments, const std::string& because) {
    const Answer answer = foretoken_cli(arguments);
    EXPECT_EQ(answer.code, 2);
    EXPECT_THAT(answer.err, HasSubstr(because));
    EXPECT_THAT(answer.out, IsEmpty());
  };
  refused({"simulate", kExplained, "--trace", file("timeline.pb")}, "is not named *.json");
  refused({"simulate", kExplained, "--trace", file("timeline.json.gz")}, "is not named *.json");
  refused({"simulate", kExplained, kExplained, "--trace", file("a.json")}, "2 scenarios are given");
  refused({"simulate", kExplained, "--trace", file("a.json"), "--out", file("a.json")}, "is also named by --out");
  refused({"simulate", kExplained, "--trace", file("no/folder/a.json")}, "cannot be created");
  fs::copy_file(kExplained, folder / "own.json");
  Json own = Json::parse(text_of(file("own.json")));
  own["cluster"]["topology"] = fs::absolute("topologies/hgx-h100-2nodes-ndr400.json").string();
  std::ofstream(file("own.json")) << own.dump();
  refused({"simulate", file("own.json"), "--trace", file("own.json")}, "is a file that is read");
}

TEST_F(ExplainCommand, ComparesCriticalPaths) {
  ASSERT_EQ(foretoken_cli({"simulate", kExplained, "--out", file("a.json")}).code, 0);
  ASSERT_EQ(foretoken_cli({"simulate", kExplained, "--set", "measure.steps=4", "--out", file("b.json")}).code, 0);
  const Answer text = foretoken_cli({"compare", file("a.json"), file("b.json"), "--critical-path"});
  ASSERT_EQ(text.code, 0) << text.err;
  EXPECT_THAT(text.out,
              AllOf(HasSubstr("Critical path across ranks, per step"), HasSubstr("changes of rank per step")));
  const Json json =
      Json::parse(foretoken_cli({"compare", file("a.json"), file("b.json"), "--critical-path", "--json"}).out);
  const plan::test::JsonSchema schema(Json::parse(foretoken_cli({"schema", "comparison"}).out));
  EXPECT_THAT(schema.check(json), IsEmpty());
  // What was stored gives the path that the simulation itself has.
  const Json simulated = Json::parse(foretoken_cli({"simulate", kExplained, "--explain", "--json"}).out);
  EXPECT_EQ(json["critical_path"]["a"], simulated["explanation"]["critical_path"]);
  EXPECT_EQ(json["critical_path"]["b"]["steps"], 4);
}

TEST_F(ExplainCommand, OldResultsHaveNoCriticalPath) {
  ASSERT_EQ(foretoken_cli({"simulate", kExplained, "--out", file("a.json")}).code, 0);
  Json old = Json::parse(text_of(file("a.json")));
  old["trace"]["op_columns"] = {"name", "kind", "stream", "layer", "micro_batch"};
  for (Json& role : old["trace"]["roles"])
    for (Json& op : role) op.erase(op.begin() + 5, op.end());
  std::ofstream(file("old.json")) << old.dump();
  EXPECT_EQ(foretoken_cli({"compare", file("a.json"), file("old.json")}).code, 0);
  const Answer answer = foretoken_cli({"compare", file("a.json"), file("old.json"), "--critical-path"});
  EXPECT_EQ(answer.code, 2);
  EXPECT_THAT(answer.err, AllOf(HasSubstr("old.json#/trace/op_columns"), HasSubstr("store the result again")));
  EXPECT_EQ(foretoken_cli({"compare", file("a.json"), "--critical-path"}).code, 2);
}

TEST_F(ExplainCommand, RefusesMalformedWaits) {
  ASSERT_EQ(foretoken_cli({"simulate", kExplained, "--out", file("a.json")}).code, 0);
  const Json good = Json::parse(text_of(file("a.json")));
  const auto refused = [&](std::size_t op, std::size_t column, const Json& value, const std::string& because) {
    Json bad = good;
    bad["trace"]["roles"][0][op][column] = value;
    std::ofstream(file("bad.json")) << bad.dump();
    const Answer answer = foretoken_cli({"compare", file("a.json"), file("bad.json"), "--critical-path"});
    EXPECT_EQ(answer.code, 2) << because;
    EXPECT_THAT(answer.err, HasSubstr(because));
  };
  refused(1, 5, {0}, "/trace/roles/0/1/5");             // half a pair
  refused(1, 5, {1'000'000, 0}, "/trace/roles/0/1/5");  // no such op
  refused(1, 5, {-1, 0}, "/trace/roles/0/1/5");         // nor this one
  refused(1, 6, {0, 1, 1, 0}, "/trace/roles/0/1/6");    // compute meets nobody
  std::size_t communication = 0;
  while (good["trace"]["roles"][0][communication][6].empty()) ++communication;
  refused(communication, 6, Json::array(), "write communication, size, stride and peer_offset");
  refused(communication, 6, {0, 0, 1, 0}, "/6/1");  // a group of nobody
  refused(communication, 6, {0, 1, 1}, "write communication, size, stride and peer_offset");
}

}  // namespace
}  // namespace foretoken::explain
