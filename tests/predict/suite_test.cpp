// The published suite and its gate against drift.
#include "tools/predict/suite.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "tests/plan/json_schema.hpp"
#include "tools/cli/cli.hpp"
#include "tools/predict/serving.hpp"

namespace foretoken::predict {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kSuite = "scenarios/published";
constexpr const char* kTopology = "topologies/hgx-h100-2nodes-ndr400.json";

AcceptedAccuracy accepted() { return read_accepted(JsonDocument::from_file(std::string(kSuite) + "/accepted.json")); }

class PublishedSuite : public testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() / ("foretoken_suite_" + std::to_string(::getpid()) + "_" +
                                          testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder);
    fs::create_directories(folder);
  }
  void TearDown() override { fs::remove_all(folder); }

  /// The shipped calibration, damaged.
  SuiteResult damaged(const std::function<void(Json&)>& by) {
    Json calibration = Json::parse(std::ifstream("topologies/calibrations/h100-sxm.json"));
    by(calibration);
    std::ofstream(folder / "damaged.json") << calibration.dump();
    Predictor predictor(kTopology, folder / "damaged.json", "");
    return run_suite(kSuite, predictor, accepted());
  }

  fs::path folder;
};

const FamilyDrift& family(const SuiteResult& result, const std::string& name) {
  for (const FamilyDrift& one : result.families)
    if (one.score.family.front() == name) return one;
  throw Error(ErrorCode::internal, "no family " + name);
}

/// Everything in this part of a calibration takes `factor` times as long: times longer, rates lower, slowdowns (natural
/// logarithms) larger.
void slow_down(Json& part, double factor) {
  if (part.is_object() && part.contains("log_slowdown"))
    for (Json& value : part["log_slowdown"]["values"]) value = value.get<double>() + std::log(factor);
  if (part.is_structured())
    for (Json& member : part) slow_down(member, factor);
  if (!part.is_string()) return;
  std::istringstream text(part.get<std::string>());
  double value = 0;
  std::string unit;
  if (!(text >> value >> unit)) return;
  if (unit == "us") part = std::to_string(value * factor) + " us";
  if (unit == "GB/s") part = std::to_string(value / factor) + " GB/s";
}

TEST_F(PublishedSuite, HasCasesInFiveFamiliesAndPassesItsGate) {
  Predictor predictor(kTopology, "", "");
  const SuiteResult result = run_suite(kSuite, predictor, accepted());
  EXPECT_GE(result.all.rows, 60);
  EXPECT_GE(result.families.size(), 5u);
  EXPECT_TRUE(result.passes()) << suite_text(result);
  EXPECT_GT(result.margin, 0);
  EXPECT_LE(result.margin, 0.03);
}

// 10 % slower or faster than fitted: compute, and the network.
TEST_F(PublishedSuite, TheGateFailsWithADamagedCalibration) {
  for (const double factor : {1.1, 1 / 1.1}) {
    const SuiteResult compute = damaged([&](Json& calibration) { slow_down(calibration["compute"], factor); });
    EXPECT_FALSE(compute.passes());
    EXPECT_EQ(family(compute, "gemm").drift, Drift::worse) << suite_text(compute);
    EXPECT_EQ(family(compute, "attention").drift, Drift::worse);
    EXPECT_EQ(family(compute, "deepep").drift, Drift::none);
    const SuiteResult network = damaged([&](Json& calibration) { slow_down(calibration["network"], factor); });
    EXPECT_FALSE(network.passes());
    EXPECT_EQ(family(network, "deepep").drift, Drift::worse) << suite_text(network);
    EXPECT_EQ(family(network, "gemm").drift, Drift::none);
  }
}

// One family better, another worse: both are shown, and the gate fails.
TEST_F(PublishedSuite, ImprovingOneFamilyByWorseningAnotherIsShown) {
  Predictor predictor(kTopology, "", "");
  AcceptedAccuracy before = accepted();
  before.median_abs["gemm"] = 0;
  before.median_abs["moe_module"] += 0.2;
  const SuiteResult result = run_suite(kSuite, predictor, before);
  EXPECT_EQ(family(result, "gemm").drift, Drift::worse);
  EXPECT_EQ(family(result, "moe_module").drift, Drift::better);
  EXPECT_FALSE(result.passes());
  const std::string text = suite_text(result);
  EXPECT_THAT(text, HasSubstr("WORSE"));
  EXPECT_THAT(text, HasSubstr("better"));
}

TEST_F(PublishedSuite, AFamilyThatWasAcceptedMustNotVanish) {
  Predictor predictor(kTopology, "", "");
  AcceptedAccuracy before = accepted();
  before.median_abs["gone"] = 0.01;
  const SuiteResult result = run_suite(kSuite, predictor, before);
  EXPECT_THAT(result.missing, testing::ElementsAre("gone"));
  EXPECT_FALSE(result.passes());
}

TEST_F(PublishedSuite, ACaseNeedsASource) {
  std::ofstream(folder / "mine.jsonl") << R"({"op": "gemm", "m": 1, "n": 1024, "k": 1024, "measured_us": 3})"
                                       << "\n";
  Predictor predictor(kTopology, "", "");
  try {
    static_cast<void>(run_suite(folder, predictor, std::nullopt));
    FAIL() << "was accepted";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("mine.jsonl:1"));
    EXPECT_THAT(error.what(), HasSubstr("\"source\" is missing"));
  }
}

// Every refusal names the line, whatever of the case is wrong; a folder without any case is no perfect score.
TEST_F(PublishedSuite, WhatCannotBeScoredIsRefusedByLine) {
  const auto refusal = [&](const std::string& line) {
    std::ofstream(folder / "mine.jsonl") << line << "\n";
    std::ostringstream out, err;
    EXPECT_EQ(cli::run({"compare", "--suite", folder.string()}, out, err), 2) << out.str();
    EXPECT_EQ(out.str(), "");
    return err.str();
  };
  const auto serving = [](const char* member, int value) {
    Json json{{"layers", 2},      {"hidden", 1024}, {"heads", 8},  {"kv_heads", 8},
              {"head_dim", 128},  {"vocab", 1000},  {"ffn", 1024}, {"tp", 4},
              {"concurrency", 1}, {"isl", 8},       {"osl", 8},    {"dtype", "bf16"}};
    json[member] = value;
    return Json{{"serving", json}, {"measured_us", 1}, {"source", "invented"}}.dump();
  };
  EXPECT_THAT(refusal(""), HasSubstr("its files have no cases"));
  EXPECT_THAT(refusal(serving("experts", 8)), HasSubstr("mine.jsonl:1#/serving: a mixture of experts has experts and"));
  EXPECT_THAT(refusal(serving("vocab", 3)), HasSubstr("mine.jsonl:1#/serving: 4 ranks share a vocabulary of 3"));
  EXPECT_THAT(refusal(serving("heads", 6)), HasSubstr("mine.jsonl:1#/serving: tp does not divide heads"));
  EXPECT_THAT(refusal(serving("kv_heads", 12)), HasSubstr("mine.jsonl:1#/serving: "));
}

TEST_F(PublishedSuite, OptionsOfComparingResultsAreRefused) {
  for (const std::vector<std::string>& more :
       std::vector<std::vector<std::string>>{{"--fail-if", "tpot>1%"}, {"--across"}, {"--trace", "x.json"}}) {
    std::vector<std::string> words{"compare", "--suite", kSuite};
    words.insert(words.end(), more.begin(), more.end());
    std::ostringstream out, err;
    EXPECT_EQ(cli::run(words, out, err), 2);
    EXPECT_THAT(err.str(), HasSubstr("--suite: " + more.front() + " is given too"));
  }
}

// A user's own case is two lines: nothing is accepted yet, and nothing fails.
TEST_F(PublishedSuite, AUserAddsACaseInALine) {
  std::ofstream(folder / "mine.jsonl")
      << R"({"op": "gemm", "m": 1, "n": 1024, "k": 1024, "measured_us": 3, "source": "my GPU"})"
      << "\n\n";
  std::ostringstream out, err;
  EXPECT_EQ(cli::run({"compare", "--suite", folder.string()}, out, err), 0) << err.str();
  EXPECT_THAT(out.str(), HasSubstr("mine"));
  EXPECT_EQ(cli::run({"compare", "--suite", folder.string(), "--gate"}, out, err), 2);
}

TEST_F(PublishedSuite, TheCommandExitsWithFourAndItsJsonFitsItsSchema) {
  Json calibration = Json::parse(std::ifstream("topologies/calibrations/h100-sxm.json"));
  slow_down(calibration["compute"], 1.1);
  std::ofstream(folder / "damaged.json") << calibration.dump();
  std::ostringstream out, err, schema, ignored;
  EXPECT_EQ(
      cli::run({"compare", "--suite", kSuite, "--gate", "--json", "--calibration", (folder / "damaged.json").string()},
               out, err),
      4);
  EXPECT_THAT(err.str(), HasSubstr("What improved elsewhere does not make up for it"));
  ASSERT_EQ(cli::run({"schema", "suite"}, schema, ignored), 0);
  EXPECT_THAT(plan::test::JsonSchema(Json::parse(schema.str())).check(Json::parse(out.str())), IsEmpty());
}

// C = 1: nobody's prefill is in between. With C = 5 and 2 tokens each, two prefills are between two tokens.
TEST(Serving, PrefillsOfOthersComeBetweenTokens) {
  ServingCase serving;
  serving.layers = 4;
  serving.hidden = 4096;
  serving.heads = 32;
  serving.kv_heads = 8;
  serving.head_dim = 128;
  serving.vocab = 32000;
  serving.ffn = 14336;
  serving.isl = 1024;
  serving.osl = 2;
  serving.concurrency = 5;
  Predictor predictor(kTopology, "", "");
  const Seconds long_prompts = predict_serving(serving, predictor).time;
  serving.isl = 2048;
  const Seconds longer_prompts = predict_serving(serving, predictor).time;
  EXPECT_GT(longer_prompts, 1.7 * long_prompts);  // prefill is nearly all of it
  serving.concurrency = 1;
  EXPECT_LT(predict_serving(serving, predictor).time, 0.2 * longer_prompts);
}

}  // namespace
}  // namespace foretoken::predict
