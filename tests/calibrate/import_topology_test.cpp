// Topology files made of what NCCL and nvidia-smi say about a node.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "plan/machine/topology.hpp"
#include "tests/calibrate/import_log.hpp"

namespace foretoken::calibrate {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::StartsWith;

nlohmann::ordered_json topology_file(const std::string& text, const std::vector<std::string>& assignments) {
  const LogPlace log{text, "some/node.xml"};
  ImportSettings settings(assignments);
  const TopologyFiles files{std::filesystem::absolute("topologies/devices/h100-sxm5-80gb.json").string(),
                            std::filesystem::absolute("topologies/calibrations/h100-sxm.json").string()};
  return topology_of(read_node_shape(recognise_log(log), log), log, files, settings);
}

plan::Topology read_back(const nlohmann::ordered_json& json) {
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / ("import_topology_" + std::to_string(::getpid()) + ".json");
  std::ofstream(file) << json.dump();
  plan::Topology topology = plan::read_topology(file);
  std::filesystem::remove(file);
  return topology;
}

// 18 NVLinks of 25 GB/s; 16 lanes x 32 GT/s x 128/130 / 8 = 63.0 GB/s; NICs of 400 Gb/s, the 25 Gb/s one left out; two
// GPUs and two NICs under each of four switches.
TEST(ImportNcclTopology, MakesATopologyOfWhatItSays) {
  const std::string text = sample("nccl-topology/hgx8.xml");
  EXPECT_THAT(node_shape(text).notes, Contains("NIC \"eth0\" is left out: it is slower than 400 Gb/s"));
  const plan::Topology topology = read_back(topology_file(text, {"nodes=4"}));
  EXPECT_EQ(topology.name, "node");
  EXPECT_EQ(topology.nodes, 4);
  EXPECT_EQ(topology.gpus_per_node, 8);
  EXPECT_EQ(plan::nics_of_a_node(topology), 8);
  EXPECT_EQ(topology.pcie_switches, 4);
  EXPECT_DOUBLE_EQ(topology.nvlink_bandwidth.value(), 450e9);
  EXPECT_NEAR(topology.pcie_bandwidth.value(), 63.0e9, 0.05e9);
  EXPECT_DOUBLE_EQ(topology.nic_bandwidth.value(), 50e9);
  EXPECT_TRUE(topology.nvls);
  EXPECT_EQ(plan::build_machine(topology).gpus(), 32);
}

TEST(ImportNcclTopology, TellsWhatIsAssumed) {
  const nlohmann::ordered_json json = topology_file(sample("nccl-topology/hgx8.xml"), {});
  const auto& sources = json["sources"];
  EXPECT_EQ(sources["node.nic.bandwidth"], "NCCL topology file, node.xml: speed of its NICs");
  EXPECT_THAT(sources["node.nvlink.bandwidth"].get<std::string>(), HasSubstr("18 NVLinks of 25 GB/s each way"));
  EXPECT_THAT(sources["node.pcie.bandwidth"].get<std::string>(), HasSubstr("16 lanes x 32 GT/s x 0.9846 / 8"));
  for (const char* latency : {"node.nvlink.latency", "node.pcie.latency", "node.nic.latency"})
    EXPECT_THAT(sources[latency].get<std::string>(), StartsWith("assumed: "));
}

// Another generation of GPU: its device and calibration are the user's.
TEST(ImportNcclTopology, AsksForFilesOfOtherGpus) {
  std::string text = sample("nccl-topology/hgx8.xml");
  for (std::size_t at = 0; (at = text.find("sm=\"90\"", at)) != std::string::npos;) text.replace(at, 7, "sm=\"100\"");
  try {
    topology_file(text, {});
    ADD_FAILURE() << "no device was asked for";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "some/node.xml: the log does not say device; add --set device=FILE, a device for compute "
                 "capability 10.0");
  }
  const auto json = topology_file(text, {"device=b200.json", "calibration=b200-fit.json"});
  EXPECT_EQ(json["node"]["nvlink"]["bandwidth"], "900 GB/s");
  EXPECT_EQ(json["device"], "b200.json");
}

// A host that has two cpu elements is one host; two host_hash are two.
TEST(ImportNcclTopology, TellsHostsByTheirHash) {
  const std::string one = sample("nccl-topology/hgx8.xml");
  EXPECT_EQ(node_shape(one).nodes, 1);
  const std::size_t begin = one.find("  <cpu"), end = one.find("</system>");
  std::string other = one.substr(begin, end - begin);
  for (std::size_t at = 0; (at = other.find("0x1f", at)) != std::string::npos;) other.replace(at, 4, "0x2f");
  EXPECT_EQ(node_shape(one.substr(0, end) + other + "</system>").nodes, 2);
}

TEST(ImportNvidiaSmi, MakesATopologyOfWhatItSaysAndIsTold) {
  const std::string text = sample("nvidia-smi-topo/hgx8.txt");
  const NodeShape shape = node_shape(text);
  EXPECT_EQ(shape.gpus, 8);
  EXPECT_EQ(shape.nics, 8);  // the ninth shares no switch with a GPU
  EXPECT_EQ(shape.nvlinks, 18);
  EXPECT_EQ(shape.pcie_switches, 0);
  EXPECT_THAT(shape.notes, Contains("1 of 9 NICs are left out: they share no PCIe switch with a GPU"));
  const auto json = topology_file(text, {"sm=90", "nic=200 Gb/s", "pcie=63 GB/s", "nodes=2"});
  const plan::Topology topology = read_back(json);
  EXPECT_EQ(topology.nodes, 2);
  EXPECT_DOUBLE_EQ(topology.nvlink_bandwidth.value(), 450e9);
  EXPECT_DOUBLE_EQ(topology.nic_bandwidth.value(), 25e9);
  EXPECT_EQ(json["sources"]["node.nic.bandwidth"], "as given at the import of nvidia-smi topo -m, node.xml");
}

TEST(ImportNvidiaSmi, AsksWhatTheMatrixDoesNotSay) {
  const std::string text = sample("nvidia-smi-topo/hgx8.txt");
  const auto asked = [&](const std::vector<std::string>& settings) -> std::string {
    try {
      topology_file(text, settings);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(asked({}), "some/node.xml: the log does not say sm; add --set sm=90");
  EXPECT_EQ(asked({"sm=90"}), "some/node.xml: the log does not say nic; add --set nic='400 Gb/s'");
  EXPECT_EQ(asked({"sm=90", "nic=400"}), "--set nic=400: is no bandwidth; write for example '400 Gb/s'");
  EXPECT_EQ(asked({"sm=90", "nic=400 Gb/s"}), "some/node.xml: the log does not say pcie; add --set pcie='63 GB/s'");
  EXPECT_EQ(asked({"sm=90", "nic=400 Gb/s", "pcie=63 GB/s", "nvlink=1 GB/s"}),
            "--set nvlink=1 GB/s: this log says so itself, or has no such thing; leave it out");
}

}  // namespace
}  // namespace foretoken::calibrate
