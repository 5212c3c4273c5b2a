// Fabrics as ibnetdiscover prints them: each cable once, the rule that they follow, and what is damaged refused.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "calibrate/import/ibnetdiscover.hpp"
#include "plan/machine/topology.hpp"
#include "tests/calibrate/import_log.hpp"

namespace foretoken::calibrate {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;
using Json = nlohmann::ordered_json;

const std::vector<std::string> kNode{"gpus=8", "sm=90", "nvlink=450 GB/s", "pcie=63 GB/s"};

struct Made {
  Json json;
  std::set<std::string> notes;
};

Made made(const std::string& text, std::vector<std::string> assignments = kNode, const std::string& node = "") {
  const LogPlace log{text, "some/fabric.txt"};
  EXPECT_EQ(recognise_log(log), LogFormat::ibnetdiscover);
  ImportSettings settings(assignments);
  const TopologyFiles files{std::filesystem::absolute("topologies/devices/h100-sxm5-80gb.json").string(),
                            std::filesystem::absolute("topologies/calibrations/h100-sxm.json").string()};
  std::optional<NodeFile> inside;
  if (!node.empty()) inside = NodeFile{LogFormat::nccl_topology, {node, "node.xml"}};
  Made result;
  result.json = fabric_topology_of(log, inside, files, settings, result.notes);
  return result;
}

std::string refused(const std::string& text, const std::vector<std::string>& assignments = kNode) {
  try {
    made(text, assignments);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input) << error.what();
    return error.what();
  }
  return "(no error)";
}

plan::Topology read_back(const Json& json) {
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / fmt::format("import_ibnetdiscover_{}.json", ::getpid());
  std::ofstream(file) << json.dump();
  plan::Topology topology = plan::read_topology(file);
  std::filesystem::remove(file);
  return topology;
}

// Invented fabrics, port by port, in the form of `ibnetdiscover -p`.
class InventedFabric {
 public:
  void cable(const std::string& a, const std::string& b, const std::string& speed = "4x NDR") {
    const std::size_t port_a = ++ports_[a];
    const std::size_t port_b = ++ports_[b];
    text_ += line(a, port_a, b, port_b, speed) + line(b, port_b, a, port_a, speed);
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string line(const std::string& a, std::size_t port_a, const std::string& b, std::size_t port_b,
                   const std::string& speed) {
    return fmt::format("{} {} - {} ( '{}' - '{}' )\n", end(a, port_a), speed, end(b, port_b), a, b);
  }
  // An adapter is "host adapter", a switch one word.
  std::string end(const std::string& name, std::size_t port) {
    const auto guid = guids_.emplace(name, 0xa00 + guids_.size()).first->second;
    return fmt::format("{} 7 {} 0x{:016x}", name.find(' ') == std::string::npos ? "SW" : "CA", port, guid);
  }

  std::map<std::string, std::size_t> ports_;
  std::map<std::string, std::size_t> guids_;
  std::string text_;
};

// ---- what is made of it --------------------------------------------------------------------------------------------

// 4 hosts, NIC n on leaf n, 2 cables from each leaf to each of 2 spines; an adapter of 2 x 50 Gb/s on each host is for
// storage, and each leaf has one for sums inside.
TEST(ImportIbnetdiscover, TellsRailsByTheNumbersOfAdapters) {
  const Made from = made(sample("ibnetdiscover/rails.txt"));
  EXPECT_EQ(from.json["nodes"], 4);
  EXPECT_EQ(from.json["node"]["nics"], 2);
  EXPECT_EQ(from.json["node"]["nic"]["bandwidth"], "400 Gb/s");
  EXPECT_EQ(from.json["fabric"], Json::parse(R"({"kind": "rail_optimised", "nodes_per_pod": 4, "spines": 2,
      "uplink": {"cables": 2, "bandwidth": "400 Gb/s", "latency": "300 ns"}})"));
  EXPECT_THAT(from.notes, Contains("adapter mlx5_2 is left out: on no host is it as fast as others"));
  EXPECT_THAT(from.notes, Contains("aggregation nodes of switches are left out"));
  EXPECT_THAT(from.json["about"].get<std::string>(), HasSubstr("node0 is gpu001 and node3 is gpu004"));
  const plan::Topology topology = read_back(from.json);
  EXPECT_EQ(topology.fabric.kind, plan::FabricKind::rail_optimised);
  EXPECT_DOUBLE_EQ(topology.nic_bandwidth.value(), 50e9);
  EXPECT_EQ(plan::build_machine(topology).gpus(), 32);
}

TEST(ImportIbnetdiscover, SaysWhereNumbersComeFrom) {
  const Json sources = made(sample("ibnetdiscover/rails.txt")).json["sources"];
  EXPECT_EQ(sources["node.nic.bandwidth"], "ibnetdiscover, fabric.txt: 4xNDR");
  EXPECT_EQ(sources["fabric.uplink.bandwidth"], "ibnetdiscover, fabric.txt: 4xNDR from leaf to spine");
  EXPECT_THAT(sources["fabric.uplink.latency"].get<std::string>(), StartsWith("assumed: "));
  EXPECT_EQ(sources["node.nvlink.bandwidth"], "as given at the import of ibnetdiscover, fabric.txt");
}

TEST(ImportIbnetdiscover, ReadsTheListOfPortsAlike) {
  const Json blocks = made(sample("ibnetdiscover/rails.txt")).json;
  const Json ports = made(sample("ibnetdiscover/ports.txt")).json;
  EXPECT_EQ(blocks, ports);
}

// Both ends list each of the 8 + 4 + 8 + 2 cables.
TEST(ImportIbnetdiscover, TakesEachCableOnce) {
  const std::string text = sample("ibnetdiscover/rails.txt");
  const LogPlace log{text, "log"};
  const IbFabric fabric = read_ibnetdiscover(log);
  EXPECT_THAT(fabric.cables, SizeIs(8 + 4 + 8 + 2));
  EXPECT_THAT(fabric.descriptions, SizeIs(4 + 12 + 2));
}

TEST(ImportIbnetdiscover, TakesTheNodeFromNcclsTopology) {
  InventedFabric fabric;
  for (int host = 0; host < 3; ++host)
    for (int nic = 0; nic < 8; ++nic) fabric.cable(fmt::format("n{} mlx5_{}", host, nic), "s0");
  const Made from = made(fabric.text(), {}, sample("nccl-topology/hgx8.xml"));
  const plan::Topology topology = read_back(from.json);
  EXPECT_EQ(topology.name, "fabric");
  EXPECT_EQ(topology.nodes, 3);
  EXPECT_EQ(topology.gpus_per_node, 8);
  EXPECT_EQ(topology.pcie_switches, 4);
  EXPECT_EQ(topology.fabric.kind, plan::FabricKind::non_blocking);
  EXPECT_EQ(from.json["sources"]["node.nvlink.bandwidth"],
            "NCCL topology file, node.xml: 18 NVLinks of 25 GB/s each way (compute capability 9.0)");
  EXPECT_EQ(from.json["sources"]["node.nic.bandwidth"], "ibnetdiscover, fabric.txt: 4xNDR");
}

// 3 hosts of 2 adapters, 2 hosts on a leaf: leaf b has one host. Hosts are listed against their order.
TEST(ImportIbnetdiscover, TellsLeavesThatHaveWholeHosts) {
  InventedFabric fabric;
  for (const int host : {11, 9, 10})
    for (int nic = 0; nic < 2; ++nic) fabric.cable(fmt::format("n{} mlx5_{}", host, nic), host < 11 ? "a" : "b");
  for (const char* leaf : {"a", "b"})
    for (const char* spine : {"x", "y"}) fabric.cable(leaf, spine, "4x HDR");
  const Made from = made(fabric.text());
  EXPECT_EQ(from.json["fabric"], Json::parse(R"({"kind": "leaf_spine", "nodes_per_leaf": 2, "spines": 2,
      "uplink": {"cables": 1, "bandwidth": "200 Gb/s", "latency": "300 ns"}})"));
  EXPECT_THAT(from.json["about"].get<std::string>(), HasSubstr("node0 is n9 and node2 is n11"));
}

// One cable too few, and no rule holds.
TEST(ImportIbnetdiscover, ListsWhatFollowsNoRule) {
  InventedFabric fabric;
  for (int host = 0; host < 2; ++host)
    for (int nic = 0; nic < 2; ++nic) fabric.cable(fmt::format("n{} mlx5_{}", host, nic), nic == 0 ? "r0" : "r1");
  fabric.cable("r0", "x");
  fabric.cable("r0", "x");
  fabric.cable("r1", "x");
  const Made from = made(fabric.text(), {"gpus=8", "sm=90", "nvlink=450 GB/s", "pcie=63 GB/s", "switch_latency=1 us"});
  EXPECT_THAT(from.notes, Contains("leaves and spines follow no rule: the fabric is a list of its cables"));
  EXPECT_EQ(from.json["fabric"]["kind"], "explicit");
  EXPECT_EQ(from.json["fabric"]["pxn"], true);
  EXPECT_THAT(from.json["fabric"]["links"], Contains(Json::parse(R"({"between": ["r0", "x"], "bandwidth": "400 Gb/s",
      "latency": "1 us", "count": 2})")));
  EXPECT_THAT(from.json["fabric"]["links"], Contains(Json::parse(R"({"between": ["node1.nic0", "r0"]})")));
  EXPECT_EQ(read_back(from.json).fabric.cables.size(), 6U);
}

// A cable that came up at half its lanes stays, with its rate; an adapter that is missing on one host has none.
TEST(ImportIbnetdiscover, KeepsSlowCablesAndBareNics) {
  InventedFabric fabric;
  for (int host = 0; host < 3; ++host)
    for (int nic = 0; nic < 4; ++nic) {
      if (host == 2 && nic == 3) continue;
      fabric.cable(fmt::format("n{} mlx5_{}", host, nic), "s", host == 1 && nic == 0 ? "2x NDR" : "4x NDR");
    }
  const Made from = made(fabric.text());
  EXPECT_THAT(from.notes, Contains("host n2 has 3 of 4 adapters: the others have no cable"));
  EXPECT_THAT(from.json["fabric"]["links"],
              Contains(Json::parse(R"({"between": ["node1.nic0", "s"], "bandwidth": "200 Gb/s"})")));
  EXPECT_EQ(read_back(from.json).fabric.cables.size(), 11U);
}

TEST(ImportIbnetdiscover, LeavesOutHostsOfAnotherKindAndTakesThoseThatAreNamed) {
  InventedFabric fabric;
  for (int host = 0; host < 2; ++host)
    for (int nic = 0; nic < 5; ++nic) fabric.cable(fmt::format("gpu{} mlx5_{}", host, nic), "s");
  fabric.cable("login mlx5_0", "s");
  EXPECT_THAT(refused(fabric.text()), HasSubstr("hosts have 5 adapters for 8 GPUs"));
  std::vector<std::string> chosen = kNode;
  chosen.emplace_back("hcas=mlx5_4,mlx5_0");
  EXPECT_THAT(made(fabric.text(), chosen).notes, Contains(HasSubstr("host login has 1 of 2 adapters")));
  EXPECT_EQ(made(fabric.text(), chosen).json["nodes"], 3);
  chosen.emplace_back("hosts=gpu");
  const Made from = made(fabric.text(), chosen);
  EXPECT_EQ(from.json["nodes"], 2);
  EXPECT_EQ(from.json["node"]["nics"], 2);
  EXPECT_THAT(from.notes, Contains("hosts that are not gpu... are left out, as was asked for"));
}

TEST(ImportIbnetdiscover, TellsPortsOfOneAdapterApart) {
  InventedFabric fabric;
  for (int host = 0; host < 2; ++host)
    for (int port = 0; port < 2; ++port) fabric.cable(fmt::format("n{} mlx5_0", host), port == 0 ? "a" : "b");
  fabric.cable("a", "x");
  fabric.cable("b", "x");
  EXPECT_EQ(made(fabric.text()).json["fabric"]["kind"], "rail_optimised");
}

// Adaptors' rates by width and speed, Gb/s: 4 x 25, 4 x 100, 12 x 8.
TEST(ImportIbnetdiscover, KnowsWidthsAndSpeeds) {
  for (const auto& [speed, rate] : std::map<std::string, std::string>{{"4x EDR", "100 Gb/s"},
                                                                      {"4x NDR", "400 Gb/s"},
                                                                      {"4x XDR", "800 Gb/s"},
                                                                      {"12x QDR", "96 Gb/s"},
                                                                      {"1x FDR10", "10 Gb/s"}}) {
    InventedFabric fabric;
    fabric.cable("a m0", "s", speed);
    fabric.cable("b m0", "s", speed);
    EXPECT_EQ(made(fabric.text()).json["node"]["nic"]["bandwidth"], rate);
  }
}

// ---- what is refused -----------------------------------------------------------------------------------------------

struct Damage {
  const char* name;
  const char* from;
  const char* to;
  const char* says;
};
void PrintTo(const Damage& damage, std::ostream* out) { *out << damage.name; }

class DamagedBlocks : public ::testing::TestWithParam<Damage> {};

TEST_P(DamagedBlocks, AreRefusedWithTheirLine) {
  const std::string text = with(sample("ibnetdiscover/rails.txt"), GetParam().from, GetParam().to);
  const std::string said = refused(text);
  EXPECT_THAT(said, StartsWith("some/fabric.txt:"));
  EXPECT_THAT(said, HasSubstr(GetParam().says));
  EXPECT_THAT(said, HasSubstr("; ")) << "what would be right is missing";
}

INSTANTIATE_TEST_SUITE_P(
    Logs, DamagedBlocks,
    ::testing::Values(
        Damage{"UnknownSpeed", "lid 5 4xNDR", "lid 5 4x???", ":11: \"4x???\" for a port's width and speed"},
        Damage{"UnknownWidth", "lid 5 4xNDR", "lid 5 ??NDR", ":11: \"??NDR\" for a port's width and speed"},
        Damage{"NoSpeed", "lid 5 4xNDR", "lid 5", ":11: a port without its speed"},
        Damage{"NoComment", "\t\t# \"gpu001 mlx5_0\" lid 5 4xNDR", "", ":11: a port without its speed"},
        Damage{"ThreeLanes", "lid 5 4xNDR", "lid 5 3xNDR", "\"3xNDR\""},
        Damage{"OtherSpeed", "lid 5 4xNDR", "lid 5 4xHDR", "and its other end, on line"},
        Damage{"BadPort", "[1]\t\"H-", "[x]\t\"H-", ":11: a port without its number in brackets"},
        Damage{"PortZero", "[1]\t\"H-", "[0]\t\"H-", ":11: a port without its number in brackets"},
        Damage{"OpenBracket", "[1]\t\"H-", "[1\t\"H-", ":11: a port without its number in brackets"},
        Damage{"BadGuid", "\"H-0000000000000c00\"[1](c00)", "\"H-zz\"[1](c00)", ":11: a port without the device"},
        Damage{"OpenGuid", "[1](c00) \t\"S", "[1](c00 \t\"S", "a port's GUID that does not end"},
        Damage{"PortTwice", "[2]\t\"H-", "[1]\t\"H-", ":12: port 1 of switch 0xb00 appears a second time"},
        Damage{"OtherPeer", "[2]\t\"H-0000000000000c10\"", "[2]\t\"H-0000000000000c20\"", "which is cabled to"},
        Damage{"PeerThatIsNotThere", "[2]\t\"H-0000000000000c10\"", "[2]\t\"H-0000000000000fff\"",
               "which is cabled to port 1 of adapter 0xfff"},
        Damage{"OneEndOnly", "[1](c00) \t\"S-0000000000000b00\"[1]\t\t# lid 5 lmc 0 \"leaf-r0\" lid 1 4xNDR\n", "",
               "which is not listed; both ends list a cable: discovery failed there"},
        Damage{"CabledToItself", "\"H-0000000000000c00\"[1](c00)", "\"S-0000000000000b00\"[1]", "cabled to itself"},
        Damage{"DeviceTwice", "Switch\t65 \"S-0000000000000b01\"", "Switch\t65 \"S-0000000000000b00\"",
               "switch 0xb00 appears a second time"},
        Damage{"DeviceWithoutPorts", "Switch\t65 \"S", "Switch\t\"S", ":10: a device without its number of ports"},
        Damage{"DeviceWithoutName", "Switch\t65 \"S-0000000000000b00\"", "Switch\t65",
               ":10: a device without its name"},
        Damage{"DeviceOfAnotherKind", "Switch\t65 \"S-", "Switch\t65 \"H-", ":10: a device without its name"},
        Damage{"DeviceWithoutDescription", "\t\t# \"leaf-r0\" enhanced port 0 lid 1 lmc 0", "",
               ":10: a device without its description"},
        Damage{"PortBeforeDevices", "vendid=0x2c9", "[1]\t\"H-0000000000000c00\"[1]",
               ":6: a port before the first device"},
        Damage{"OtherText", "vendid=0x2c9", "Dear all,", ":6: \"Dear all,\" is no line of ibnetdiscover"},
        Damage{"NoHostName", "\"gpu001 mlx5_0\"\n", "\"MT4129 ConnectX7 Mellanox Technologies\"\n",
               "does rdma-ndd run on the hosts?"},
        Damage{"HostTwice", "\"gpu002 mlx5_0\"\n", "\"gpu001 mlx5_0\"\n", "host gpu001 has two adapters mlx5_0"}),
    [](const auto& test) { return std::string(test.param.name); });

class DamagedPorts : public ::testing::TestWithParam<Damage> {};

TEST_P(DamagedPorts, AreRefusedWithTheirLine) {
  const std::string said = refused(with(sample("ibnetdiscover/ports.txt"), GetParam().from, GetParam().to));
  EXPECT_THAT(said, StartsWith("some/fabric.txt:"));
  EXPECT_THAT(said, HasSubstr(GetParam().says));
  EXPECT_THAT(said, HasSubstr("; "));
}

INSTANTIATE_TEST_SUITE_P(
    Logs, DamagedPorts,
    ::testing::Values(
        Damage{"NoPeer", " - CA     5  1 0x0000000000000c00 ( 'leaf-r0' - 'gpu001 mlx5_0' )", "", ":1: a port without"},
        Damage{"NoNames", " ( 'leaf-r0' - 'gpu001 mlx5_0' )", "", ":1: a port without the names of both ends"},
        Damage{"OpenNames", "'leaf-r0' - 'gpu001 mlx5_0' )", "'leaf-r0' - 'gpu001 mlx5_0'", ":1: names of both ends"},
        Damage{"OtherName", "( 'leaf-r0' - 'gpu002", "( 'leaf-r9' - 'gpu002", ":2: switch 0xb00 is \"leaf-r9\" here"},
        Damage{"MissingColumn", "4x NDR - CA     5", "NDR - CA     5", ":1: a port of another number of columns"},
        Damage{"UnknownKind", "- CA     5", "- XX     5", ":1: \"XX\" for a kind of device"},
        Damage{"BadGuid", "0x0000000000000c00 ( ", "0xg ( ", ":1: a port without its number and GUID"},
        Damage{"BadPort", "SW     1  1 0x", "SW     1  q 0x", ":1: a port without its number and GUID"},
        Damage{"UnknownSpeed", "4x NDR", "4x ???", ":1: \"4x???\" for a port's width and speed"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(ImportIbnetdiscover, RefusesSettingsThatDoNotFit) {
  const std::string text = sample("ibnetdiscover/rails.txt");
  EXPECT_EQ(refused(text, {}), "some/fabric.txt: the log does not say gpus; add --set gpus=8");
  EXPECT_THAT(refused(text, {"gpus=8"}), HasSubstr("does not say sm"));
  EXPECT_THAT(refused(text, {"gpus=8", "sm=90", "nvlink=450 GB/s"}), HasSubstr("does not say pcie"));
  const auto also = [&](const char* one) {
    std::vector<std::string> all = kNode;
    all.emplace_back(one);
    return refused(text, all);
  };
  EXPECT_THAT(also("nodes=8"), HasSubstr("the fabric says itself how many hosts it has"));
  EXPECT_THAT(also("hosts=cpu"), HasSubstr("has no host cpu..."));
  EXPECT_THAT(also("hcas=mlx5_7"), HasSubstr("no host has an adapter \"mlx5_7\""));
  EXPECT_THAT(also("hcas=mlx5_0,mlx5_0"), HasSubstr("mlx5_0 is named twice"));
  EXPECT_THAT(also("nic=400 Gb/s"), HasSubstr("this log says so itself"));
  EXPECT_THAT(also("switch_latency=300"), HasSubstr("is no time with a unit"));
}

// Every prefix of a file is refused or, where a whole block was cut off that nobody is cabled to, read: never a crash.
TEST(ImportIbnetdiscover, RefusesEveryCutFile) {
  const std::string text = sample("ibnetdiscover/rails.txt");
  int read = 0;
  for (std::size_t size = text.find("switchguid") + 13; size + 1 < text.size(); size += 7)
    read += refused(text.substr(0, size)) == "(no error)" ? 1 : 0;
  EXPECT_EQ(read, 0);
}

}  // namespace
}  // namespace foretoken::calibrate
