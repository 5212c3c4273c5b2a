// foretoken topology: what show, lint and the file alone print, and what they refuse.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/plan/json_schema.hpp"
#include "tools/cli/cli.hpp"

namespace foretoken::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class TopologyCommand : public testing::Test {
 protected:
  TopologyCommand() : folder(fs::temp_directory_path() / ("foretoken_topology_command_" + std::to_string(::getpid()))) {
    fs::create_directories(folder);
  }
  ~TopologyCommand() override { fs::remove_all(folder); }

  int say(const std::vector<std::string>& arguments) {
    out.str("");
    err.str("");
    return run(arguments, out, err);
  }
  [[nodiscard]] std::string file(const char* name) const { return (folder / name).string(); }
  /// The machine with 800 Gb/s behind PCIe 5.0.
  std::string suspicious() {
    Json machine = Json::parse(std::ifstream("topologies/hgx-h100-2nodes-ndr400.json"));
    machine["node"]["nic"]["bandwidth"] = "800 Gb/s";
    for (const char* key : {"device", "calibration"})
      machine[key] = fs::absolute("topologies/" + machine[key].get<std::string>()).string();
    std::ofstream(file("fast.json")) << machine.dump();
    return file("fast.json");
  }

  fs::path folder;
  std::ostringstream out;
  std::ostringstream err;
};

const std::string kTwoNodes = "topologies/hgx-h100-2nodes-ndr400.json";
const std::string kLab = "topologies/lab/4x4-oversubscribed.json";

// tools/netlab and tools/netlab-suite read these lines.
TEST_F(TopologyCommand, AFileAloneIsWhatNetlabReads) {
  ASSERT_EQ(say({"topology", kLab}), 0) << err.str();
  EXPECT_THAT(out.str(),
              StartsWith("topology lab/4x4-oversubscribed\nnodes 4\nranks_per_node 4\nemulated yes\n"
                         "link node0.nic0 leaf0 1250000 B/s 0 us\nlink leaf0 node0.nic0 1250000 B/s 0 us\n"));
  EXPECT_THAT(out.str(), HasSubstr("\nlink leaf0 spine 1250000 B/s 0 us\n"));
  EXPECT_THAT(out.str(), Not(HasSubstr("inside")));
}

TEST_F(TopologyCommand, ShowDrawsAndListsLinksWhenAsked) {
  ASSERT_EQ(say({"topology", "show", kTwoNodes}), 0) << err.str();
  EXPECT_THAT(out.str(), AllOf(StartsWith("topology hgx-h100-2nodes-ndr400\nnodes 2\nranks_per_node 8\nemulated no\n"),
                               HasSubstr("NVSwitch"), HasSubstr("400 Gb/s"), Not(HasSubstr("\nlink "))));
  ASSERT_EQ(say({"topology", "show", kTwoNodes, "--links"}), 0);
  EXPECT_THAT(out.str(), HasSubstr("\nlink node1.nic7 fabric 50000000000 B/s 0.15 us\n"));
}

TEST_F(TopologyCommand, ShowTellsProgramsTheSame) {
  ASSERT_EQ(say({"topology", "show", "topologies/hgx-h100-32nodes-rails-ndr400.json", "--json"}), 0) << err.str();
  const Json machine = Json::parse(out.str());
  EXPECT_EQ(machine["nodes"], 32);
  EXPECT_FALSE(machine.contains("links"));
  EXPECT_EQ(machine["drawing"]["rails"], true);
  EXPECT_EQ(machine["drawing"]["tiers"][1]["switches"].size(), 16U);
  EXPECT_EQ(machine["drawing"]["groups"][0]["nodes"].size(), 32U);
  EXPECT_EQ(machine["drawing"]["oversubscription"]["max"], 1);
  ASSERT_EQ(say({"topology", "show", kTwoNodes, "--json", "--links"}), 0);
  EXPECT_EQ(Json::parse(out.str())["links"].size(), 2U * 3 * 16);
}

TEST_F(TopologyCommand, ShowStoresADrawing) {
  ASSERT_EQ(say({"topology", "show", kTwoNodes, "--svg", file("two.svg")}), 0) << err.str();
  std::ostringstream svg;
  svg << std::ifstream(file("two.svg")).rdbuf();
  EXPECT_THAT(svg.str(), AllOf(StartsWith("<svg "), HasSubstr("node1"), HasSubstr("prefers-color-scheme")));
  EXPECT_EQ(say({"topology", "show", kTwoNodes, "--svg", "/no/such/folder/a.svg"}), 2);
  EXPECT_THAT(err.str(), HasSubstr("cannot be created"));
  EXPECT_EQ(say({"topology", "show", suspicious(), "--svg", file("fast.json")}), 2);
  EXPECT_THAT(err.str(), HasSubstr("is a file that is read"));
}

TEST_F(TopologyCommand, LintSaysThatNothingWasFound) {
  ASSERT_EQ(say({"topology", "lint", kTwoNodes}), 0) << err.str();
  EXPECT_EQ(out.str(), kTwoNodes + ": nothing found\n");
}

TEST_F(TopologyCommand, LintExitsWithFourAndNamesThePlace) {
  const std::string fast = suspicious();
  EXPECT_EQ(say({"topology", "lint", fast}), 4);
  EXPECT_EQ(out.str(), fast +
                           "#/node/nic/bandwidth: 800 Gb/s is more than its PCIe slot's 63 GB/s\n"
                           "    the NIC never reaches its rate\n");
  EXPECT_EQ(err.str(), "foretoken: " + fast + ": 1 finding\n");
  EXPECT_EQ(say({"topology", "lint", fast, "--json"}), 4);
  const Json report = Json::parse(out.str());
  ASSERT_EQ(say({"schema", "topology-findings"}), 0);
  EXPECT_THAT(plan::test::JsonSchema(Json::parse(out.str())).check(report), IsEmpty());
  EXPECT_EQ(report["findings"][0]["pointer"], "/node/nic/bandwidth");
}

TEST_F(TopologyCommand, LintLooksAtFaultsAndAtTheCalibration) {
  Json scenario = Json::parse(std::ifstream("scenarios/paper/baseline-tp8-pp2.json"));
  scenario["cluster"]["topology"] = fs::absolute(kTwoNodes).string();
  scenario["faults"] = Json::parse(R"([{"gpu": "node7.gpu0", "speed": "50 %"}])");
  std::ofstream(file("faulty.json")) << scenario.dump();
  EXPECT_EQ(say({"topology", "lint", kTwoNodes, "--scenario", file("faulty.json")}), 4);
  EXPECT_THAT(out.str(),
              StartsWith(file("faulty.json") + "#/faults/0/gpu: hgx-h100-2nodes-ndr400 has no \"node7.gpu0\"\n"));

  Json machine = Json::parse(std::ifstream(kTwoNodes));
  machine["device"] = fs::absolute("topologies/devices/h100-sxm5-80gb.json").string();
  machine["calibration"] = "gone.json";
  std::ofstream(file("gone-calibration.json")) << machine.dump();
  EXPECT_EQ(say({"topology", "lint", file("gone-calibration.json")}), 4);
  EXPECT_THAT(out.str(), HasSubstr("#/calibration: there is no regular file"));
}

TEST_F(TopologyCommand, ImportsAFabricWithANodeAndSimulatesOnIt) {
  const std::string fabric = "tests/data/import/ibnetdiscover/rails.txt";
  const std::string cluster = file("cluster.json");
  ASSERT_EQ(
      say({"topology", "import", fabric, "--node-from", "tests/data/import/nccl-topology/hgx8.xml", "--out", cluster}),
      0)
      << err.str();
  EXPECT_THAT(err.str(), AllOf(HasSubstr("adapter mlx5_2 is left out"), HasSubstr("how the fabric routes"),
                               HasSubstr("hgx8.xml has 8 NICs, and hosts of the fabric 2")));
  ASSERT_EQ(say({"simulate", "scenarios/paper/baseline-tp8-pp2.json", "--topology", cluster, "--layers-sampled", "6",
                 "--json"}),
            0)
      << err.str();
  EXPECT_GT(Json::parse(out.str())["tpot_ms"]["mean"].get<double>(), 0);
  ASSERT_EQ(say({"topology", "import", fabric, "--format", "ibnetdiscover", "--set", "gpus=4", "--set", "sm=90",
                 "--set", "nvlink=450 GB/s", "--set", "pcie=63 GB/s"}),
            0)
      << err.str();
  EXPECT_EQ(Json::parse(out.str())["fabric"]["kind"], "rail_optimised");
}

TEST_F(TopologyCommand, SaysWhatItCannotUse) {
  EXPECT_EQ(say({"topology"}), 2);
  EXPECT_EQ(say({"topology", "show"}), 2);
  EXPECT_EQ(say({"topology", "lint", ""}), 2);
  EXPECT_EQ(say({"topology", "lint", file("none.json")}), 2);
  EXPECT_THAT(err.str(), HasSubstr("none.json"));
  EXPECT_EQ(say({"topology", "show", "scenarios/paper/large-ep64.json"}), 2);
  EXPECT_THAT(err.str(), HasSubstr("of kind \"scenario\""));
  EXPECT_EQ(say({"topology", "import", "tests/data/import/nccl-topology/hgx8.xml", "--node-from",
                 "tests/data/import/nccl-topology/hgx8.xml"}),
            2);
  EXPECT_THAT(err.str(), HasSubstr("describes a node itself"));
  EXPECT_EQ(say({"topology", "import", "tests/data/import/ibnetdiscover/rails.txt", "--node-from",
                 "tests/data/import/op-table/gemm.csv"}),
            2);
  EXPECT_THAT(err.str(), HasSubstr("does not describe what a node has inside"));
  EXPECT_EQ(say({"import", "tests/data/import/ibnetdiscover/rails.txt"}), 2);
  EXPECT_THAT(err.str(), HasSubstr("use `foretoken topology import`"));
}

}  // namespace
}  // namespace foretoken::cli
