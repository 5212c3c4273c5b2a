// foretoken compare from end to end: results that the command itself stored, the binary as users call it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "foretoken_places.hpp"
#include "tests/cli/command_line.hpp"
#include "tests/explain/hand_results.hpp"
#include "tests/plan/json_schema.hpp"

namespace foretoken::explain {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
namespace fs = std::filesystem;
using test::Answer;
using test::text_of;

// Two ranks of one node, three layers of two all-reduces each, which go directly between the two.
constexpr const char* kCompared = R"({
  "kind": "scenario", "schema_version": 1, "name": "small",
  "model": {"name": "tiny", "layers": 3, "hidden": 64, "heads": 4, "head_dim": 16, "experts": 4, "top_k": 2,
            "expert_hidden": 64, "gated": false, "dtype": {"weights": "fp32"}},
  "workload": {"kind": "decode", "sequences": 8, "context": 5},
  "routing": {"kind": "uniform", "seed": 1, "routed_steps": 2},
  "deployment": {"attention": {"tp": 2, "dp": 1}, "experts": {"placement": "colocated", "exchange": "all_reduce"},
                 "collectives": {"all_reduce": "direct"}},
  "measure": {"warmup_steps": 1, "steps": 4}
})";
constexpr std::int64_t kCountedSteps = 4;
constexpr std::int64_t kAllReduces = 6;

std::string source_file(const std::string& path) { return std::string(FORETOKEN_SOURCE_DIR) + "/" + path; }

class CompareCommand : public testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() / ("foretoken_compare_" + std::to_string(::getpid()) + "_" +
                                          testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder);
    fs::create_directories(folder);
    Json scenario = Json::parse(kCompared);
    scenario["cluster"]["topology"] = source_file("topologies/hgx-h100-2nodes-ndr400.json");
    write("small.json", scenario.dump());
  }
  void TearDown() override { fs::remove_all(folder); }

  void write(const std::string& name, const std::string& text) { std::ofstream(folder / name) << text; }

  /// Runs the command in the folder; arguments are words of a shell.
  [[nodiscard]] Answer foretoken(const std::string& arguments) const {
    const std::string line = "cd '" + folder.string() + "' && '" + FORETOKEN_BINARY + "' " + arguments + " >out 2>err";
    const int status = std::system(line.c_str());  // NOLINT(concurrency-mt-unsafe)
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, text_of(folder / "out"), text_of(folder / "err")};
  }
  Answer must(const std::string& arguments) const {  // NOLINT(modernize-use-nodiscard): for its effect, too
    Answer answer = foretoken(arguments);
    EXPECT_EQ(answer.code, 0) << arguments << ": " << answer.err;
    return answer;
  }

  /// The H100 calibration with one duration longer by so many microseconds.
  void write_slower(const std::string& name, const std::string& pointer, double microseconds) {
    Json calibration = Json::parse(text_of(source_file("topologies/calibrations/h100-sxm.json")));
    Json& value = calibration[Json::json_pointer(pointer)];
    value = std::to_string(std::stod(value.get<std::string>()) + microseconds) + " us";
    calibration["name"] = name;
    write(name, calibration.dump());
  }
  [[nodiscard]] Json comparison(const std::string& arguments) const {
    Json json = Json::parse(must("compare " + arguments + " --json").out);
    const plan::test::JsonSchema schema(Json::parse(must("schema comparison").out));
    EXPECT_THAT(schema.check(json), IsEmpty());
    return json;
  }

  fs::path folder;
};

std::int64_t sum_of(const Json& waterfall) {
  std::int64_t sum = 0;
  for (const Json& part : waterfall["parts"]) sum += part["difference_ps"].get<std::int64_t>();
  return sum;
}

// Every all-reduce of A takes 10 us longer: 6 in each of 4 steps are 240 us, and nothing else changes.
TEST_F(CompareCommand, NamesALatencyThatWasInjected) {
  write_slower("slower.json", "/network/direct/base_latency", 10);
  must("simulate small.json --calibration slower.json --out a.json");
  must("simulate small.json --out b.json");
  const Json json = comparison("a.json b.json");
  const Json& tpot = json["tpot"];
  EXPECT_EQ(sum_of(tpot), tpot["difference_ps"].get<std::int64_t>());
  EXPECT_EQ(tpot["steps"], kCountedSteps);
  EXPECT_EQ(tpot["difference_ps"], kCountedSteps * kAllReduces * 10'000'000);
  EXPECT_EQ(tpot["parts"][0]["cause"], "exposed");
  EXPECT_EQ(tpot["parts"][0]["of"], "all_reduce");
  EXPECT_EQ(tpot["parts"][0]["difference_ps"], kCountedSteps * kAllReduces * 10'000'000);
  for (std::size_t i = 1; i < tpot["parts"].size(); ++i) EXPECT_EQ(tpot["parts"][i]["difference_ps"], 0);
  EXPECT_EQ(tpot["errors_cancel"], false);
  EXPECT_EQ(json["a"]["calibration"], "slower.json");
  EXPECT_GT(json["figures"]["tpot_mean_ms"]["error"].get<double>(), 0);

  // Two all-reduces of each layer.
  const Json layers = comparison("a.json b.json --by layer");
  EXPECT_EQ(layers["by"], "layer");
  EXPECT_EQ(sum_of(layers["tpot"]), kCountedSteps * kAllReduces * 10'000'000);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(layers["tpot"]["parts"][i]["of"], "layer " + std::to_string(i));
    EXPECT_EQ(layers["tpot"]["parts"][i]["difference_ps"], kCountedSteps * 2 * 10'000'000);
  }

  const std::string text = must("compare a.json b.json").out;
  EXPECT_THAT(text, HasSubstr("Largest cause: communication of all_reduce that no compute hides"));
  EXPECT_THAT(text, HasSubstr(" more in A than in B"));
  EXPECT_THAT(text, HasSubstr("If B is right, A's TPS is"));
  EXPECT_THAT(text, Not(HasSubstr("Errors cancel")));
}

// Element-wise kernels of B take 2 us longer, and its all-reduces of A 10 us: the causes have opposite signs.
TEST_F(CompareCommand, SaysThatErrorsCancel) {
  write_slower("latency.json", "/network/direct/base_latency", 10);
  write_slower("kernels.json", "/compute/memory/floor", 2);
  must("simulate small.json --calibration latency.json --out a.json");
  must("simulate small.json --calibration kernels.json --out b.json");
  const Json tpot = comparison("a.json b.json")["tpot"];
  EXPECT_EQ(sum_of(tpot), tpot["difference_ps"].get<std::int64_t>());
  EXPECT_EQ(tpot["longer_ps"], kCountedSteps * kAllReduces * 10'000'000);
  // A whole number of kernels in every step.
  const auto shorter = tpot["shorter_ps"].get<std::int64_t>();
  EXPECT_LT(shorter, 0);
  EXPECT_EQ(shorter % (kCountedSteps * 2'000'000), 0);
  EXPECT_EQ(tpot["errors_cancel"], true) << tpot;
  EXPECT_THAT(must("compare a.json b.json").out, HasSubstr("Errors cancel: parts add up to +"));
}

TEST_F(CompareCommand, OfAResultWithItself) {
  must("simulate small.json --out a.json");
  const Json json = comparison("a.json a.json --fail-if 'tpot>0%'");
  for (const auto& figure : json["figures"]) EXPECT_EQ(figure["error"], 0);
  EXPECT_EQ(json["tpot"]["difference_ps"], 0);
  EXPECT_THAT(must("compare a.json a.json").out, HasSubstr("A and B are equal in every part."));
}

// A live run beside the prediction: other clocks, other durations, the same plan; the sum is exact all the same.
TEST_F(CompareCommand, PredictionAndLiveRunAddUp) {
  must("simulate small.json --out a.json");
  must("run small.json --out b.json");
  const Json json = comparison("a.json b.json");
  EXPECT_EQ(sum_of(json["tpot"]), json["tpot"]["difference_ps"].get<std::int64_t>());
  EXPECT_EQ(json["b"]["clock"], "wall");
  // The headline run and its instrumented repetition took different time.
  std::int64_t instrumentation = 0;
  for (const Json& part : json["tpot"]["parts"])
    if (part["cause"] == "instrumentation") instrumentation = part["b_ps"].get<std::int64_t>();
  EXPECT_NE(instrumentation, 0);
  EXPECT_THAT(must("compare a.json b.json").out, HasSubstr("instrumentation"));
}

// The critical path of a live run tiles its window, too, and leads to both ranks: they meet six times a step.
TEST_F(CompareCommand, CriticalPathsOfPredictionAndLiveRun) {
  must("simulate small.json --out a.json");
  must("run small.json --out b.json");
  const Json json = comparison("a.json b.json --critical-path");
  for (const char* side : {"a", "b"}) {
    const Json& path = json["critical_path"][side];
    std::int64_t sum = 0;
    for (const Json& share : path["by_kind"]) sum += share["ps"].get<std::int64_t>();
    EXPECT_EQ(sum, path["end_ps"].get<std::int64_t>() - path["begin_ps"].get<std::int64_t>()) << side;
    EXPECT_EQ(path["rank"], json[side]["slowest_rank"]) << side;
  }
  EXPECT_THAT(must("compare a.json b.json --critical-path").out, HasSubstr("gaps"));
}

// Of live runs the CPU time per step is that of their traces: nothing is untraced.
TEST_F(CompareCommand, CpuTimeOfTwoLiveRunsAddsUp) {
  must("run small.json --out a.json");
  must("run small.json --out b.json");
  const Json json = comparison("a.json b.json --clock cpu");
  EXPECT_EQ(sum_of(json["cpu"]), json["cpu"]["difference_ps"].get<std::int64_t>());
  EXPECT_TRUE(json["figures"].contains("cpu_step_ms"));
  for (const Json& part : json["cpu"]["parts"])
    if (part["cause"] == "untraced") {
      EXPECT_EQ(part["a_ps"], 0);
      EXPECT_EQ(part["b_ps"], 0);
    }
}

// What a run measures may have more steps than what was predicted.
TEST_F(CompareCommand, StepsMayDiffer) {
  must("simulate small.json --out a.json");
  must("simulate small.json --set measure.steps=6 --out b.json");
  const Json json = comparison("a.json b.json");
  EXPECT_EQ(json["tpot"]["steps"], 12);
  EXPECT_EQ(sum_of(json["tpot"]), json["tpot"]["difference_ps"].get<std::int64_t>());
}

TEST_F(CompareCommand, GatesFailWithFourAfterTheComparison) {
  write_slower("slower.json", "/network/direct/base_latency", 100);
  must("simulate small.json --calibration slower.json --out a.json");
  must("simulate small.json --out b.json");
  const Answer failed =
      foretoken("compare a.json b.json --fail-if 'tpot>10%' --fail-if 'tps > 99.9%' --fail-if 'step>1%'");
  EXPECT_EQ(failed.code, 4);
  EXPECT_THAT(failed.out, HasSubstr("= TPOT"));
  EXPECT_THAT(failed.err, HasSubstr("gate failed: --fail-if 'tpot>10%': the error is +"));
  EXPECT_THAT(failed.err, HasSubstr("'step>1%'"));
  EXPECT_THAT(failed.err, Not(HasSubstr("tps")));
  const Answer machine = foretoken("compare a.json b.json --json --fail-if 'tpot>10%' --fail-if 'tps>99.9%'");
  EXPECT_EQ(machine.code, 4);
  const Json gates = Json::parse(machine.out)["gates"];
  EXPECT_EQ(gates[0]["failed"], true);
  EXPECT_EQ(gates[1]["failed"], false);
  must("compare a.json b.json --fail-if 'tpot>1e9%'");
}

TEST_F(CompareCommand, DifferentPlansAreRefused) {
  must("simulate small.json --out a.json");
  must("simulate small.json --set workload.sequences=16 --out b.json");
  const Answer answer = foretoken("compare a.json b.json --json");
  EXPECT_EQ(answer.code, 2);
  EXPECT_EQ(answer.out, "");
  EXPECT_THAT(answer.err, HasSubstr("/workload/sequences: 8 in A, 16 in B"));
}

TEST_F(CompareCommand, StoredListsAndPrintedResultsAreRefused) {
  must("simulate small.json small.json --out list.json");
  EXPECT_THAT(foretoken("compare list.json list.json").err, HasSubstr("list.json: a list of 2 results"));
  write("printed.json", must("simulate small.json --json").out);
  const Answer answer = foretoken("compare printed.json printed.json");
  EXPECT_EQ(answer.code, 2);
  EXPECT_THAT(answer.err, HasSubstr("the result was stored without its trace"));
}

TEST_F(CompareCommand, OneResultIsComparedWithWhatWasPublished) {
  must("simulate '" + source_file("scenarios/paper/large-ep64.json") + "' --out a.json");
  const Json result = Json::parse(text_of(folder / "a.json"));
  const Json json = comparison("a.json");
  for (const auto& [figure, error] : {std::pair("tps", "tps_error"), std::pair("tpot_mean_ms", "tpot_error")})
    EXPECT_NEAR(json["figures"][figure]["error"].get<double>(), result["published"][error].get<double>(), 1e-12);
  EXPECT_EQ(json["figures"].size(), 2u);
  EXPECT_EQ(json["published"]["source"], result["published"]["source"]);
  EXPECT_THAT(must("compare a.json").out, HasSubstr("If the published figures are right, A's TPS is"));
  EXPECT_EQ(foretoken("compare a.json --fail-if 'tpot>0.1%'").code, 4);

  must("simulate small.json --out unpublished.json");
  const Answer answer = foretoken("compare unpublished.json");
  EXPECT_EQ(answer.code, 2);
  EXPECT_THAT(answer.err, HasSubstr("nothing was published for this scenario"));
}

// What ops of the critical path add to the error of TPOT adds up by squares, and decides where a published figure lies.
TEST_F(CompareCommand, FiguresHaveIntervalsAndVerdicts) {
  must("simulate '" + source_file("scenarios/paper/large-ep64.json") + "' --out a.json");
  const Json json = comparison("a.json");
  const double off = json["intervals"]["tpot_relative"];
  EXPECT_EQ(json["intervals"]["errors"], "errors/h100-sxm.json");
  double squares = 0;
  for (const Json& part : json["intervals"]["parts"])
    squares += part["error"].get<double>() * part["error"].get<double>();
  EXPECT_NEAR(squares, off * off, 1e-12);
  const Json& tpot = json["figures"]["tpot_mean_ms"];
  EXPECT_NEAR(tpot["interval"][0].get<double>(), tpot["a"].get<double>() / (1 + off), 1e-9);
  EXPECT_NEAR(tpot["interval"][1].get<double>(), tpot["a"].get<double>() / (1 - off), 1e-9);
  EXPECT_EQ(tpot["verdict"], tpot["b"] < tpot["interval"][0] ? "outside" : "inside");

  // Every op off by up to 90 %: everything agrees.
  write("errors.json", R"({"kind": "model_errors", "schema_version": 1, "errors":
                           [{"ops": ["*"], "p90": "90 %", "assumed": true, "source": "a test"}]})");
  EXPECT_EQ(comparison("a.json --errors errors.json")["figures"]["tps"]["verdict"], "inside");
  EXPECT_THAT(must("compare a.json --errors errors.json").out, HasSubstr("other ops"));
}

// Of two predictions what both rest on alike cancels: with one more than the other in nothing, all of it.
TEST_F(CompareCommand, ErrorsThatPredictionsShareCancel) {
  must("simulate small.json --out a.json");
  const Json same = comparison("a.json a.json");
  EXPECT_EQ(same["intervals"]["of"], "ratio");
  EXPECT_EQ(same["intervals"]["tpot_relative"], 0);
  EXPECT_EQ(same["figures"]["tps"]["verdict"], "inside");
}

TEST_F(CompareCommand, SaysWhyThereAreNoIntervals) {
  write_slower("slower.json", "/network/direct/base_latency", 10);
  must("simulate small.json --calibration slower.json --out a.json");
  must("run small.json --out b.json");
  EXPECT_THAT(comparison("a.json b.json")["intervals"]["why_not"], HasSubstr("how far calibration slower.json is off"));
  EXPECT_THAT(comparison("b.json a.json")["intervals"]["why_not"], HasSubstr("A was measured"));
  EXPECT_THAT(must("compare a.json b.json").out, HasSubstr("No 90 % interval: it is not known"));
}

TEST_F(CompareCommand, CpuTimeIsExplainedToo) {
  StoredResult a = test::steady({}), b = test::steady({});
  a.trace.cpu.assign(a.trace.size(), SimTime(3'000));
  b.trace.cpu.assign(b.trace.size(), SimTime(2'000));
  a.cpu_step = Seconds(12e-9);  // 4 ops of 3 ns
  b.cpu_step = Seconds(9e-9);   // 4 ops of 2 ns, and 1 ns that no op has
  write("a.json", test::stored_json(a).dump());
  write("b.json", test::stored_json(b).dump());
  const Json json = comparison("a.json b.json --clock cpu");
  EXPECT_EQ(json["cpu"]["difference_ps"], 2 * 3'000);
  EXPECT_EQ(sum_of(json["cpu"]), 2 * 3'000);
  EXPECT_NEAR(json["figures"]["cpu_step_ms"]["error"].get<double>(), 1.0 / 3, 1e-12);
  const std::string text = must("compare a.json b.json --clock cpu").out;
  EXPECT_THAT(text, HasSubstr("untraced"));
  EXPECT_THAT(text, HasSubstr("Largest cause: CPU time of all_reduce"));
  EXPECT_EQ(foretoken("compare a.json b.json --fail-if 'cpu>30%'").code, 4);

  must("simulate small.json --out without.json");
  EXPECT_THAT(foretoken("compare without.json without.json --clock cpu").err, HasSubstr("there is no CPU time"));
}

TEST_F(CompareCommand, HelpHasAnExample) {
  EXPECT_THAT(must("compare --help").out, HasSubstr("foretoken compare predicted.json measured.json"));
}

}  // namespace
}  // namespace foretoken::explain
