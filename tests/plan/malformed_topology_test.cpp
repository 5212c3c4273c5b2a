// Topology and device files that are wrong in one way each: every one ends in an invalid_input Error that says where,
// what was found and what would be right.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <ostream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "plan/machine/topology.hpp"

namespace foretoken::plan {
namespace {

using ::testing::HasSubstr;

constexpr const char* kTopology = R"({
  "$schema": "topology.schema.json",
  "kind": "topology",
  "schema_version": 1,
  "name": "round",
  "about": "an invented machine",
  "device": "gpu.json",
  "calibration": "calibration.json",
  "nodes": 2,
  "node": {
    "gpus": 4,
    "nvlink": {"bandwidth": "100 GB/s", "latency": "1 us", "nvls": false},
    "pcie": {"bandwidth": "20 GB/s", "latency": "2 us"},
    "nic": {"bandwidth": "80 Gb/s", "latency": "3 us"}
  },
  "fabric": {"kind": "non_blocking"},
  "sources": {
    "node.nvlink.bandwidth": "assumed", "node.nvlink.latency": "assumed",
    "node.pcie.bandwidth": "assumed", "node.pcie.latency": "assumed",
    "node.nic.bandwidth": "assumed", "node.nic.latency": "assumed"
  }
})";

constexpr const char* kDevice = R"({
  "kind": "device",
  "schema_version": 1,
  "name": "round-gpu",
  "memory": {"value": "10 GB", "source": "assumed"},
  "memory_bandwidth": {"value": "1 TB/s", "source": "assumed"},
  "l2": {"value": "10 MB", "source": "assumed"},
  "sms": {"value": 100, "source": "assumed"},
  "peak_flops": {"bf16": {"value": "100 TFLOP/s", "source": "assumed"}}
})";

/// `text` with its one occurrence of `from` replaced by `to`.
std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  if (at == std::string::npos || text.find(from, at + 1) != std::string::npos)
    throw std::logic_error("the test must name one place: " + from);
  return text.replace(at, from.size(), to);
}

class TopologyFiles : public ::testing::Test {
 protected:
  TopologyFiles() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    std::string name =
        std::string("foretoken_") + test->test_suite_name() + "_" + test->name() + "_" + std::to_string(::getpid());
    for (char& c : name)
      if (c == '/') c = '_';
    directory_ = std::filesystem::path(::testing::TempDir()) / name;
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
    write("topology.json", kTopology);
    write("gpu.json", kDevice);
  }
  ~TopologyFiles() override {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(directory_ / name, std::ios::binary) << text;
  }
  [[nodiscard]] std::filesystem::path file(const std::string& name) const { return directory_ / name; }

  /// The message with which reading fails; the code is checked here, as it is the same for all.
  [[nodiscard]] std::string message(const std::filesystem::path& path, const TopologyOverrides& overrides = {}) const {
    try {
      static_cast<void>(read_topology(path, overrides));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_input) << error.what();
      return error.what();
    }
    return "(no error)";
  }

  std::filesystem::path directory_;
};

TEST_F(TopologyFiles, TheBaseOfTheseTestsIsValid) {
  const Topology topology = read_topology(file("topology.json"));
  EXPECT_EQ(topology.nodes, 2);
  EXPECT_EQ(topology.gpus_per_node, 4);
  // 80 Gb/s = 10 GB/s.
  EXPECT_EQ(topology.nic_bandwidth, BytesPerSecond(10e9));
  EXPECT_EQ(topology.device.sms, 100);
}

// ---- hosts ---------------------------------------------------------------------------------------------------------

constexpr const char* kLab = R"({
  "kind": "topology",
  "schema_version": 1,
  "name": "lab",
  "nodes": 2,
  "node": {
    "host": {"cpu": "any", "cores": 2, "memory": "1 GiB", "ranks": 1, "emulated": true, "core_shares": [2, 0.5]},
    "nic": {"bandwidth": "10 Mb/s", "latency": "0 us"}
  },
  "fabric": {"kind": "non_blocking"},
  "sources": {
    "node.host.cores": "assumed", "node.host.memory": "assumed", "node.host.core_shares": "assumed",
    "node.nic.bandwidth": "assumed", "node.nic.latency": "assumed"
  }
})";

TEST_F(TopologyFiles, SharesOfTheCoresAreOfEveryNodeOfALab) {
  write("lab.json", kLab);
  EXPECT_THAT(read_topology(file("lab.json")).core_shares, ::testing::ElementsAre(2, 0.5));
  EXPECT_THAT(message(file("lab.json"), {.nodes = 3, .nic_bandwidth = {}}), HasSubstr("#/node/host/core_shares: "));
  const std::vector<std::pair<std::string, std::string>> wrong{{"[2, 0.5]", "[0.5]"},         {"[2, 0.5]", "[2, 3]"},
                                                               {"[2, 0.5]", "[2, 0.05]"},     {"[2, 0.5]", "0.5"},
                                                               {"[2, 0.5]", "[2, \"half\"]"}, {"true", "false"}};
  for (const auto& [from, to] : wrong) {
    write("wrong.json", replaced(kLab, from, to));
    EXPECT_THAT(message(file("wrong.json")), HasSubstr("wrong.json#/node/host/core_shares")) << to;
  }
  write("wrong.json", replaced(kLab, " \"node.host.core_shares\": \"assumed\",", ""));
  EXPECT_THAT(message(file("wrong.json")), HasSubstr("node.host.core_shares"));
}

// ---- one replacement in one of the two files -----------------------------------------------------------------------

struct Malformed {
  const char* name;
  const char* from;
  const char* to;
  const char* where;     // pointer in the message
  const char* fragment;  // what was found
};
void PrintTo(const Malformed& malformed, std::ostream* out) { *out << malformed.name; }
std::string name_of(const ::testing::TestParamInfo<Malformed>& info) { return info.param.name; }

class MalformedTopology : public TopologyFiles, public ::testing::WithParamInterface<Malformed> {};

TEST_P(MalformedTopology, IsAnErrorThatSaysWhereAndWhat) {
  const Malformed& malformed = GetParam();
  write("topology.json", replaced(kTopology, malformed.from, malformed.to));
  const std::string text = message(file("topology.json"));
  EXPECT_THAT(text, HasSubstr("topology.json" + std::string(malformed.where)));
  EXPECT_THAT(text, HasSubstr(malformed.fragment));
  EXPECT_THAT(text, HasSubstr("; ")) << "what would be right is missing";
}

INSTANTIATE_TEST_SUITE_P(
    Files, MalformedTopology,
    ::testing::Values(
        // units
        Malformed{"NumberWithoutUnit", "\"100 GB/s\"", "100", "#/node/nvlink/bandwidth: ", "100 has no unit"},
        Malformed{"TextWithoutUnit", "\"100 GB/s\"", "\"100\"", "#/node/nvlink/bandwidth: ", "\"100\" has no unit"},
        Malformed{"UnitOfAnotherKind", "\"1 us\"", "\"1 GB\"", "#/node/nvlink/latency: ", "\"1 GB\" is not a number"},
        Malformed{"UnknownUnit", "\"80 Gb/s\"", "\"80 Gbps\"", "#/node/nic/bandwidth: ", "\"80 Gbps\" is not a number"},
        Malformed{"NanWithUnit", "\"80 Gb/s\"", "\"nan GB/s\"",
                  "#/node/nic/bandwidth: ", "\"nan GB/s\" is not a number"},
        Malformed{"InfinityWithUnit", "\"3 us\"", "\"inf us\"", "#/node/nic/latency: ", "\"inf us\" is not a number"},
        // 0, negative and 10^12 of everything
        Malformed{"NoNodes", "\"nodes\": 2", "\"nodes\": 0", "#/nodes: ", "0 is out of range"},
        Malformed{"NegativeNodes", "\"nodes\": 2", "\"nodes\": -2", "#/nodes: ", "-2 is out of range"},
        Malformed{"HugeNodes", "\"nodes\": 2", "\"nodes\": 1000000000000",
                  "#/nodes: ", "1000000000000 is out of range"},
        Malformed{"NodesBeyondIntegers", "\"nodes\": 2", "\"nodes\": 18446744073709551615",
                  "#/nodes: ", "out of range"},
        Malformed{"NodesBeyondDoubles", "\"nodes\": 2", "\"nodes\": 1e999", "", "too large"},
        Malformed{"FractionOfANode", "\"nodes\": 2", "\"nodes\": 1.5", "#/nodes: ", "1.5 is not a whole number"},
        Malformed{"NoGpus", "\"gpus\": 4", "\"gpus\": 0", "#/node/gpus: ", "0 is out of range"},
        Malformed{"HugeGpus", "\"gpus\": 4", "\"gpus\": 1000000000000", "#/node/gpus: ", "out of range"},
        Malformed{"NoNvlinkBandwidth", "\"100 GB/s\"", "\"0 GB/s\"", "#/node/nvlink/bandwidth: ", "out of range"},
        Malformed{"HugeNvlinkBandwidth", "\"100 GB/s\"", "\"1e12 GB/s\"", "#/node/nvlink/bandwidth: ", "out of range"},
        Malformed{"NoPcieBandwidth", "\"20 GB/s\"", "\"0 GB/s\"", "#/node/pcie/bandwidth: ", "out of range"},
        Malformed{"HugePcieBandwidth", "\"20 GB/s\"", "\"1e12 GB/s\"", "#/node/pcie/bandwidth: ", "out of range"},
        Malformed{"NegativeNicBandwidth", "\"80 Gb/s\"", "\"-80 Gb/s\"", "#/node/nic/bandwidth: ", "out of range"},
        Malformed{"HugeNicBandwidth", "\"80 Gb/s\"", "\"1e12 Gb/s\"", "#/node/nic/bandwidth: ", "out of range"},
        Malformed{"NegativeLatency", "\"1 us\"", "\"-1 us\"", "#/node/nvlink/latency: ", "out of range"},
        Malformed{"HugeLatency", "\"2 us\"", "\"1e12 us\"", "#/node/pcie/latency: ", "out of range"},
        // types
        Malformed{"NodesAsText", "\"nodes\": 2", "\"nodes\": \"2\"", "#/nodes: ", "\"2\" is not a number"},
        Malformed{"NodeAsList", "\"fabric\": {\"kind\": \"non_blocking\"}", "\"fabric\": [1]",
                  "#/fabric: ", "not an object"},
        Malformed{"NvlsAsText", "\"nvls\": false", "\"nvls\": \"no\"", "#/node/nvlink/nvls: ", "not true or false"},
        Malformed{"NameAsNumber", "\"name\": \"round\"", "\"name\": 7", "#/name: ", "7 is not a string"},
        Malformed{"EmptyName", "\"name\": \"round\"", "\"name\": \"\"", "#/name: ", "empty"},
        Malformed{"BandwidthAsNull", "\"100 GB/s\"", "null", "#/node/nvlink/bandwidth: ", "null is not a quantity"},
        // keys
        Malformed{"UnknownKey", "\"gpus\": 4", "\"gpus\": 4, \"nicks\": 4", "#/node/nicks: ", "did you mean \"nics\"?"},
        Malformed{"UnknownKeyInAPort", "\"latency\": \"2 us\"", "\"latency\": \"2 us\", \"lanes\": 16",
                  "#/node/pcie/lanes: ", "\"lanes\" is not known here"},
        Malformed{"MissingKey", "\"nodes\": 2,", "", ": ", "\"nodes\" is missing"},
        Malformed{"MissingNestedKey", ", \"nvls\": false", "", "#/node/nvlink: ", "\"nvls\" is missing"},
        Malformed{"MissingSource", ", \"node.nic.latency\": \"assumed\"", "",
                  "#/sources: ", "\"node.nic.latency\" is missing"},
        Malformed{"SourceOfNothing", "\"node.nic.latency\": \"assumed\"",
                  "\"node.nic.latency\": \"assumed\", \"node.nic.colour\": \"assumed\"",
                  "#/sources/node.nic.colour: ", "not known"},
        Malformed{"DuplicateKey", "\"nodes\": 2", "\"nodes\": 2, \"nodes\": 3", "", "\"nodes\" appears twice"},
        Malformed{"UnknownFabric", "\"non_blocking\"", "\"dragonfly\"",
                  "#/fabric/kind: ", "\"dragonfly\" is not known"},
        // header
        Malformed{"WrongKind", "\"kind\": \"topology\"", "\"kind\": \"scenario\"", "#/kind: ", "of kind \"scenario\""},
        Malformed{"NewerVersion", "\"schema_version\": 1", "\"schema_version\": 2", "#/schema_version: ", "newer"},
        Malformed{"VersionZero", "\"schema_version\": 1", "\"schema_version\": 0",
                  "#/schema_version: ", "out of range"},
        // references
        Malformed{"DanglingDevice", "\"gpu.json\"", "\"gone.json\"", "#/device: ", "there is no regular file"},
        Malformed{"DeviceIsADirectory", "\"gpu.json\"", "\".\"", "#/device: ", "there is no regular file"},
        Malformed{"DeviceIsATopology", "\"gpu.json\"", "\"topology.json\"", "#/kind: ", "of kind \"topology\""},
        // syntax
        Malformed{"TrailingComma", "\"nodes\": 2,", "\"nodes\": 2,,", "", "not valid JSON at line 9"},
        Malformed{"BareNan", "\"nodes\": 2", "\"nodes\": NaN", "", "not valid JSON at line 9"},
        Malformed{"Comment", "\"nodes\": 2,", "\"nodes\": 2, // two", "", "not valid JSON at line 9"}),
    name_of);

class MalformedDevice : public TopologyFiles, public ::testing::WithParamInterface<Malformed> {};

TEST_P(MalformedDevice, IsAnErrorThatSaysWhereAndWhat) {
  const Malformed& malformed = GetParam();
  write("gpu.json", replaced(kDevice, malformed.from, malformed.to));
  const std::string text = message(file("topology.json"));
  EXPECT_THAT(text, HasSubstr("gpu.json" + std::string(malformed.where)));
  EXPECT_THAT(text, HasSubstr(malformed.fragment));
  EXPECT_THAT(text, HasSubstr("; ")) << "what would be right is missing";
}

INSTANTIATE_TEST_SUITE_P(
    Files, MalformedDevice,
    ::testing::Values(
        Malformed{"MemoryWithoutUnit", "\"10 GB\"", "10", "#/memory/value: ", "10 has no unit"},
        Malformed{"NoMemory", "\"10 GB\"", "\"0 GB\"", "#/memory/value: ", "out of range"},
        Malformed{"HugeMemory", "\"10 GB\"", "\"1e12 GB\"", "#/memory/value: ", "\"1e12 GB\""},
        Malformed{"NoBandwidth", "\"1 TB/s\"", "\"0 TB/s\"", "#/memory_bandwidth/value: ", "out of range"},
        Malformed{"HugeBandwidth", "\"1 TB/s\"", "\"1e12 TB/s\"", "#/memory_bandwidth/value: ", "out of range"},
        Malformed{"NoSms", "\"value\": 100", "\"value\": 0", "#/sms/value: ", "0 is out of range"},
        Malformed{"HugeSms", "\"value\": 100", "\"value\": 1000000000000", "#/sms/value: ", "out of range"},
        Malformed{"NoFlops", "\"100 TFLOP/s\"", "\"0 TFLOP/s\"", "#/peak_flops/bf16/value: ", "out of range"},
        Malformed{"HugeFlops", "\"100 TFLOP/s\"", "\"1e12 TFLOP/s\"", "#/peak_flops/bf16/value: ", "out of range"},
        Malformed{"NanFlops", "\"100 TFLOP/s\"", "\"nan TFLOP/s\"", "#/peak_flops/bf16/value: ", "not a number"},
        Malformed{"NoSource", "{\"value\": \"10 GB\", \"source\": \"assumed\"}", "{\"value\": \"10 GB\"}",
                  "#/memory: ", "\"source\" is missing"},
        Malformed{"BareValue", "{\"value\": \"10 GB\", \"source\": \"assumed\"}", "\"10 GB\"",
                  "#/memory: ", "not an object"},
        Malformed{"NoPeakForBf16", "\"bf16\"", "\"fp16\"", "#/peak_flops: ", "bf16"},
        Malformed{"UnknownDtype", "\"bf16\"", "\"bf17\"", "#/peak_flops/bf17: ", "\"bf17\" is not known here"},
        Malformed{"WrongKind", "\"device\"", "\"gpu\"", "#/kind: ", "\"gpu\""},
        Malformed{"NewerVersion", "\"schema_version\": 1", "\"schema_version\": 99", "#/schema_version: ", "99"},
        Malformed{"DuplicateKey", "\"name\": \"round-gpu\"", "\"name\": \"a\", \"name\": \"b\"", "", "appears twice"}),
    name_of);

// ---- fabrics -------------------------------------------------------------------------------------------------------

constexpr const char* kNonBlocking = "{\"kind\": \"non_blocking\"}";
constexpr const char* kLeafSpine =
    R"({"kind": "leaf_spine", "nodes_per_leaf": 1, "spines": 2, "uplink": {"bandwidth": "1 GB/s", "latency": "1 us"}})";
constexpr const char* kRails =
    R"({"kind": "rail_optimised", "nodes_per_pod": 2, "spines": 1, "uplink": {"oversubscription": 2, "latency": "1 us"}})";
constexpr const char* kList =
    R"({"kind": "explicit", "switches": ["a", "b"], "links": [{"between": ["node0.nic0", "a"]},
        {"between": ["node1.nic3", "b"]}, {"between": ["a", "b"], "bandwidth": "1 GB/s", "latency": "1 us"}]})";

std::string with_fabric(const std::string& fabric) {
  std::string sources = "\"node.nic.latency\": \"assumed\"";
  if (fabric.find("explicit") != std::string::npos) sources += ", \"fabric.links\": \"assumed\"";
  if (fabric.find("uplink") != std::string::npos) sources += ", \"fabric.uplink.latency\": \"assumed\"";
  for (const char* key : {"oversubscription", "bandwidth"}) {
    if (fabric.find("uplink") == std::string::npos || fabric.find(key) == std::string::npos) continue;
    sources += std::string(", \"fabric.uplink.") + key + "\": \"assumed\"";
    break;
  }
  return replaced(replaced(kTopology, kNonBlocking, fabric), "\"node.nic.latency\": \"assumed\"", sources);
}

TEST_F(TopologyFiles, TheFabricsOfTheseTestsAreValid) {
  for (const char* fabric : {kLeafSpine, kRails, kList}) {
    write("topology.json", with_fabric(fabric));
    EXPECT_EQ(message(file("topology.json")), "(no error)") << fabric;
  }
}

struct MalformedFabric {
  const char* name;
  const char* base;
  const char* from;
  const char* to;
  const char* where;
  const char* fragment;
};
void PrintTo(const MalformedFabric& malformed, std::ostream* out) { *out << malformed.name; }

class MalformedFabrics : public TopologyFiles, public ::testing::WithParamInterface<MalformedFabric> {};

TEST_P(MalformedFabrics, AreErrorsThatSayWhereAndWhat) {
  const MalformedFabric& malformed = GetParam();
  write("topology.json", with_fabric(replaced(malformed.base, malformed.from, malformed.to)));
  const std::string text = message(file("topology.json"));
  EXPECT_THAT(text, HasSubstr("topology.json#" + std::string(malformed.where)));
  EXPECT_THAT(text, HasSubstr(malformed.fragment));
  EXPECT_THAT(text, HasSubstr("; ")) << "what would be right is missing";
}

INSTANTIATE_TEST_SUITE_P(
    Files, MalformedFabrics,
    ::testing::Values(
        MalformedFabric{"NoSpine", kLeafSpine, "\"spines\": 2", "\"spines\": 0", "/fabric/spines: ", "need a spine"},
        MalformedFabric{"HugeSpines", kLeafSpine, "\"spines\": 2", "\"spines\": 1000000000000",
                        "/fabric/spines: ", "out of range"},
        MalformedFabric{"NoNodesOnALeaf", kLeafSpine, "leaf\": 1", "leaf\": 0", "/fabric/nodes_per_leaf: ", "out of"},
        MalformedFabric{"KeyOfAnotherKind", kLeafSpine, "nodes_per_leaf", "nodes_per_pod",
                        "/fabric: ", "\"nodes_per_leaf\" is missing"},
        MalformedFabric{"PxnWithoutRails", kLeafSpine, "\"spines\"", "\"pxn\": true, \"spines\"",
                        "/fabric/pxn: ", "not known here"},
        MalformedFabric{"NoUplinkRate", kLeafSpine, "\"bandwidth\": \"1 GB/s\", ", "",
                        "/fabric/uplink: ", "nothing says how fast"},
        MalformedFabric{"TwoUplinkRates", kLeafSpine, "\"bandwidth\"", "\"oversubscription\": 2, \"bandwidth\"",
                        "/fabric/uplink: ", "both \"bandwidth\" and"},
        MalformedFabric{"UplinkWithoutUnit", kLeafSpine, "\"1 GB/s\"", "1", "/fabric/uplink/bandwidth: ", "no unit"},
        MalformedFabric{"NegativeOversubscription", kRails, "tion\": 2", "tion\": -2",
                        "/fabric/uplink/oversubscription: ", "out of range"},
        MalformedFabric{"UnknownSpread", kRails, "\"spines\"", "\"spread\": \"even\", \"spines\"",
                        "/fabric/spread: ", "\"even\" is not known"},
        MalformedFabric{"NegativeSalt", kRails, "\"spines\"", "\"salt\": -1, \"spines\"", "/fabric/salt: ", "out of"},
        MalformedFabric{"RailsWithoutSpineOrPxn", kRails, "\"spines\": 1", "\"spines\": 0, \"pxn\": false",
                        "/fabric/pxn: ", "without spines"},
        MalformedFabric{"PodsWithoutSpine", kRails, "pod\": 2, \"spines\": 1", "pod\": 1, \"spines\": 0",
                        "/fabric/spines: ", "2 nodes are 2 pods, and no spine joins them"},
        MalformedFabric{"NoSwitches", kList, "[\"a\", \"b\"], \"links\"", "[], \"links\"", "/fabric/switches: ", "0"},
        MalformedFabric{"SwitchTwice", kList, "[\"a\", \"b\"], \"links\"", "[\"a\", \"a\"], \"links\"",
                        "/fabric/switches/1: ", "appears twice"},
        MalformedFabric{"SwitchNamedLikeANode", kList, "[\"a\", \"b\"], \"links\"", "[\"a\", \"node7.x\"], \"links\"",
                        "/fabric/switches/1: ", "reads like a part of a node"},
        MalformedFabric{"UnknownEnd", kList, "\"node1.nic3\"", "\"c\"",
                        "/fabric/links/1/between/0: ", "\"c\" is neither a switch"},
        MalformedFabric{"NicOutsideTheNode", kList, "node1.nic3", "node1.nic4",
                        "/fabric/links/1/between/0: ", "no \"node1.nic4\""},
        MalformedFabric{"NodeOutsideTheMachine", kList, "node1.nic3", "node2.nic3",
                        "/fabric/links/1/between/0: ", "no \"node2.nic3\""},
        MalformedFabric{"NicToNic", kList, "[\"node0.nic0\", \"a\"]", "[\"node0.nic0\", \"node1.nic0\"]",
                        "/fabric/links/0: ", "both ends are NICs"},
        MalformedFabric{"SwitchToItself", kList, "{\"between\": [\"a\", \"b\"]", "{\"between\": [\"a\", \"a\"]",
                        "/fabric/links/2: ", "the same switch"},
        MalformedFabric{"CableWithoutRate", kList, "\"bandwidth\": \"1 GB/s\", ", "",
                        "/fabric/links/2: ", "\"bandwidth\" is missing"},
        MalformedFabric{"Parted", kList,
                        ", {\"between\": [\"a\", \"b\"], \"bandwidth\": \"1 GB/s\", \"latency\": \"1 us\"}", "",
                        "/fabric/links: ", "no cables lead from node0 to node1"}),
    [](const ::testing::TestParamInfo<MalformedFabric>& one) { return std::string(one.param.name); });

// 16,384 leaves x 16,384 spines would be 268 million cables.
TEST_F(TopologyFiles, TheProductOfLeavesAndSpinesIsBounded) {
  write("topology.json", with_fabric(replaced(kLeafSpine, "\"spines\": 2", "\"spines\": 16384")));
  EXPECT_THAT(message(file("topology.json"), {16'384, std::nullopt}),
              HasSubstr("#/fabric/spines: 16384 leaves x 16384"));
}

TEST_F(TopologyFiles, AListOfCablesIsOfItsOwnNumberOfNodes) {
  write("topology.json", with_fabric(kList));
  EXPECT_THAT(message(file("topology.json"), {3, std::nullopt}),
              HasSubstr("#/nodes: the override 3 is not the 2 nodes"));
}

TEST_F(TopologyFiles, NicsAndPcieSwitchesDivideTheNode) {
  write("topology.json", replaced(kTopology, "\"gpus\": 4", "\"gpus\": 4, \"nics\": 3"));
  EXPECT_THAT(message(file("topology.json")), HasSubstr("#/node/nics: 3 does not divide the 4 GPUs; "));
  write("topology.json", replaced(kTopology, "\"latency\": \"2 us\"", "\"latency\": \"2 us\", \"switches\": 3"));
  EXPECT_THAT(message(file("topology.json")), HasSubstr("#/node/pcie/switches: 3 does not divide the 4 NICs; "));
}

// ---- whole files ---------------------------------------------------------------------------------------------------

TEST_F(TopologyFiles, AMissingFileIsNamed) {
  EXPECT_THAT(message(file("gone.json")), HasSubstr("gone.json: no such file"));
}

TEST_F(TopologyFiles, ADirectoryIsNoFile) { EXPECT_THAT(message(directory_), HasSubstr("not a regular file")); }

TEST_F(TopologyFiles, AnEmptyFileIsNoJson) {
  write("topology.json", "");
  EXPECT_THAT(message(file("topology.json")), HasSubstr("not valid JSON at line 1, column 1"));
}

// Cut anywhere, the file is refused: the last byte is the closing brace, so every shorter text is incomplete.
TEST_F(TopologyFiles, ATruncatedFileIsRefusedWhereverItIsCut) {
  const std::string whole = kTopology;
  for (std::size_t size = 0; size < whole.size(); size += 13) {
    write("topology.json", whole.substr(0, size));
    EXPECT_THAT(message(file("topology.json")), HasSubstr("not valid JSON")) << size;
  }
}

TEST_F(TopologyFiles, ADeepNestIsRefusedWithoutRecursion) {
  write("topology.json", replaced(kTopology, "\"100 GB/s\"", std::string(100'000, '[') + std::string(100'000, ']')));
  EXPECT_THAT(message(file("topology.json")), HasSubstr("nested deeper than 64 levels"));
}

TEST_F(TopologyFiles, BinaryIsNoJson) {
  write("topology.json", std::string("\x7f"
                                     "ELF\x02\x01\x01\0\0\0",
                                     10));
  EXPECT_THAT(message(file("topology.json")), HasSubstr("not valid JSON"));
}

TEST_F(TopologyFiles, AListIsNoTopology) {
  write("topology.json", "[]");
  EXPECT_THAT(message(file("topology.json")), HasSubstr("[] is not an object"));
}

// 16,384 nodes and 64 GPUs per node are each allowed; their product, 1,048,576, is not.
TEST_F(TopologyFiles, TheProductOfNodesAndGpusIsBounded) {
  write("topology.json",
        replaced(replaced(kTopology, "\"nodes\": 2", "\"nodes\": 16384"), "\"gpus\": 4", "\"gpus\": 64"));
  EXPECT_THAT(message(file("topology.json")),
              HasSubstr("#/nodes: 16384 nodes of 64 GPUs are 1048576 GPUs; at most 131072"));
}

// ---- overrides -----------------------------------------------------------------------------------------------------

TEST_F(TopologyFiles, OverridesAreChecked) {
  const auto with_nodes = [&](std::int64_t nodes) { return message(file("topology.json"), {nodes, std::nullopt}); };
  EXPECT_THAT(with_nodes(0), HasSubstr("#/nodes: the override 0 is out of range"));
  EXPECT_THAT(with_nodes(-1), HasSubstr("the override -1 is out of range"));
  EXPECT_THAT(with_nodes(1'000'000'000'000), HasSubstr("out of range"));
  const auto with_nic = [&](double rate) {
    return message(file("topology.json"), {std::nullopt, BytesPerSecond(rate)});
  };
  EXPECT_THAT(with_nic(0), HasSubstr("#/node/nic/bandwidth: the override 0 B/s is out of range"));
  EXPECT_THAT(with_nic(1e24), HasSubstr("out of range"));
  EXPECT_THAT(with_nic(std::numeric_limits<double>::quiet_NaN()), HasSubstr("out of range"));
}

}  // namespace
}  // namespace foretoken::plan
