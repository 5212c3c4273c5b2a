// foretoken simulate's 90 % interval, first order and by draws, through the command line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/cli/command_line.hpp"
#include "tests/plan/json_schema.hpp"
#include "tools/cli/cli.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::json;
using test::Answer;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Answer simulate(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "simulate");
  return test::foretoken_cli(arguments);
}

constexpr const char* kBaseline = "scenarios/paper/baseline-tp8-pp2.json";

// A chain of stages: no other path takes over, and the two agree within what 300 draws leave open.
TEST(Interval, DrawsAgreeWithFirstOrder) {
  const Answer answer = simulate({kBaseline, "--interval", "mc:300:7", "--json"});
  ASSERT_EQ(answer.code, 0) << answer.err;
  const Json json = Json::parse(answer.out);
  std::ostringstream text, err;
  ASSERT_EQ(run({"schema", "result"}, text, err), 0);
  EXPECT_THAT(plan::test::JsonSchema(Json::parse(text.str())).check(json), IsEmpty());
  const Json& interval = json["interval"];
  EXPECT_EQ(interval["monte_carlo"]["draws"], 300);
  EXPECT_EQ(interval["monte_carlo"]["seed"], 7);
  for (const char* figure : {"tpot_ms", "step_ms", "tps"})
    for (const int end : {0, 1}) {
      const double first_order = interval["first_order"][figure][end];
      EXPECT_NEAR(interval["monte_carlo"][figure][end].get<double>(), first_order, 0.12 * first_order) << figure;
    }
  double shares = 0;
  for (const auto& [name, share] : interval["provenance"].items()) shares += share.get<double>();
  EXPECT_NEAR(shares, 1, 1e-9);
}

// Each draw simulated: the same draws as of a trace timed anew, whose figures those of a run that shares links little
// are.
TEST(Interval, SimulatedDrawsAgreeWithRetimedOnes) {
  const auto drawn = [](const char* method) {
    const Answer answer =
        simulate({"scenarios/laptop/large-ep-r16.json", "--set",
                  "cluster.topology=../../topologies/hgx-h100-2nodes-ndr400.json", "--interval", method, "--json"});
    EXPECT_EQ(answer.code, 0) << answer.err;
    return Json::parse(answer.out)["interval"]["monte_carlo"];
  };
  const Json retimed = drawn("mc:100:3"), simulated = drawn("sim:100:3");
  EXPECT_FALSE(retimed["simulated"].get<bool>());
  EXPECT_TRUE(simulated["simulated"].get<bool>());
  for (const int end : {0, 1}) {
    const double other = retimed["tpot_ms"][end];
    EXPECT_NEAR(simulated["tpot_ms"][end].get<double>(), other, 0.05 * other);
  }
}

TEST(Interval, IsSaidWithoutBeingAskedFor) {
  const Answer answer = simulate({kBaseline});
  ASSERT_EQ(answer.code, 0) << answer.err;
  EXPECT_THAT(answer.out, AllOf(HasSubstr("TPOT rests on: "), HasSubstr("  90 %: TPOT "), HasSubstr("off by ")));
}

TEST(Interval, SaysWhyThereIsNone) {
  // Of another name, so that no shipped errors are its.
  Json calibration = Json::parse(std::ifstream("topologies/calibrations/h100-sxm.json"));
  calibration["name"] = "unknown";
  const auto file = std::filesystem::temp_directory_path() / ("foretoken_interval_" + std::to_string(::getpid()));
  std::ofstream(file) << calibration;
  const Answer without = simulate({kBaseline, "--calibration", file.string()});
  EXPECT_EQ(without.code, 0) << without.err;
  EXPECT_THAT(without.out, HasSubstr("No 90 % interval: it is not known how far calibration "));
  EXPECT_EQ(simulate({kBaseline, "--calibration", file.string(), "--interval", "mc:100"}).code, 2);
  EXPECT_EQ(simulate({kBaseline, "--calibration", file.string(), "--interval", "sim:100"}).code, 2);
  std::filesystem::remove(file);
}

TEST(Interval, RefusesOtherMethods) {
  for (const char* method : {"mc", "mc:", "mc:99", "mc:1000001", "mc:100:", "mc:100:-1", "mc:1e3", "sim",
                             "sim:", "sim:99", "sim:100:-1", "sim:1000001", "second-order"}) {
    const Answer answer = simulate({kBaseline, "--interval", method});
    EXPECT_EQ(answer.code, 2) << method;
    EXPECT_THAT(answer.err, HasSubstr("write first-order, or mc:N"));
  }
  for (const char* digits : {"0", "13", "1.5", "\"2\""})
    EXPECT_EQ(simulate({kBaseline, "--set", std::string("published.digits=") + digits}).code, 2) << digits;
  EXPECT_THAT(simulate({kBaseline, "--interval", "sim:100", "--brief"}).err, HasSubstr("one line has no room"));
  EXPECT_THAT(simulate({kBaseline, "--interval", "mc:100", "--layers-sampled", "2"}).err,
              HasSubstr("--interval mc:100 is given too"));
}

}  // namespace
}  // namespace foretoken::cli
