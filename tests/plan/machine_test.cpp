#include "plan/machine/machine.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <queue>
#include <string>
#include <thread>
#include <vector>

#include "core/error.hpp"
#include "plan/machine/topology.hpp"

namespace foretoken::plan {
namespace {

using namespace literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Round numbers that differ from one another, so that a mix-up shows.
Topology invented(std::int64_t nodes, std::int64_t gpus_per_node) {
  Topology topology;
  topology.name = "invented";
  topology.device.name = "round-gpu";
  topology.nodes = nodes;
  topology.gpus_per_node = gpus_per_node;
  topology.nvlink_bandwidth = 100_GBps;
  topology.nvlink_latency = 1_us;
  topology.pcie_bandwidth = 20_GBps;
  topology.pcie_latency = 2_us;
  topology.nic_bandwidth = 10_GBps;
  topology.nic_latency = 3_us;
  topology.nvls = true;
  return topology;
}

RankId gpu(std::int64_t id) { return RankId(static_cast<std::int32_t>(id)); }

// The names of the vertices that a route visits.
std::vector<std::string> visited(const Machine& machine, std::span<const LinkId> route) {
  std::vector<std::string> names;
  for (const LinkId id : route) {
    const Link& link = machine.links()[id.index()];
    if (names.empty()) names.push_back(machine.vertex_name(link.from));
    EXPECT_EQ(names.back(), machine.vertex_name(link.from)) << "links of a route must join";
    names.push_back(machine.vertex_name(link.to));
  }
  return names;
}

// Plain breadth-first search over links(): the truth for the trees by Boost.
std::vector<int> hops_from(const Machine& machine, std::int32_t start) {
  std::size_t vertices = 0;
  for (const Link& link : machine.links()) vertices = std::max(vertices, link.to.index() + 1);
  std::vector<std::vector<std::int32_t>> next(vertices);
  for (const Link& link : machine.links()) next[link.from.index()].push_back(link.to.value());
  std::vector<int> hops(vertices, -1);
  std::queue<std::int32_t> pending;
  pending.push(start);
  hops[static_cast<std::size_t>(start)] = 0;
  while (!pending.empty()) {
    const auto here = static_cast<std::size_t>(pending.front());
    pending.pop();
    for (const std::int32_t to : next[here]) {
      if (hops[static_cast<std::size_t>(to)] >= 0) continue;
      hops[static_cast<std::size_t>(to)] = hops[here] + 1;
      pending.push(to);
    }
  }
  return hops;
}

TEST(Machine, NumbersGpusNodeByNode) {
  const Machine machine = build_machine(invented(3, 4));
  EXPECT_EQ(machine.gpus(), 12);
  EXPECT_EQ(machine.nodes(), 3);
  EXPECT_EQ(machine.node_of(gpu(0)), 0);
  EXPECT_EQ(machine.node_of(gpu(7)), 1);
  EXPECT_EQ(machine.node_of(gpu(11)), 2);
  EXPECT_TRUE(machine.nvls());
  EXPECT_EQ(machine.name(), "invented");
  EXPECT_EQ(machine.device().name, "round-gpu");
}

TEST(MachineRoutes, InsideANodeGoOverItsNvSwitch) {
  const Machine machine = build_machine(invented(2, 4));
  EXPECT_THAT(visited(machine, machine.route(gpu(5), gpu(6))),
              ElementsAre("node1.gpu1", "node1.nvswitch", "node1.gpu2"));
}

TEST(MachineRoutes, BetweenNodesUseBothNicsAndTheFabric) {
  const Machine machine = build_machine(invented(2, 4));
  EXPECT_THAT(visited(machine, machine.route(gpu(1), gpu(6))),
              ElementsAre("node0.gpu1", "node0.nic1", "fabric", "node1.nic2", "node1.gpu2"));
}

TEST(MachineRoutes, ToOneselfIsEmpty) {
  const Machine machine = build_machine(invented(1, 1));
  EXPECT_THAT(machine.route(gpu(0), gpu(0)), IsEmpty());
}

// Every link has the class, bandwidth and latency of its place; 1 + 2 + 3 us differ, so the sums tell them apart:
// inside a node 2 x 1 us, between nodes 2 x (2 + 3) us.
TEST(MachineRoutes, CarryTheTopologysNumbers) {
  const Machine machine = build_machine(invented(2, 4));
  double inside = 0;
  for (const LinkId id : machine.route(gpu(0), gpu(1))) {
    const Link& link = machine.links()[id.index()];
    EXPECT_EQ(link.link_class, LinkClass::nvlink);
    EXPECT_EQ(link.bandwidth, 100_GBps);
    inside += link.latency.value();
  }
  EXPECT_NEAR(inside, 2e-6, 1e-15);

  double between = 0;
  std::vector<LinkClass> classes;
  for (const LinkId id : machine.route(gpu(0), gpu(4))) {
    const Link& link = machine.links()[id.index()];
    classes.push_back(link.link_class);
    EXPECT_EQ(link.bandwidth, link.link_class == LinkClass::pcie ? 20_GBps : 10_GBps);
    between += link.latency.value();
  }
  EXPECT_THAT(classes, ElementsAre(LinkClass::pcie, LinkClass::infiniband, LinkClass::infiniband, LinkClass::pcie));
  EXPECT_NEAR(between, 10e-6, 1e-15);
}

// Each direction of a cable is a link of its own: the way there and the way back share none.
TEST(MachineRoutes, ThereAndBackAreDisjoint) {
  const Machine machine = build_machine(invented(2, 2));
  for (const auto& [a, b] : {std::pair{0, 1}, std::pair{0, 3}}) {
    for (const LinkId there : machine.route(gpu(a), gpu(b)))
      for (const LinkId back : machine.route(gpu(b), gpu(a))) EXPECT_NE(there, back);
  }
}

// Against the plain search: routes of all pairs join, start and end where they should, and are as short as any path.
TEST(MachineRoutes, AreShortest) {
  for (const auto& [nodes, gpus_per_node] : {std::pair{1, 1}, std::pair{1, 8}, std::pair{3, 1}, std::pair{4, 5}}) {
    const Machine machine = build_machine(invented(nodes, gpus_per_node));
    for (std::int32_t from = 0; from < machine.gpus(); ++from) {
      const std::vector<int> hops = hops_from(machine, from);
      for (std::int32_t to = 0; to < machine.gpus(); ++to) {
        const auto route = machine.route(RankId(from), RankId(to));
        ASSERT_EQ(static_cast<int>(route.size()), hops[static_cast<std::size_t>(to)]) << from << " to " << to;
        const std::vector<std::string> names = visited(machine, route);
        if (from == to) continue;
        EXPECT_EQ(names.front(), machine.vertex_name(VertexId(from)));
        EXPECT_EQ(names.back(), machine.vertex_name(VertexId(to)));
      }
    }
  }
}

// A route that was handed out stays what it is while many others are looked up.
TEST(MachineRoutes, StayValid) {
  const Machine machine = build_machine(invented(8, 8));
  const auto route = machine.route(gpu(3), gpu(40));
  const std::vector<LinkId> copy(route.begin(), route.end());
  for (std::int64_t from = 0; from < 64; ++from)
    for (std::int64_t to = 0; to < 64; ++to) static_cast<void>(machine.route(gpu(from), gpu(to)));
  EXPECT_TRUE(std::equal(route.begin(), route.end(), copy.begin(), copy.end()));
  EXPECT_EQ(machine.route(gpu(3), gpu(40)).data(), route.data());
}

TEST(MachineRoutes, MayBeAskedForByThreads) {
  const Machine machine = build_machine(invented(4, 8));
  std::atomic<std::size_t> links{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      std::size_t sum = 0;
      for (std::int64_t from = 0; from < 32; ++from)
        for (std::int64_t to = 0; to < 32; ++to) sum += machine.route(gpu(from), gpu(to)).size();
      links += sum;
    });
  }
  for (std::thread& thread : threads) thread.join();
  // Each thread: 32 GPUs x (7 neighbours x 2 links + 24 others x 4 links) = 3,520.
  EXPECT_EQ(links.load(), 4u * 3520u);
}

TEST(Machine, VerticesHaveNames) {
  const Machine machine = build_machine(invented(2, 2));
  // 4 GPUs, 4 NICs, 2 switches, 1 fabric.
  EXPECT_EQ(machine.vertex_name(VertexId(std::int32_t{3})), "node1.gpu1");
  EXPECT_EQ(machine.vertex_name(VertexId(std::int32_t{4})), "node0.nic0");
  EXPECT_EQ(machine.vertex_name(VertexId(std::int32_t{9})), "node1.nvswitch");
  EXPECT_EQ(machine.vertex_name(VertexId(std::int32_t{10})), "fabric");
  EXPECT_THROW(static_cast<void>(machine.vertex_name(VertexId(std::int32_t{11}))), Error);
}

TEST(Machine, QuestionsOutsideItAreOurMistake) {
  const Machine machine = build_machine(invented(2, 2));
  EXPECT_THROW(static_cast<void>(machine.route(gpu(0), gpu(4))), Error);
  EXPECT_THROW(static_cast<void>(machine.route(RankId(), gpu(0))), Error);
  EXPECT_THROW(static_cast<void>(machine.node_of(gpu(4))), Error);
}

TEST(Machine, AbsurdSizesAreRefusedBeforeAnythingIsAllocated) {
  EXPECT_THROW(static_cast<void>(build_machine(invented(0, 8))), Error);
  EXPECT_THROW(static_cast<void>(build_machine(invented(1'000'000'000'000, 8))), Error);
  EXPECT_THROW(static_cast<void>(build_machine(invented(16'384, 64))), Error);
}

// 16,384 GPUs on 2,048 nodes: 6 links per GPU, two vertices per GPU and one per node, one fabric. Nothing grows with
// the number of pairs. The bound on time is loose, so that it fails for a wrong order of growth and not for a busy
// machine: it takes about 20 ms.
TEST(Machine, SixteenThousandGpusAreCheap) {
  const auto start = std::chrono::steady_clock::now();
  const Machine machine = build_machine(invented(2'048, 8));
  EXPECT_EQ(machine.links().size(), 6u * 16'384u);
  EXPECT_EQ(machine.route(gpu(0), gpu(16'383)).size(), 4u);
  EXPECT_EQ(machine.route(gpu(16'376), gpu(16'383)).size(), 2u);
  EXPECT_EQ(machine.vertex_name(machine.links().back().from), "fabric");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

}  // namespace
}  // namespace foretoken::plan
