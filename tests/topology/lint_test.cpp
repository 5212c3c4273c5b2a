// What lint finds, one at a time: each test changes a machine that is in order.
#include "tools/topology/lint.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/topology/files.hpp"

namespace foretoken::topology {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::vector<Finding> found(const json& file, const LintBeside& beside = {}) {
  const plan::Topology topology = topology_of(file);
  return lint(topology, plan::build_machine(topology), beside);
}

/// That machine with one member changed or added.
json with(json file, const char* pointer, const json& value) {
  file[json::json_pointer(pointer)] = value;
  return file;
}

auto is(const char* pointer, const char* what) {
  return AllOf(Field(&Finding::pointer, pointer), Field(&Finding::what, HasSubstr(what)));
}

const json kNode = shipped("hgx-h100-8nodes-ndr400");
const json kRails = shipped("hgx-h100-32nodes-rails-ndr400");

TEST(Lint, FindsNothingWhereAllIsInOrder) {
  EXPECT_THAT(found(kNode), IsEmpty());
  EXPECT_THAT(found(kRails), IsEmpty());
}

// ---- the node ------------------------------------------------------------------------------------------------------

// 800 Gb/s are 100 GB/s, and 16 lanes of PCIe 5.0 are 63.
TEST(Lint, FindsANicThatIsFasterThanItsSlot) {
  EXPECT_THAT(found(with(kNode, "/node/nic/bandwidth", "800 Gb/s")),
              ElementsAre(is("/node/nic/bandwidth", "800 Gb/s is more than its PCIe slot's 63 GB/s")));
}

TEST(Lint, FindsBitsForBytes) {
  // 400 GB/s are 3,200 Gb/s, which are also more than the slot's.
  EXPECT_THAT(found(with(kNode, "/node/nic/bandwidth", "400 GB/s")),
              ElementsAre(is("/node/nic/bandwidth", "PCIe slot"), is("/node/nic/bandwidth", "3200 Gb/s is 400 GB/s")));
  EXPECT_THAT(found(with(kNode, "/node/nic/bandwidth", "333 Gb/s")),
              ElementsAre(is("/node/nic/bandwidth", "333 Gb/s is no port's nominal rate")));
  EXPECT_THAT(found(with(kNode, "/node/nic/bandwidth", "50 GB/s")), IsEmpty());
  EXPECT_THAT(found(with(kRails, "/fabric/uplink/bandwidth", "3200 Gb/s")),
              ElementsAre(is("/fabric/uplink/bandwidth", "3200 Gb/s is 400 GB/s"),
                          is("/fabric/uplink/bandwidth", "uplinks have 8 times the rate")));
}

TEST(Lint, FindsNvlinkOfBothDirectionsTogether) {
  EXPECT_THAT(found(with(kNode, "/node/nvlink/bandwidth", "900 GB/s")),
              ElementsAre(is("/node/nvlink/bandwidth", "900 GB/s is what datasheets give for both directions")));
  EXPECT_THAT(found(with(kNode, "/node/nvlink/bandwidth", "600 GB/s")),
              ElementsAre(is("/node/nvlink/bandwidth", "600 GB/s is more than the 450 GB/s of a h100")));
  EXPECT_THAT(found(with(kNode, "/node/nvlink/bandwidth", "300 GB/s")), IsEmpty()) << "links may be missing";
}

TEST(Lint, FindsSharedNicsWithoutSayingByWhom) {
  EXPECT_THAT(found(with(kNode, "/node/nics", 4)),
              ElementsAre(is("/node/nics", "4 NICs for 8 GPUs, and no PCIe switches")));
  EXPECT_THAT(found(with(with(kNode, "/node/nics", 4), "/node/pcie/switches", 4)), IsEmpty());
}

TEST(Lint, FindsLatenciesThatNoCableHas) {
  for (const char* port : {"nvlink", "pcie", "nic"}) {
    const std::string pointer = std::string("/node/") + port + "/latency";
    EXPECT_THAT(found(with(kNode, pointer.c_str(), "0 ns")), ElementsAre(is(pointer.c_str(), "the latency is 0")));
    EXPECT_THAT(found(with(kNode, pointer.c_str(), "100 us")),
                ElementsAre(is(pointer.c_str(), "100 us is long for one hop")));
  }
  EXPECT_THAT(found(with(kRails, "/fabric/uplink/latency", "0 us")),
              ElementsAre(is("/fabric/uplink/latency", "the latency is 0")));
}

TEST(Lint, SaysThatALabIsEmulatedAndNoMore) {
  EXPECT_THAT(found(json_of("topologies/lab/4x4-oversubscribed.json")),
              ElementsAre(is("/node/host/emulated", "emulated on one computer")));
}

// ---- fabrics -------------------------------------------------------------------------------------------------------

// 32 NICs of 400 Gb/s over 8 spines x 2 cables of 400: 2 to 1. Stated, it is meant.
TEST(Lint, FindsOversubscriptionThatIsNotStated) {
  EXPECT_THAT(found(with(kRails, "/fabric/spines", 8)),
              ElementsAre(is("/fabric/uplink/bandwidth", "NICs have 2 times the rate of its uplinks")));
  EXPECT_THAT(found(shipped("hgx-h100-64nodes-2to1-ndr400")), IsEmpty());
}

TEST(Lint, FindsSwitchesWithMorePortsThanThereAre) {
  json file = with(kRails, "/fabric/nodes_per_pod", 100);
  file["nodes"] = 100;
  file["fabric"]["spines"] = 50;
  EXPECT_THAT(found(file), ElementsAre(is("/fabric/nodes_per_pod", "a leaf has 100 cables down and 100 up")));
  // 2 cables from each of 8 leaves of each of 16 pods.
  file = with(kRails, "/nodes", 16 * 32);
  EXPECT_THAT(found(file), ElementsAre(is("/fabric/spines", "a spine has 256 cables, from 128 leaves")));
}

TEST(Lint, FindsAPodThatIsNotFull) {
  EXPECT_THAT(found(with(kRails, "/nodes", 8)),
              ElementsAre(is("/fabric/nodes_per_pod", "8 nodes do not fill one group of 32")));
}

// 4 nodes with 2 NICs, rails r0 and r1, each cabled to spine x by two cables.
json listed() {
  json file = with(kNode, "/nodes", 4);
  file["node"]["nics"] = 2;
  file["node"]["pcie"]["switches"] = 2;
  json links = json::array();
  for (int node = 0; node < 4; ++node)
    for (int nic = 0; nic < 2; ++nic)
      links.push_back(
          {{"between", {"node" + std::to_string(node) + ".nic" + std::to_string(nic), "r" + std::to_string(nic)}}});
  for (const char* leaf : {"r0", "r1"})
    links.push_back({{"between", {leaf, "x"}}, {"bandwidth", "400 Gb/s"}, {"latency", "300 ns"}, {"count", 4}});
  file["fabric"] = {{"kind", "explicit"}, {"pxn", true}, {"switches", {"r0", "r1", "x"}}, {"links", links}};
  file["sources"]["fabric.links"] = "invented";
  return file;
}

TEST(Lint, FindsNothingInAListThatIsInOrder) { EXPECT_THAT(found(listed()), IsEmpty()); }

TEST(Lint, FindsACableInTheWrongRail) {
  json file = listed();
  std::swap(file["fabric"]["links"][4]["between"][1], file["fabric"]["links"][5]["between"][1]);
  EXPECT_THAT(found(file), ElementsAre(is("/fabric/links/4", "node2.nic0 is on r1, where 3 of 4 are nic1"),
                                       is("/fabric/links/5", "node2.nic1 is on r0, where 3 of 4 are nic0")));
}

TEST(Lint, FindsNicsWithoutACableAndSlowOnes) {
  json file = listed();
  file["fabric"]["links"][7] = {{"between", {"node3.nic0", "r0"}}, {"bandwidth", "200 Gb/s"}};
  EXPECT_THAT(found(file), ElementsAre(is("/fabric/links", "node3.nic1 has no cable"),
                                       is("/fabric/links/7/bandwidth", "has a cable of 200 Gb/s, and the NIC 400 Gb/s"),
                                       is("/fabric/links", "oversubscription of the leaves")));
}

TEST(Lint, FindsUplinksThatAreMissing) {
  json file = listed();
  file["fabric"]["links"][9]["count"] = 2;
  EXPECT_THAT(found(file), ElementsAre(is("/fabric/links", "oversubscription of the leaves is 1 to 2 : 1")));
  file = listed();
  file["fabric"]["switches"].push_back("y");
  EXPECT_THAT(found(file), ElementsAre(is("/fabric/switches", "y has no cable")));
}

TEST(Lint, TellsTheFirstOfManyAndHowManyThereAre) {
  json file = listed();
  for (int link = 0; link < 8; ++link) file["fabric"]["links"][link]["bandwidth"] = "100 Gb/s";
  file["fabric"]["links"].push_back({{"between", {"node0.nic0", "r1"}}, {"bandwidth", "100 Gb/s"}});
  const auto findings = found(file);
  ASSERT_THAT(findings, SizeIs(testing::Ge(8U)));
  EXPECT_THAT(findings[7].what, HasSubstr("; and 1 more like this"));
}

// ---- what the file names -------------------------------------------------------------------------------------------

TEST(Lint, HoldsTheDeviceToItsDatasheet) {
  DeviceSpec datasheet = topology_of(kNode).device;
  EXPECT_THAT(found(kNode, {.calibration = {}, .datasheet = datasheet, .scenario = {}}), IsEmpty());
  datasheet.memory = Bytes(std::int64_t{96'000'000'000});
  datasheet.memory_bandwidth = BytesPerSecond(4e12);
  EXPECT_THAT(found(kNode, {.calibration = {}, .datasheet = datasheet, .scenario = {}}),
              ElementsAre(is("/device", "has memory of 80 GB, the shipped datasheet of that name 96"),
                          is("/device", "has memory_bandwidth of 3.35 TB/s")));
}

TEST(Lint, HoldsTheCalibrationToTheDevice) {
  Calibration calibration = read_calibration("topologies/calibrations/h100-sxm.json");
  EXPECT_THAT(found(kNode, {.calibration = calibration, .datasheet = {}, .scenario = {}}), IsEmpty());
  EXPECT_THAT(found(shipped("hgx-h200-8nodes-ndr400"), {.calibration = calibration, .datasheet = {}, .scenario = {}}),
              ElementsAre(is("/calibration", "h100-sxm is of h100-sxm5-80gb, and the device is h200-sxm-141gb")));
  calibration.device.memory_bandwidth = BytesPerSecond(2e12);
  EXPECT_THAT(found(kNode, {.calibration = calibration, .datasheet = {}, .scenario = {}}),
              ElementsAre(is("/calibration", "was made for 2 TB/s of memory bandwidth")));
}

// ---- faults --------------------------------------------------------------------------------------------------------

std::vector<Finding> of_faults(const json& faults) {
  json scenario = json_of("scenarios/paper/large-ep64.json");
  scenario["cluster"]["topology"] = std::filesystem::absolute("topologies/hgx-h100-8nodes-ndr400.json").string();
  scenario["faults"] = faults;
  const plan::Scenario read = plan::parse_scenario(JsonDocument::from_text(scenario.dump(), "faulty.json"));
  return found(kNode, {.calibration = {}, .datasheet = {}, .scenario = read});
}

TEST(Lint, TellsEveryFaultThatNamesNothing) {
  const auto findings = of_faults(json::parse(R"([{"nic": "node9.nic0", "dead": true},
      {"nic": "node0.nic1", "dead": true}, {"switch": "leaf7", "dead": true}])"));
  ASSERT_THAT(findings, SizeIs(2));
  EXPECT_EQ(findings[0].file, "faulty.json");
  EXPECT_THAT(findings[0], is("/faults/0/nic", "hgx-h100-8nodes-ndr400 has no \"node9.nic0\""));
  EXPECT_THAT(findings[0].why, HasSubstr("its parts are named like"));
  EXPECT_THAT(findings[1], is("/faults/2/switch", "has no \"leaf7\""));
}

TEST(Lint, TellsWhomFaultsPart) {
  EXPECT_THAT(of_faults(json::parse(R"([{"nic": "node0.nic1", "dead": true}])")), IsEmpty());
  EXPECT_THAT(of_faults(json::parse(R"([{"switch": "fabric", "dead": true}])")),
              ElementsAre(is("/faults", "node0.gpu0 and node1.gpu0 reach one another no more")));
}

}  // namespace
}  // namespace foretoken::topology
