// foretoken calibrate host, end to end: what it writes can be used, and what it refuses leaves no file.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "core/calibration.hpp"
#include "plan/machine/topology.hpp"
#include "tests/cli/command_line.hpp"
#include "tools/cli/cli.hpp"

namespace foretoken::cli {
namespace {

namespace fs = std::filesystem;
using test::text_of;
using testing::HasSubstr;

constexpr const char* kScenario = R"({
  "kind": "scenario", "schema_version": 1, "name": "pair",
  "model": {"name": "tiny", "layers": 2, "hidden": 32, "heads": 4, "head_dim": 8, "experts": 4, "top_k": 2,
            "expert_hidden": 24, "gated": false, "dtype": {"weights": "fp32"}},
  "workload": {"kind": "decode", "sequences": 8, "context": 5},
  "routing": {"kind": "uniform", "seed": 1, "routed_steps": 2},
  "deployment": {"attention": {"tp": 2, "dp": 1},
                 "experts": {"placement": "colocated", "exchange": "all_reduce", "ep": 2}},
  "cluster": {"topology": "/proc/cpuinfo"},
  "measure": {"warmup_steps": 1, "steps": 2}
})";

class CalibrateHost : public testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() /
             (fmt::format("foretoken_{}_", ::getpid()) + testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder);
    fs::create_directories(folder);
    std::ofstream(folder / "pair.json") << kScenario;
  }
  void TearDown() override { fs::remove_all(folder); }

  int host(std::vector<std::string> more) {
    out.str("");
    err.str("");
    std::vector<std::string> arguments{"calibrate", "host", "--out", (folder / "host").string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments, out, err);
  }
  [[nodiscard]] std::string scenario() const { return (folder / "pair.json").string(); }

  fs::path folder;
  std::ostringstream out, err;
};

TEST_F(CalibrateHost, WritesWhatASimulationNeeds) {
  ASSERT_EQ(host({"--for", scenario(), "--budget", "2", "--json", "--seed", "7"}), 0) << err.str();
  EXPECT_THAT(err.str(), HasSubstr("left")) << "progress";
  const nlohmann::json summary = nlohmann::json::parse(out.str());
  EXPECT_EQ(summary.at("seed"), 7);
  EXPECT_EQ(summary.at("communicators"), nlohmann::json{"threads"});

  std::set<std::string> files;
  for (const auto& entry : fs::directory_iterator(folder / "host")) files.insert(entry.path().filename().string());
  EXPECT_EQ(files, (std::set<std::string>{"README.md", "calibration.json", "raw-samples.jsonl", "samples.csv",
                                          "topology.json"}));

  const fs::path file = folder / "host" / "calibration.json";
  const Calibration calibration = read_calibration(file);
  ASSERT_TRUE(calibration.host.has_value());
  EXPECT_EQ(calibration_text(calibration), text_of(file));

  const plan::Topology topology = plan::read_topology(folder / "host" / "topology.json");
  EXPECT_EQ(topology.cores_per_node, calibration.host->cores);
  EXPECT_TRUE(fs::equivalent(topology.calibration, file));
  EXPECT_THAT(text_of(folder / "host" / "README.md"), HasSubstr("| pair | threads |"));

  // The same folder again: what was measured before is replaced.
  const std::size_t samples = summary.at("samples");
  ASSERT_EQ(host({"--for", scenario(), "--budget", "2", "--json"}), 0) << err.str();
  EXPECT_EQ(nlohmann::json::parse(out.str()).at("samples"), samples);

  out.str("");
  EXPECT_EQ(run({"simulate", scenario(), "--topology", (folder / "host" / "topology.json").string()}, out, err), 0)
      << err.str();
}

TEST_F(CalibrateHost, TooSmallABudgetSaysWhichIsEnoughAndWritesNoCalibration) {
  EXPECT_EQ(host({"--budget", "0.1"}), 5);
  EXPECT_THAT(err.str(), testing::AllOf(HasSubstr("three repetitions"), HasSubstr("--budget")));
  fs::remove(folder / "host" / "unfinished.jsonl");  // a larger budget would go on from there
  EXPECT_TRUE(fs::is_empty(folder / "host"));
}

TEST_F(CalibrateHost, AnotherComputersMeasurementIsKept) {
  ASSERT_EQ(host({"--for", scenario(), "--budget", "2"}), 0) << err.str();
  const fs::path file = folder / "host" / "calibration.json";
  nlohmann::json other = nlohmann::json::parse(text_of(file));
  other["device"]["name"] = "another CPU";
  std::ofstream(file) << other.dump();
  const std::string before = text_of(file);
  EXPECT_EQ(host({"--for", scenario(), "--budget", "2"}), 2);
  EXPECT_THAT(err.str(), testing::AllOf(HasSubstr("another CPU"), HasSubstr("--out")));
  EXPECT_EQ(text_of(file), before);
}

TEST_F(CalibrateHost, WhatIsNoMeasurementIsNotReplaced) {
  fs::create_directories(folder / "host");
  std::ofstream(folder / "host" / "README.md") << "mine";
  EXPECT_EQ(host({"--for", scenario(), "--budget", "2"}), 2);
  EXPECT_THAT(err.str(), testing::AllOf(HasSubstr("README.md"), HasSubstr("is there already")));
  EXPECT_EQ(text_of(folder / "host" / "README.md"), "mine");

  // A scenario by the name of a file that would be written.
  fs::rename(folder / "pair.json", folder / "topology.json");
  EXPECT_EQ(
      run({"calibrate", "host", "--out", folder.string(), "--for", (folder / "topology.json").string()}, out, err), 2);
  EXPECT_THAT(text_of(folder / "topology.json"), HasSubstr("\"scenario\""));
}

// CSV has neither quotes nor lines within a field, and two scenarios may have one name.
TEST_F(CalibrateHost, AnyNameOfAScenarioCanBeReadAgain) {
  nlohmann::json odd = nlohmann::json::parse(text_of(folder / "pair.json"));
  odd["name"] = "a\n\"b\",|c";
  for (const char* name : {"odd.json", "twin.json"}) std::ofstream(folder / name) << odd.dump();
  const std::vector<std::string> arguments{
      "--for", (folder / "odd.json").string(), "--for", (folder / "twin.json").string(), "--budget", "3"};
  ASSERT_EQ(host(arguments), 0) << err.str();
  EXPECT_THAT(out.str(), testing::AllOf(HasSubstr("| a;;b;;;c | threads"), HasSubstr("| a;;b;;;c #2 | threads")));
  EXPECT_EQ(host(arguments), 0) << err.str();
}

TEST_F(CalibrateHost, InputsOfASimulationAreNotReplaced) {
  ASSERT_EQ(host({"--for", scenario(), "--budget", "2"}), 0) << err.str();
  const std::string topology = (folder / "host" / "topology.json").string();
  for (const std::string& target : {topology, (folder / "host" / "calibration.json").string(), scenario()}) {
    const std::string before = text_of(target);
    for (const char* command : {"simulate", "run", "plan"}) {
      EXPECT_EQ(run({command, scenario(), "--topology", topology, "--out", target}, out, err), 2) << command;
      EXPECT_EQ(text_of(target), before) << command;
    }
  }
  EXPECT_EQ(run({"simulate", scenario(), "--topology", ""}, out, err), 2);
  EXPECT_EQ(run({"run", scenario(), "--out", ""}, out, err), 2);
}

TEST_F(CalibrateHost, MistakesAreExplained) {
  EXPECT_EQ(host({"--for", (folder / "none.json").string()}), 2);
  EXPECT_THAT(err.str(), HasSubstr("none.json"));
  EXPECT_EQ(host({"--budget", "0"}), 2);
  EXPECT_EQ(host({"--seed", "-1"}), 2);
  EXPECT_EQ(run({"calibrate", "host"}, out, err), 2);
  std::ofstream(folder / "file") << "";
  EXPECT_EQ(run({"calibrate", "host", "--out", (folder / "file").string()}, out, err), 2);
}

}  // namespace
}  // namespace foretoken::cli
