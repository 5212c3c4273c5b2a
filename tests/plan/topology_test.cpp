#include "plan/machine/topology.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <optional>
#include <string>

#include "foretoken_places.hpp"
#include "plan/machine/machine.hpp"

namespace foretoken::plan {
namespace {

using namespace literals;
using ::testing::StartsWith;

std::filesystem::path shipped(const std::string& name) {
  return std::filesystem::path(FORETOKEN_SOURCE_DIR) / "topologies" / name;
}

class ShippedTopology : public ::testing::TestWithParam<int> {};

// Expected numbers from the datasheets that the files name: NVLink 900 GB/s both ways together; PCIe 5.0 x16
// 16 x 32 GT/s x 128/130 / 8 = 63.0 GB/s; NDR 400 Gb/s = 50 GB/s; H100 SXM 80 GB, 3.35 TB/s, 989 TFLOP/s.
TEST_P(ShippedTopology, SaysWhatTheDatasheetsSay) {
  const std::string name = "hgx-h100-" + std::to_string(GetParam()) + "nodes-ndr400";
  const Topology topology = read_topology(shipped(name + ".json"));
  EXPECT_EQ(topology.name, name);
  EXPECT_EQ(topology.nodes, GetParam());
  EXPECT_EQ(topology.gpus_per_node, 8);
  EXPECT_EQ(topology.nvlink_bandwidth, 450_GBps);
  EXPECT_TRUE(topology.nvls);
  EXPECT_NEAR(topology.pcie_bandwidth.value(), 16 * 32e9 * 128 / 130 / 8, 0.1e9);
  EXPECT_EQ(topology.nic_bandwidth, 50_GBps);
  EXPECT_EQ(topology.device.memory, 80_GB);
  EXPECT_DOUBLE_EQ(topology.device.memory_bandwidth.value(), 3.35e12);
  EXPECT_DOUBLE_EQ(topology.device.peak(DType::bf16)->value(), 989e12);
  EXPECT_EQ(topology.calibration, shipped("calibrations/h100-sxm.json"));
  EXPECT_EQ(build_machine(topology).gpus(), GetParam() * 8);
}

// A hop is propagation and switching only: 10 ns to 1 us. Message overhead is the calibration's.
TEST_P(ShippedTopology, HopLatenciesArePropagationOnly) {
  const Topology topology = read_topology(shipped("hgx-h100-" + std::to_string(GetParam()) + "nodes-ndr400.json"));
  for (const Seconds latency : {topology.nvlink_latency, topology.pcie_latency, topology.nic_latency}) {
    EXPECT_GT(latency, Seconds(10e-9));
    EXPECT_LT(latency, 1_us);
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, ShippedTopology, ::testing::Values(2, 4, 8));

// A scalable unit: 8 leaves of 64 ports, 32 down and 32 up; four of them fill the 64 ports of 16 spines.
class ShippedRails : public ::testing::TestWithParam<int> {};

TEST_P(ShippedRails, HaveAsManyCablesUpAsDown) {
  const std::string name = "hgx-h100-" + std::to_string(GetParam()) + "nodes-rails-ndr400";
  for (const std::int64_t nodes : {std::int64_t{GetParam()}, std::int64_t{2}, std::int64_t{512}}) {
    const Topology topology = read_topology(shipped(name + ".json"), {nodes, std::nullopt});
    EXPECT_EQ(topology.name, name);
    EXPECT_EQ(topology.nodes, nodes);
    EXPECT_TRUE(topology.fabric.pxn);
    const FabricSpec& fabric = topology.fabric;
    EXPECT_EQ(fabric.spines * fabric.cables_per_spine, fabric.nodes_per_leaf);
    EXPECT_EQ(fabric.uplink_bandwidth, topology.nic_bandwidth);
    EXPECT_LE(leaves_of(fabric, GetParam(), 8) * fabric.cables_per_spine, 64);
    const Machine machine = build_machine(topology);
    EXPECT_EQ(machine.gpus(), nodes * 8);
    EXPECT_FALSE(machine.route(RankId(0), RankId(static_cast<std::int32_t>(machine.gpus() - 1))).empty());
  }
}
INSTANTIATE_TEST_SUITE_P(Sizes, ShippedRails, ::testing::Values(32, 128));

// Reports list what a prediction assumes; it is recognised by the first word of its source.
TEST(Topology, KeepsTheSourceOfEveryNumber) {
  const Topology topology = read_topology(shipped("hgx-h100-2nodes-ndr400.json"));
  ASSERT_EQ(topology.sources.size(), 6u);
  for (const auto& [quantity, source] : topology.sources) {
    if (quantity.find("latency") != std::string::npos) {
      EXPECT_THAT(source, StartsWith("assumed")) << quantity;
    } else {
      EXPECT_THAT(source, ::testing::Not(StartsWith("assumed"))) << quantity;
    }
  }
}

TEST(TopologyOverrides, ReplaceWhatTheFileSays) {
  const Topology topology = read_topology(shipped("hgx-h100-2nodes-ndr400.json"), {2'048, 25_GBps});
  EXPECT_EQ(topology.nodes, 2'048);
  EXPECT_EQ(topology.nic_bandwidth, 25_GBps);
  EXPECT_EQ(topology.pcie_bandwidth, BytesPerSecond(63e9));
}

// 16,384 nodes of 8 GPUs are 131,072: the largest machine there may be.
TEST(TopologyOverrides, MayReachTheLargestMachine) {
  EXPECT_EQ(read_topology(shipped("hgx-h100-2nodes-ndr400.json"), {16'384, std::nullopt}).nodes, 16'384);
}

}  // namespace
}  // namespace foretoken::plan
