// Routes over fabrics of leaves and spines, over rails, and over cables listed one by one.
//
// Hops of invented machines: NVLink 1 us, PCIe 2 us, NIC 3 us, leaf to spine 5 us, so that sums tell them apart.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "plan/machine/topology.hpp"

namespace foretoken::plan {
namespace {

using namespace literals;
using ::testing::ElementsAre;

Topology base(std::int64_t nodes, std::int64_t gpus) {
  Topology topology;
  topology.name = "invented";
  topology.nodes = nodes;
  topology.gpus_per_node = gpus;
  topology.nvlink_bandwidth = 100_GBps;
  topology.nvlink_latency = 1_us;
  topology.pcie_bandwidth = 20_GBps;
  topology.pcie_latency = 2_us;
  topology.nic_bandwidth = 10_GBps;
  topology.nic_latency = 3_us;
  topology.fabric.uplink_latency = 5_us;
  return topology;
}

Topology leaf_spine(std::int64_t nodes, std::int64_t gpus, std::int64_t nodes_per_leaf, std::int64_t spines) {
  Topology topology = base(nodes, gpus);
  topology.fabric.kind = FabricKind::leaf_spine;
  topology.fabric.nodes_per_leaf = nodes_per_leaf;
  topology.fabric.spines = spines;
  topology.fabric.uplink_bandwidth = 10_GBps;
  return topology;
}

Topology rails(std::int64_t nodes, std::int64_t gpus, std::int64_t nodes_per_pod, std::int64_t spines, bool pxn) {
  Topology topology = leaf_spine(nodes, gpus, nodes_per_pod, spines);
  topology.fabric.kind = FabricKind::rail_optimised;
  topology.fabric.pxn = pxn;
  return topology;
}

// 3 nodes of 2 GPUs: nodes 0 and 1 on switch a, nodes 1 and 2 on switch b, and a - b twice.
Topology listed() {
  Topology topology = base(3, 2);
  topology.fabric.kind = FabricKind::explicit_list;
  topology.fabric.switches = {"a", "b"};
  const auto add = [&](const char* from, const char* to, std::int64_t count) {
    topology.fabric.cables.push_back({from, to, 10_GBps, 3_us, count});
  };
  for (const char* nic : {"node0.nic0", "node0.nic1", "node1.nic0"}) add(nic, "a", 1);
  for (const char* nic : {"node1.nic1", "node2.nic0", "node2.nic1"}) add(nic, "b", 1);
  add("a", "b", 2);
  return topology;
}

RankId gpu_at(std::int64_t id) { return RankId(static_cast<std::int32_t>(id)); }

std::vector<std::string> visited(const Machine& machine, std::int64_t from, std::int64_t to) {
  std::vector<std::string> names;
  for (const LinkId id : machine.route(gpu_at(from), gpu_at(to))) {
    const Link& link = machine.links()[id.index()];
    if (names.empty()) names.push_back(machine.vertex_name(link.from));
    EXPECT_EQ(names.back(), machine.vertex_name(link.from)) << "links of a route must join";
    names.push_back(machine.vertex_name(link.to));
  }
  return names;
}

double latency_us(const Machine& machine, std::int64_t from, std::int64_t to) {
  double sum = 0;
  for (const LinkId id : machine.route(gpu_at(from), gpu_at(to)))
    sum += machine.links()[id.index()].latency.value() * 1e6;
  return sum;
}

// Of every pair: begins and ends where it should, joins, passes nothing twice, uses nothing dead.
void expect_sound_routes(const Machine& machine) {
  for (std::int64_t from = 0; from < machine.gpus(); ++from) {
    for (std::int64_t to = 0; to < machine.gpus(); ++to) {
      const std::vector<std::string> names = visited(machine, from, to);
      if (from == to) {
        EXPECT_TRUE(names.empty());
        continue;
      }
      ASSERT_FALSE(names.empty()) << from << " to " << to;
      EXPECT_EQ(names.front(), machine.vertex_name(VertexId(gpu_at(from).value())));
      EXPECT_EQ(names.back(), machine.vertex_name(VertexId(gpu_at(to).value())));
      EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size()) << "a loop";
      for (const LinkId link : machine.route(gpu_at(from), gpu_at(to))) EXPECT_FALSE(machine.is_dead(link));
    }
  }
}

TEST(FabricRoutes, OfEveryKindAreSound) {
  Topology sharing = rails(5, 4, 2, 2, true);
  sharing.nics_per_node = 2;
  sharing.pcie_switches = 2;
  Topology trunks = leaf_spine(5, 4, 2, 3);
  trunks.fabric.spread = Spread::ideal;
  for (const Topology& topology : {leaf_spine(5, 4, 2, 3), rails(5, 4, 2, 3, true), rails(5, 4, 2, 3, false),
                                   rails(3, 4, 3, 0, true), sharing, trunks, listed()})
    expect_sound_routes(build_machine(topology));
}

// In the node 2 x 1 us; on one leaf 2 x (2 + 3) us; over a spine 2 x 5 us more.
TEST(FabricRoutes, LeafSpineHops) {
  const Machine machine = build_machine(leaf_spine(4, 2, 2, 1));
  EXPECT_THAT(visited(machine, 0, 3), ElementsAre("node0.gpu0", "node0.nic0", "leaf0", "node1.nic1", "node1.gpu1"));
  EXPECT_THAT(visited(machine, 0, 7),
              ElementsAre("node0.gpu0", "node0.nic0", "leaf0", "spine0", "leaf1", "node3.nic1", "node3.gpu1"));
  EXPECT_NEAR(latency_us(machine, 0, 1), 2, 1e-9);
  EXPECT_NEAR(latency_us(machine, 0, 3), 10, 1e-9);
  EXPECT_NEAR(latency_us(machine, 0, 7), 20, 1e-9);
}

// 2 nodes x 2 NICs x 10 GB/s on a leaf, 4 : 1: 10 GB/s up, on 2 spines x 2 cables 2.5 GB/s each; sprayed, one of 10.
TEST(FabricRoutes, OversubscriptionSharesTheLeafsUplinks) {
  Topology topology = leaf_spine(4, 2, 2, 2);
  topology.fabric.cables_per_spine = 2;
  topology.fabric.uplink_bandwidth = BytesPerSecond(0);
  topology.fabric.oversubscription = 4;
  const auto uplinks = [](const Machine& machine) {
    std::vector<double> rates;
    for (const Link& link : machine.links())
      if (machine.vertex_name(link.from) == "leaf1" && machine.kind_of(link.to) == VertexKind::fabric_switch)
        rates.push_back(link.bandwidth.value());
    return rates;
  };
  EXPECT_THAT(uplinks(build_machine(topology)), ElementsAre(2.5e9, 2.5e9, 2.5e9, 2.5e9));
  topology.fabric.spread = Spread::ideal;
  EXPECT_THAT(uplinks(build_machine(topology)), ElementsAre(10e9));
}

// 16 x 16 pairs from leaf to leaf over 4 spines: 64 each if the hash were fair to the last one; its variance is that of
// throwing dice, sqrt(256 x 1/4 x 3/4) = 7, so all are within 5 sigma. Another salt throws again; the same one does
// not.
TEST(FabricRoutes, EcmpSpreadsPairsByHash) {
  const auto spines_of = [](std::uint64_t salt) {
    Topology topology = leaf_spine(4, 8, 2, 4);
    topology.fabric.salt = salt;
    const Machine machine = build_machine(topology);
    std::vector<std::string> spines;
    for (std::int64_t from = 0; from < 16; ++from)
      for (std::int64_t to = 16; to < 32; ++to) spines.push_back(visited(machine, from, to)[3]);
    return spines;
  };
  const std::vector<std::string> chosen = spines_of(1);
  std::map<std::string, int> count;
  for (const std::string& spine : chosen) ++count[spine];
  EXPECT_EQ(count.size(), 4U);
  for (const auto& [spine, pairs] : count) EXPECT_NEAR(pairs, 64, 35) << spine;
  EXPECT_EQ(spines_of(1), chosen);
  EXPECT_NE(spines_of(2), chosen);
}

// GPU 0 of node 0 to GPU 1 of node 1, in one pod and across pods. Without PXN the message leaves by the sender's own
// NIC, so that it has to change rails over a spine; with it, it changes rails inside the node.
TEST(FabricRoutes, RailsWithAndWithoutPxn) {
  const Machine plain = build_machine(rails(4, 2, 2, 1, false));
  EXPECT_THAT(visited(plain, 0, 2), ElementsAre("node0.gpu0", "node0.nic0", "pod0.leaf0", "node1.nic0", "node1.gpu0"));
  EXPECT_THAT(visited(plain, 0, 3), ElementsAre("node0.gpu0", "node0.nic0", "pod0.leaf0", "spine0", "pod0.leaf1",
                                                "node1.nic1", "node1.gpu1"));
  const Machine pxn = build_machine(rails(4, 2, 2, 1, true));
  EXPECT_THAT(visited(pxn, 0, 3), ElementsAre("node0.gpu0", "node0.nvswitch", "node0.gpu1", "node0.nic1", "pod0.leaf1",
                                              "node1.nic1", "node1.gpu1"));
  EXPECT_THAT(visited(pxn, 0, 6), ElementsAre("node0.gpu0", "node0.nic0", "pod0.leaf0", "spine0", "pod1.leaf0",
                                              "node3.nic0", "node3.gpu0"));
}

// 8 GPUs, 4 NICs, 2 PCIe switches: GPUs 0..3 and NICs 0, 1 under the first. GPU 3 has NIC 1; NIC 2 is under the other
// switch, and of its GPUs 4 and 5 the one whose number has the parity of the sender's passes the message on.
TEST(FabricRoutes, NicsSharedUnderPcieSwitches) {
  Topology topology = rails(2, 8, 2, 1, true);
  topology.nics_per_node = 4;
  topology.pcie_switches = 2;
  const Machine machine = build_machine(topology);
  EXPECT_EQ(machine.nics_per_node(), 4);
  EXPECT_THAT(visited(machine, 3, 8 + 2), ElementsAre("node0.gpu3", "node0.pcie0", "node0.nic1", "pod0.leaf1",
                                                      "node1.nic1", "node1.pcie0", "node1.gpu2"));
  EXPECT_THAT(visited(machine, 3, 8 + 0), ElementsAre("node0.gpu3", "node0.pcie0", "node0.nic0", "pod0.leaf0",
                                                      "node1.nic0", "node1.pcie0", "node1.gpu0"));
  EXPECT_THAT(visited(machine, 3, 8 + 4),
              ElementsAre("node0.gpu3", "node0.nvswitch", "node0.gpu5", "node0.pcie1", "node0.nic2", "pod0.leaf2",
                          "node1.nic2", "node1.pcie1", "node1.gpu4"));
  EXPECT_THAT(visited(machine, 0, 1), ElementsAre("node0.gpu0", "node0.nvswitch", "node0.gpu1")) << "not over PCIe";
}

TEST(FabricRoutes, ListedCables) {
  const Machine machine = build_machine(listed());
  EXPECT_THAT(visited(machine, 0, 2), ElementsAre("node0.gpu0", "node0.nic0", "a", "node1.nic0", "node1.gpu0"));
  EXPECT_THAT(visited(machine, 0, 4), ElementsAre("node0.gpu0", "node0.nic0", "a", "b", "node2.nic0", "node2.gpu0"));
  // PCIe 2 us at either end, three cables of 3 us between.
  EXPECT_NEAR(latency_us(machine, 0, 4), 13, 1e-9);
  std::set<LinkId> cables;
  for (const std::int64_t from : {0, 1, 2})
    for (const std::int64_t to : {4, 5}) cables.insert(machine.route(gpu_at(from), gpu_at(to))[2]);
  EXPECT_EQ(cables.size(), 2U) << "both cables are used";
}

TEST(FabricRoutes, NamesLeadBackToVertices) {
  Topology topology = rails(3, 4, 2, 2, true);
  topology.nics_per_node = 2;
  topology.pcie_switches = 2;
  for (const Machine& machine : {build_machine(topology), build_machine(listed()), build_machine(base(2, 2))}) {
    std::set<std::string> names;
    for (std::size_t v = 0; v < machine.vertices(); ++v) {
      const std::string name = machine.vertex_name(VertexId(v));
      EXPECT_EQ(machine.find_vertex(name), VertexId(v)) << name;
      names.insert(name);
    }
    EXPECT_EQ(names.size(), machine.vertices());
    for (const char* name : {"", "node", "node9.gpu0", "node0.gpu9", "node0.gpu00", "node-1.gpu0", "node0.gpu0 "})
      EXPECT_FALSE(machine.find_vertex(name).valid()) << name;
  }
}

std::vector<LinkId> cables_at(const Machine& machine, const std::string& vertex) {
  std::vector<LinkId> links;
  for (std::size_t l = 0; l < machine.links().size(); ++l)
    if (machine.vertex_name(machine.links()[l].from) == vertex) links.emplace_back(l);
  return links;
}

// With its NIC dead, GPU 0 goes over NVLink to its neighbour's, in both directions; others keep their routes to the
// byte. With both NICs of the node dead nothing leaves it, but inside all is well.
TEST(DeadLinks, AreAvoidedByThoseWhoUsedThem) {
  for (const Topology& topology : {base(3, 2), leaf_spine(4, 2, 2, 2), rails(4, 2, 2, 2, true)}) {
    const Machine healthy = build_machine(topology);
    const Machine damaged = healthy.without(cables_at(healthy, "node0.nic0"));
    expect_sound_routes(damaged);
    EXPECT_THAT(visited(damaged, 0, 2),
                testing::IsSupersetOf({"node0.gpu0", "node0.nvswitch", "node0.gpu1", "node0.nic1", "node1.gpu0"}));
    EXPECT_THAT(visited(damaged, 2, 0), testing::IsSupersetOf({"node0.nic1", "node0.gpu1", "node0.nvswitch"}));
    for (std::int64_t from = 0; from < damaged.gpus(); ++from)
      for (std::int64_t to = 0; to < damaged.gpus(); ++to) {
        const auto before = healthy.route(gpu_at(from), gpu_at(to));
        if (std::any_of(before.begin(), before.end(), [&](LinkId link) { return damaged.is_dead(link); })) continue;
        EXPECT_EQ(damaged.route(gpu_at(from), gpu_at(to)).data(), before.data());
      }
    const Machine cut = damaged.without(cables_at(healthy, "node0.nic1"));
    EXPECT_TRUE(cut.route(gpu_at(0), gpu_at(2)).empty());
    EXPECT_TRUE(cut.route(gpu_at(3), gpu_at(1)).empty());
    EXPECT_EQ(cut.route(gpu_at(0), gpu_at(1)).size(), 2U);
  }
}

// Whichever NICs die, none of those that are left has to do more for others than it must.
TEST(DeadLinks, NicsThatWorkTakeTurns) {
  const Machine healthy = build_machine(base(2, 8));
  for (const std::vector<int>& dead : {std::vector<int>{4, 5, 6, 7}, {1, 3, 5, 7}, {0, 1, 2, 3, 6, 7}, {2}}) {
    std::vector<LinkId> cables;
    for (const int nic : dead)
      for (const LinkId link : cables_at(healthy, "node0.nic" + std::to_string(nic))) cables.push_back(link);
    const Machine damaged = healthy.without(cables);
    std::map<std::string, std::size_t> gpus;  // by NIC that they leave node 0 through
    for (std::int64_t from = 0; from < 8; ++from)
      for (const std::string& name : visited(damaged, from, 8 + from))
        if (name.starts_with("node0.nic")) ++gpus[name];
    ASSERT_EQ(gpus.size(), 8 - dead.size());
    for (const auto& [nic, count] : gpus) EXPECT_LE(count, 1 + (dead.size() + gpus.size() - 1) / gpus.size()) << nic;
  }
}

TEST(DeadLinks, ADeadSpineLeavesTheOthers) {
  const Machine healthy = build_machine(leaf_spine(4, 4, 2, 3));
  const Machine damaged = healthy.without(cables_at(healthy, "spine1"));
  expect_sound_routes(damaged);
  for (std::int64_t from = 0; from < 8; ++from)
    for (std::int64_t to = 8; to < 16; ++to) {
      const auto before = visited(healthy, from, to);
      if (before[3] == "spine1") EXPECT_NE(visited(damaged, from, to)[3], "spine1");
      else EXPECT_EQ(visited(damaged, from, to), before);
    }
}

// Without the NVSwitch, GPUs under one PCIe switch have that, and others the network.
TEST(DeadLinks, ANodeWithoutItsNvSwitch) {
  Topology topology = base(2, 4);
  topology.pcie_switches = 2;
  const Machine healthy = build_machine(topology);
  const Machine damaged = healthy.without(cables_at(healthy, "node0.nvswitch"));
  expect_sound_routes(damaged);
  EXPECT_THAT(visited(damaged, 0, 1), ElementsAre("node0.gpu0", "node0.pcie0", "node0.gpu1"));
  EXPECT_THAT(visited(damaged, 0, 2), ElementsAre("node0.gpu0", "node0.pcie0", "node0.nic0", "fabric", "node0.nic2",
                                                  "node0.pcie1", "node0.gpu2"));
}

// 131,072 GPUs on rails of 32 nodes: built in seconds, and a thousand routes found in much less than one. The bounds
// are loose, for busy machines; building takes about half a second.
TEST(FabricRoutes, TheLargestMachineIsCheap) {
  const auto start = std::chrono::steady_clock::now();
  Topology topology = rails(16'384, 8, 32, 64, true);
  topology.pcie_switches = 4;
  const Machine machine = build_machine(topology);
  // Per GPU NVLink, PCIe, NIC's PCIe and NIC to leaf; per leaf 64 cables; all in both directions.
  EXPECT_EQ(machine.links().size(), 2U * (4 * 131'072 + 4'096 * 64));
  for (std::int64_t i = 0; i < 1000; ++i)
    EXPECT_GE(machine.route(gpu_at(i * 131), gpu_at(131'071 - i * 7 % 64)).size(), 2U) << i;
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
}

}  // namespace
}  // namespace foretoken::plan
