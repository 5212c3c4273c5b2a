// foretoken simulate --layers-sampled and --accuracy, and collective --accuracy, through the command line.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/cli/command_line.hpp"
#include "tests/plan/json_schema.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
namespace fs = std::filesystem;
using test::Answer;
using test::foretoken_cli;

// 16 layers of the paper's series at 16 GPUs.
std::vector<std::string> simulate_ep16(const std::vector<std::string>& more) {
  std::vector<std::string> arguments{
      "simulate", "scenarios/paper/scaling-ep16.json", "--set", "model.layers=16", "--set", "model.hidden=1024",
      "--set",    "model.expert_hidden=4096"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

Json checked(const Answer& answer) {
  EXPECT_EQ(answer.code, 0) << answer.err;
  Json json = Json::parse(answer.out);
  const plan::test::JsonSchema schema(Json::parse(foretoken_cli({"schema", "result"}).out));
  EXPECT_THAT(schema.check(json), IsEmpty());
  return json;
}

TEST(LayersSampled, StatesItsErrorInTextAndJson) {
  const Answer text = foretoken_cli(simulate_ep16({"--layers-sampled", "4"}));
  ASSERT_EQ(text.code, 0) << text.err;
  EXPECT_THAT(text.out, AllOf(HasSubstr("4 of 16 layers simulated: with 90 % confidence"),
                              HasSubstr("experts    4 of  16 layers: "), HasSubstr("standard deviation")));
  const Json json = checked(foretoken_cli(simulate_ep16({"--layers-sampled", "4", "--json"})));
  const Json& sampling = json["layers_sampled"];
  EXPECT_EQ(sampling["sampled"], 4);
  EXPECT_EQ(sampling["strata"][0]["sampled"], Json({2, 6, 10, 14}));
  EXPECT_LT(sampling["tpot_interval_ms"][0], json["tpot_ms"]["mean"]);
  EXPECT_GT(sampling["tpot_interval_ms"][1], json["tpot_ms"]["mean"]);
  EXPECT_LT(sampling["tps_interval"][0], json["tps"]);
  EXPECT_GT(sampling["tps_interval"][1], json["tps"]);
  EXPECT_NEAR(json["tps"].get<double>() * json["tpot_ms"]["mean"].get<double>() / 1e3, 1024, 1e-6);
  // What it predicts is the plan of all layers.
  const Json all = checked(foretoken_cli(simulate_ep16({"--json"})));
  EXPECT_EQ(json["plan_hash"], all["plan_hash"]);
  EXPECT_FALSE(all.contains("layers_sampled"));
  EXPECT_NEAR(json["tpot_ms"]["mean"].get<double>() / all["tpot_ms"]["mean"].get<double>(), 1, 0.03);
}

TEST(LayersSampled, OfMoreThanThereAreIsTheRunItself) {
  const Json all = checked(foretoken_cli(simulate_ep16({"--json"})));
  Json sampled = checked(foretoken_cli(simulate_ep16({"--layers-sampled", "99", "--json"})));
  EXPECT_EQ(sampled["layers_sampled"]["tpot_error_ms"], 0);
  sampled.erase("layers_sampled");
  EXPECT_EQ(sampled, all);
}

TEST(LayersSampled, SaysWhyNot) {
  const auto refused = [](const std::vector<std::string>& more, const std::string& because) {
    const Answer answer = foretoken_cli(simulate_ep16(more));
    EXPECT_EQ(answer.code, 2);
    EXPECT_THAT(answer.err, HasSubstr(because));
    EXPECT_THAT(answer.out, IsEmpty());
  };
  for (const char* other : {"--explain", "--sensitivity", "--choices"})
    refused({"--layers-sampled", "4", other}, fmt::format("--layers-sampled 4: {} is given too", other));
  refused({"--layers-sampled", "4", "--trace", (fs::temp_directory_path() / "foretoken_timeline.json").string()},
          "--trace is given too");
  refused({"--layers-sampled", "1"}, "leaves one layer with experts");
  for (const char* wrong : {"0", "-4", "4.5", "1025", "four", ""})
    refused({"--layers-sampled", wrong}, "--layers-sampled");
  const Answer host = foretoken_cli({"simulate", "scenarios/laptop/large-ep-r2.json", "--layers-sampled", "1"});
  EXPECT_EQ(host.code, 2);
}

TEST(LayersSampled, IsNotToBeComparedOpByOp) {
  const std::string stored =
      (fs::temp_directory_path() / fmt::format("foretoken_sampled_{}.json", ::getpid())).string();
  ASSERT_EQ(foretoken_cli(simulate_ep16({"--layers-sampled", "4", "--out", stored})).code, 0);
  const Answer answer = foretoken_cli({"compare", stored, stored});
  EXPECT_EQ(answer.code, 2);
  EXPECT_THAT(answer.err, HasSubstr("was simulated with some of the model's layers"));
  fs::remove(stored);
}

// Errors that --accuracy allows are stated, with the one made; without it nothing is said, for there is none.
TEST(Accuracy, OfASimulationIsStatedWithTheErrorMade) {
  const Json exact = checked(foretoken_cli(simulate_ep16({"--json"})));
  EXPECT_EQ(checked(foretoken_cli(simulate_ep16({"--accuracy", "0", "--json"}))), exact);
  EXPECT_FALSE(exact.contains("sharing"));
  for (const double accuracy : {1e-3, 0.01, 0.1}) {
    const Json json = checked(foretoken_cli(simulate_ep16({"--accuracy", fmt::format("{}", accuracy), "--json"})));
    EXPECT_EQ(json["sharing"]["accuracy"], accuracy);
    EXPECT_GE(json["sharing"]["error"], 0);
    EXPECT_LE(json["sharing"]["error"], accuracy);
    EXPECT_NEAR(json["tpot_ms"]["mean"].get<double>() / exact["tpot_ms"]["mean"].get<double>(), 1, 2 * accuracy);
  }
  EXPECT_THAT(foretoken_cli(simulate_ep16({"--accuracy", "1e-3"})).out,
              HasSubstr("Links shared to an accuracy of 0.001, error made "));
  EXPECT_THAT(foretoken_cli(simulate_ep16({})).out, Not(HasSubstr("Links shared")));
}

std::vector<std::string> exchange(const std::vector<std::string>& more) {
  std::vector<std::string> arguments{"collective", "all_to_all_v",
                                     "--pattern",  "skewed",
                                     "--topology", "topologies/hgx-h100-2nodes-ndr400.json",
                                     "--sizes",    "1M"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

TEST(Accuracy, OfACollectiveIsStatedWithTheErrorMade) {
  const auto time_of = [](const Json& json) { return json["rows"][0]["time_us"].get<double>(); };
  const Answer plain = foretoken_cli(exchange({"--json"}));
  ASSERT_EQ(plain.code, 0) << plain.err;
  const Json exact = Json::parse(plain.out);
  EXPECT_EQ(exact["accuracy"], 0);
  EXPECT_EQ(exact["error"], 0);
  EXPECT_EQ(Json::parse(foretoken_cli(exchange({"--accuracy", "0", "--json"})).out), exact);
  for (const double accuracy : {1e-3, 0.1}) {
    const Json json = Json::parse(foretoken_cli(exchange({"--accuracy", fmt::format("{}", accuracy), "--json"})).out);
    EXPECT_EQ(json["accuracy"], accuracy);
    EXPECT_GE(json["error"], 0);
    EXPECT_LE(json["error"], accuracy);
    EXPECT_NEAR(time_of(json) / time_of(exact), 1, 2 * accuracy);
  }
  EXPECT_THAT(foretoken_cli(exchange({"--accuracy", "0.01"})).out, HasSubstr(", accuracy 0.01, error made "));
}

TEST(Accuracy, IsANumberFromNothingToATenth) {
  for (const char* wrong : {"-0.001", "0.11", "1", "nan", "much", "1e-3x", ""}) {
    for (const auto& arguments :
         {simulate_ep16({"--accuracy", wrong, "--json"}), exchange({"--accuracy", wrong, "--json"})}) {
      const Answer answer = foretoken_cli(arguments);
      EXPECT_EQ(answer.code, 2) << arguments.front() << " --accuracy " << wrong;
      EXPECT_THAT(answer.err, HasSubstr("--accuracy"));
      EXPECT_THAT(answer.out, IsEmpty());
    }
  }
}

TEST(Conditions, FaultsAndLaunchesStandInTheReport) {
  const std::vector<std::string> degraded{"--set", R"(faults=[{"nic":"node0.nic3","bandwidth":"50 %","from":"1 ms"}])",
                                          "--set", R"(execution={"mode":"eager"})"};
  const Answer text = foretoken_cli(simulate_ep16(degraded));
  ASSERT_EQ(text.code, 0) << text.err;
  EXPECT_THAT(text.out, AllOf(HasSubstr("  with node0.nic3 at 50 % of its bandwidth from 1"),
                              HasSubstr("  with eager launches\n")));
  std::vector<std::string> as_json = degraded;
  as_json.emplace_back("--json");
  EXPECT_EQ(checked(foretoken_cli(simulate_ep16(as_json)))["conditions"].size(), 2U);
  EXPECT_FALSE(checked(foretoken_cli(simulate_ep16({"--json"}))).contains("conditions"));
}

}  // namespace
}  // namespace foretoken::cli
