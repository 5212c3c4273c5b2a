// Causes injected through the simulator or the plan: compare names each of them first, and its parts and its findings
// add up to the difference in TPOT to the picosecond.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/plan/json_schema.hpp"
#include "tools/cli/cli.hpp"

namespace foretoken::explain {
namespace {

using Json = nlohmann::json;
using Words = std::vector<std::string>;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

constexpr const char* kEp64 = "scenarios/paper/large-ep64.json";
constexpr const char* kEp16 = "scenarios/paper/scaling-ep16.json";
constexpr const char* kPipeline = "scenarios/paper/baseline-tp8-pp2.json";

class InjectedCauses : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() / ("foretoken_injected_" + std::to_string(::getpid()));
    fs::remove_all(folder);
    fs::create_directories(folder);
    store("b.json", {});
  }
  void TearDown() override { fs::remove_all(folder); }

  [[nodiscard]] std::string file(const std::string& name) const { return (folder / name).string(); }

  static std::string answer_of(const Words& words) {
    std::ostringstream out, err;
    EXPECT_EQ(cli::run(words, out, err), 0) << err.str();
    return out.str();
  }

  void store(const std::string& name, const Words& more) const {
    Words words{"simulate", GetParam(), "--out", file(name)};
    words.insert(words.end(), more.begin(), more.end());
    answer_of(words);
  }

  /// The H100 calibration, changed.
  template <class Change>
  [[nodiscard]] std::string damaged(const Change& change) const {
    Json calibration = Json::parse(std::ifstream("topologies/calibrations/h100-sxm.json"));
    change(calibration);
    calibration["name"] = "damaged";
    std::ofstream(file("damaged.json")) << calibration.dump();
    return file("damaged.json");
  }

  /// a.json against b.json; checks the sums.
  [[nodiscard]] Json compared(bool across = false) const {
    Words words{"compare", file("a.json"), file("b.json"), "--json"};
    if (across) words.emplace_back("--across");
    const Json json = Json::parse(answer_of(words));
    const plan::test::JsonSchema schema(Json::parse(answer_of({"schema", "comparison"})));
    EXPECT_THAT(schema.check(json), IsEmpty());
    std::int64_t parts = 0, findings = 0;
    for (const Json& part : json["tpot"]["parts"]) parts += part["difference_ps"].get<std::int64_t>();
    for (const Json& finding : json["findings"]) findings += finding["explains_ps"].get<std::int64_t>();
    EXPECT_EQ(parts, json["tpot"]["difference_ps"].get<std::int64_t>());
    EXPECT_EQ(findings, parts);
    EXPECT_NE(parts, 0);
    return json;
  }

  /// The first finding; it explains at least nine tenths, or what is said.
  static Json first(const Json& json, const std::string& cause, double share = 0.9) {
    const Json& finding = json["findings"][0];
    EXPECT_EQ(finding["cause"], cause) << json["findings"];
    EXPECT_GE(finding["explains_ps"].get<double>(), share * json["tpot"]["difference_ps"].get<double>());
    return finding;
  }

  fs::path folder;
};

// Slower by e^0.26236 = 1.3, all but the shortest, which launching bounds. Other ranks wait for them: that is no cause.
TEST_P(InjectedCauses, SlowerGemms) {
  store("a.json", {"--calibration", damaged([](Json& calibration) {
                     for (Json& gemm : calibration["compute"]["gemm"])
                       for (Json& value : gemm["log_slowdown"]["values"]) value = value.get<double>() + std::log(1.3);
                   })});
  const Json finding = first(compared(), "kernels", 0.85);
  EXPECT_EQ(finding["of"], "grouped_gemm");
  EXPECT_NEAR(finding["factor"].get<double>(), 1.3, 0.001);
}

// 20 us more for each exchange across nodes, or, in the pipeline, for each all-reduce in a node.
TEST_P(InjectedCauses, ExtraLatency) {
  store("a.json", {"--calibration", damaged([](Json& calibration) {
                     for (const char* place :
                          {"/network/dispatch/latency_across_nodes", "/network/combine/latency_across_nodes",
                           "/network/dispatch/latency_one_node", "/network/combine/latency_one_node",
                           "/network/ring/base_latency", "/network/direct/base_latency", "/network/nvls/latency"}) {
                       Json& latency = calibration[Json::json_pointer(place)];
                       latency = std::to_string(std::stod(latency.get<std::string>()) + 20) + " us";
                     }
                   })});
  const Json json = compared();
  if (GetParam() == kPipeline) {  // its all-reduces are all of one size
    const Json finding = first(json, "communication");
    EXPECT_NEAR(finding["each_us"].get<double>(), 20, 1e-6);
    EXPECT_GT(finding["factor"].get<double>(), 1);
  } else EXPECT_NEAR(first(json, "latency")["each_us"].get<double>(), 20, 1e-6);
}

TEST_P(InjectedCauses, SlowerLink) {
  store("a.json", {"--set", "cluster.nic=\"100 Gb/s\""});
  const Json json = compared(true);
  if (GetParam() == kPipeline) first(json, "communication");  // its messages between nodes are all of one size
  else EXPECT_GT(first(json, "link")["factor"].get<double>(), 1.5);
  EXPECT_THAT(json["only_difference"].get<std::string>(), HasSubstr("/cluster/nic"));
}

TEST_P(InjectedCauses, SlowGpu) {
  store("a.json", {"--set", R"(faults=[{"gpu": "node1.gpu2", "speed": "60 %"}])"});
  const Json finding = first(compared(), "straggler");
  EXPECT_EQ(finding["of"], "rank 10");
  EXPECT_NEAR(finding["factor"].get<double>(), 1 / 0.6, 0.001);

  // The slow one as B.
  fs::rename(file("a.json"), file("c.json"));
  fs::rename(file("b.json"), file("a.json"));
  fs::rename(file("c.json"), file("b.json"));
  const Json turned = compared();
  EXPECT_EQ(turned["findings"][0]["cause"], "straggler");
  EXPECT_EQ(turned["findings"][0]["of"], "rank 10 of B");
  EXPECT_EQ(turned["findings"][0]["explains_ps"].get<std::int64_t>(), -finding["explains_ps"].get<std::int64_t>());
}

// Every time of A by a clock that is 1 % fast.
TEST_P(InjectedCauses, ClockDrift) {
  Json result = Json::parse(std::ifstream(file("b.json")));
  for (const char* column : {"posted", "begun", "ended"})
    for (Json& time : result["trace"]["events"][column]) {
      const auto ps = time.get<std::int64_t>();
      time = ps + ps / 100;  // in the same order
    }
  for (const char* figure : {"tpot_ms", "step_ms"})
    for (Json& value : result[figure])
      if (value.is_number()) value = value.get<double>() * 1.01;
  std::ofstream(file("a.json")) << result.dump();
  EXPECT_NEAR(first(compared(), "clock")["factor"].get<double>(), 1.01, 1e-5);
}

TEST_P(InjectedCauses, LaunchGaps) {
  store("a.json", {"--set", R"(execution={"mode": "graph", "gap": "5 us"})"});
  first(compared(), "gaps");
  store("a.json", {"--set", R"(execution={"mode": "eager", "launch": "150 us"})"});
  first(compared(), "gaps");
}

// What the program is asked to do is named by the scenarios, as all that differs; what follows from it adds up.
TEST_P(InjectedCauses, SmallerBatch) {
  store("a.json", {"--set", "workload.sequences=512"});
  EXPECT_EQ(compared(true)["only_difference"], "/workload/sequences: 512 in A, 1024 in B");
  EXPECT_THAT(answer_of({"compare", file("a.json"), file("b.json"), "--across"}),
              HasSubstr("Why: all of it follows from /workload/sequences: 512 in A, 1024 in B"));

  // Not if the calibration is another one, too.
  store("a.json", {"--set", "workload.sequences=512", "--calibration", damaged([](Json&) {})});
  const Json json = compared(true);
  EXPECT_FALSE(json.contains("only_difference"));
  EXPECT_THAT(json["configuration"], ElementsAre("/workload/sequences: 512 in A, 1024 in B"));
}

TEST_P(InjectedCauses, WrongDtype) {
  store("a.json", {"--set", "model.dtype.weights=\"fp32\""});
  const Json json = compared(true);
  EXPECT_EQ(json["only_difference"], R"(/model/dtype/weights: "fp32" in A, "fp16" in B)");
  EXPECT_EQ(first(json, "kernels", 0.7)["of"], "grouped_gemm");
}

INSTANTIATE_TEST_SUITE_P(
    Deployments, InjectedCauses, ::testing::Values(kEp64, kEp16, kPipeline), [](const auto& parameter) {
      return std::string(parameter.param == kEp64 ? "Ep64" : parameter.param == kEp16 ? "Ep16" : "Pipeline");
    });

class InjectedInExchange : public InjectedCauses {};

// A Zipf exponent of 1.2 sends a third of all tokens to one expert: its rank computes longer, and its port is the
// exchanges' bottleneck.
TEST_P(InjectedInExchange, HotExpert) {
  store("a.json", {"--set", "routing.kind=\"zipf\"", "--set", "routing.exponent=1.2"});
  const Json json = compared(true);
  first(json, "hot_expert", 0.5);
  EXPECT_THAT(json["configuration"][0], HasSubstr("/routing/exponent"));
}

TEST_P(InjectedInExchange, LostOverlap) {
  store("a.json", {"--set", "deployment.micro_batches=2"});
  store("b.json", {"--set", "deployment.micro_batches=2", "--set", "deployment.overlap=\"two_batch\""});
  first(compared(true), "overlap", 0.7);
}

INSTANTIATE_TEST_SUITE_P(Deployments, InjectedInExchange, ::testing::Values(kEp64, kEp16),
                         [](const auto& parameter) { return std::string(parameter.param == kEp64 ? "Ep64" : "Ep16"); });

}  // namespace
}  // namespace foretoken::explain
