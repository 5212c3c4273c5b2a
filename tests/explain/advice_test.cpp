// What to measure next: gains worked out by hand, and the command on the paper's deployments.
#include "tools/explain/advice.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/cli/command_line.hpp"
#include "tests/plan/json_schema.hpp"
#include "tests/sim/tiny_program.hpp"
#include "tools/cli/cli.hpp"

namespace foretoken::explain {
namespace {

using foretoken::test::round_machine;
using foretoken::test::TinyProgram;
using Json = nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;
using test::Answer;
using test::foretoken_cli;

ModelErrors errors(const std::string& rows) {
  return ModelErrors::read(JsonDocument::from_text(
      R"({"kind": "model_errors", "schema_version": 1, "errors": [)" + rows + "]}", "errors.json"));
}

/// One rank: ops of so many microseconds one after the other, all of the kind gemm.
Trace chain(const std::vector<std::pair<std::string, double>>& ops) {
  TinyProgram program(1);
  const std::size_t role = program.role({0});
  for (const auto& [name, us] : ops) program.compute(role, name, us);
  program.step_end(role);
  return program.run(round_machine(1, 1), 1, 2);
}

std::vector<MeasurementGain> gains_by_name(const Trace& trace, const ModelErrors& errors) {
  return measurement_gains(find_critical_path(trace), trace, errors,
                           [&](std::size_t event) { return trace.op_of(event).name; });
}

// One row: all are off together, so errors add up. 6 + 3 + 1 us at 10 %: measured, the longest leaves 0.4 x 10 %.
TEST(MeasurementGain, OpsOfOneRowAreOffTogether) {
  const ModelErrors table = errors(R"({"ops": ["*"], "p90": "10 %", "source": "invented"})");
  const auto gains = gains_by_name(chain({{"l0.m0.long", 6}, {"l0.m0.middle", 3}, {"l0.m0.short", 1}}), table);
  ASSERT_EQ(gains.size(), 3U);
  EXPECT_THAT(gains[0].names, ElementsAre("long"));
  EXPECT_DOUBLE_EQ(gains[0].share, 0.6);
  EXPECT_NEAR(gains[0].relative_then, 0.04, 1e-12);
  EXPECT_NEAR(gains[1].relative_then, 0.07, 1e-12);
  EXPECT_NEAR(gains[2].relative_then, 0.09, 1e-12);
}

// Rows are off independently: sqrt(0.05^2 + 0.1^2) = 11.2 %. The more uncertain half first, and 5 % is left.
TEST(MeasurementGain, RowsAreOffIndependently) {
  Trace trace = chain({{"sure", 5}, {"unsure", 5}});
  trace.roles[0][1].kind = "attention";
  const ModelErrors table = errors(
      R"({"ops": ["gemm"], "p90": "10 %", "source": "invented"}, {"ops": ["*"], "p90": "20 %", "source": "invented"})");
  const auto gains = gains_by_name(trace, table);
  ASSERT_EQ(gains.size(), 2U);
  EXPECT_EQ(gains[0].kind, "attention");
  EXPECT_NEAR(gains[0].relative_then, 0.05, 1e-12);
  EXPECT_NEAR(gains[1].relative_then, 0.10, 1e-12);
}

// 2 h / (1 - h^2) is the width of 1 / (1 - h) - 1 / (1 + h): of 0.5 it is 4 / 3, of 0.25 8 / 15.
TEST(MeasurementGain, NarrowerIsOfTheWidth) {
  EXPECT_NEAR(narrower(0.5, 0.25).value(), 1 - (8.0 / 15) / (4.0 / 3), 1e-12);
  EXPECT_EQ(narrower(0.5, 0).value(), 1);
  EXPECT_EQ(narrower(0, 0).value(), 0);
  EXPECT_FALSE(narrower(1.2, 0.4).has_value());
}

Json advice_of(const std::string& scenario, const std::vector<std::string>& more = {}) {
  std::vector<std::string> line = {"calibrate", "advise", scenario, "--json"};
  line.insert(line.end(), more.begin(), more.end());
  const Answer answer = foretoken_cli(line);
  EXPECT_EQ(answer.code, 0) << answer.err;
  Json json = Json::parse(answer.out);
  const plan::test::JsonSchema schema(Json::parse(foretoken_cli({"schema", "advice"}).out));
  EXPECT_THAT(schema.check(json), IsEmpty());
  return json;
}

class Advised : public ::testing::TestWithParam<const char*> {};

// Shares add up to what is no gap; every one makes the interval narrower, the first by most.
TEST_P(Advised, AccountsForTheWholePath) {
  const Json json = advice_of(GetParam());
  double share = 0;
  double last = 0;
  for (const Json& one : json["measurements"]) {
    share += one["share"].get<double>();
    EXPECT_GE(one["tpot_relative_then"], last);
    last = one["tpot_relative_then"];
    EXPECT_GE(one["narrower"], -1e-12);
    EXPECT_LT(one["narrower"], 1);
  }
  EXPECT_NEAR(share, 1 - json["interval"]["provenance"]["gaps"].get<double>(), 1e-9);
  EXPECT_LE(last, json["interval"]["first_order"]["tpot_relative"]);
}

// A line for score names the op that was simulated: where nothing that is sent takes SMs or memory bandwidth from what
// runs beside it, `predict` says that the kernel takes exactly as long as it took.
TEST_P(Advised, LinesAreOfTheOpsThatWereSimulated) {
  const fs::path folder = fs::temp_directory_path() / ("foretoken_advice_" + std::to_string(::getpid()));
  fs::create_directory(folder);
  Json calibration = Json::parse(std::ifstream("topologies/calibrations/h100-sxm.json"));
  calibration["interference"]["memory_bytes"] = {{"sent", 0}, {"received", 0}};
  for (Json& sms : calibration["interference"]["sms"]) sms = 0;
  const std::string undisturbed = (folder / "undisturbed.json").string();
  std::ofstream(undisturbed) << calibration;
  const std::string op = (folder / "op.jsonl").string();
  int kernels = 0;
  const Json advice = advice_of(GetParam(), {"--calibration", undisturbed});
  for (const Json& one : advice["measurements"]) {
    const auto command = one["command"].get<std::string>();
    if (command.substr(0, 6) != "echo '") continue;
    std::string line = command.substr(6, command.rfind('\'') - 6);
    line.replace(line.find("US}"), 2, "1");
    ASSERT_TRUE(Json::accept(line)) << line;
    std::ofstream(op) << line << "\n";
    const Answer answer = foretoken_cli({"predict", op, "--calibration", undisturbed});
    ASSERT_EQ(answer.code, 0) << line << answer.out;
    const Json predicted = Json::parse(answer.out);
    if (predicted.contains("ranks")) continue;  // an idle cluster's
    ++kernels;
    EXPECT_NEAR(one["predicted_us"].get<double>(), predicted["time_us"].get<double>(), 1e-5) << line;
  }
  fs::remove_all(folder);
  EXPECT_GT(kernels, 0);
}

INSTANTIATE_TEST_SUITE_P(Paper, Advised,
                         ::testing::Values("scenarios/paper/baseline-tp8-pp2.json", "scenarios/paper/large-ep64.json"));

TEST(AdviseCommand, SaysWhatToRun) {
  const Answer answer = foretoken_cli({"calibrate", "advise", "scenarios/paper/large-ep64.json", "--top", "3"});
  ASSERT_EQ(answer.code, 0) << answer.err;
  EXPECT_THAT(answer.out, AllOf(HasSubstr("By how much narrower that gets"), HasSubstr("grouped_gemm (expert_"),
                                HasSubstr("| foretoken score"), HasSubstr("more (--top)")));
}

TEST(AdviseCommand, NeedsToKnowHowFarTheCalibrationIsOff) {
  // Of another name, so that no shipped errors are its.
  Json calibration = Json::parse(std::ifstream("topologies/calibrations/h100-sxm.json"));
  calibration["name"] = "unknown";
  const fs::path file = fs::temp_directory_path() / ("foretoken_advise_" + std::to_string(::getpid()) + ".json");
  std::ofstream(file) << calibration;
  const Answer answer =
      foretoken_cli({"calibrate", "advise", "scenarios/paper/large-ep64.json", "--calibration", file.string()});
  EXPECT_EQ(answer.code, 2);
  EXPECT_THAT(answer.err, HasSubstr("give --errors FILE"));
  fs::remove(file);
}

}  // namespace
}  // namespace foretoken::explain
