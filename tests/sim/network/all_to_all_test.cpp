// All-to-alls whose completion times another simulator has found: SimGrid 3.32, ideal max-min shares over links without
// latency, delayed starts. Two further solvers agree with its times to 5e-14.
//
// Nodes of 8 GPUs. Inside a node a flow takes its source's NVLink up and its destination's down, 450 GB/s each; between
// nodes both ranks' NICs, 50 GB/s a direction. `nb`: nothing blocks in the fabric. `ft`: leaves of some nodes, with one
// trunk up and one down of half the bandwidth of the leaf's NICs, for flows that leave it. A flow joins the sharing
// after its path's latency: 2 us in the node, 4 us between nodes, 5 us between leaves.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "sim/network/flow_network.hpp"

namespace foretoken::sim {
namespace {

constexpr std::int64_t kGpus = 8;
constexpr double kNvlink = 450e9;
constexpr double kNic = 50e9;

struct Case {
  std::int64_t ranks;
  std::int64_t nodes_per_leaf;  // 0: nothing blocks
  char workload;
  double makespan_us;
  double mean_us;
  double last_nvlink_us;
};

// Bytes from i to j; unsigned 64-bit arithmetic.
std::uint64_t bytes_of(char workload, std::uint64_t i, std::uint64_t j, std::uint64_t ranks) {
  if (workload == 'U') return 262144;
  if (workload == 'K') return 4096 * (1 + (31 * i + 17 * j) % 64);
  return 4194304 / (1 + (7 * j + 3) % ranks) + 64 * (((i * 73856093) ^ (j * 19349663)) % 4093) + 1;
}

struct Flow {
  double start = 0;
  double bytes = 0;
  bool nvlink = false;
  std::vector<ResourceUse> uses;
  double end = 0;
};

class AllToAll : public ::testing::TestWithParam<Case> {
 protected:
  // Resources: NVLink up and down of each rank, NIC out and in of each, trunk up and down of each leaf.
  static std::vector<double> capacities(const Case& c) {
    std::vector<double> capacity(static_cast<std::size_t>(2 * c.ranks), kNvlink);
    capacity.insert(capacity.end(), static_cast<std::size_t>(2 * c.ranks), kNic);
    if (c.nodes_per_leaf > 0)
      capacity.insert(capacity.end(), static_cast<std::size_t>(2 * c.ranks / (kGpus * c.nodes_per_leaf)),
                      0.5 * static_cast<double>(c.nodes_per_leaf * kGpus) * kNic);
    return capacity;
  }

  static std::vector<Flow> flows(const Case& c) {
    std::vector<Flow> all;
    const std::int64_t per_leaf = std::max<std::int64_t>(1, c.nodes_per_leaf) * kGpus;
    for (std::int64_t i = 0; i < c.ranks; ++i) {
      for (std::int64_t j = 0; j < c.ranks; ++j) {
        if (i == j) continue;
        Flow flow;
        flow.bytes = static_cast<double>(bytes_of(c.workload, static_cast<std::uint64_t>(i),
                                                  static_cast<std::uint64_t>(j), static_cast<std::uint64_t>(c.ranks)));
        flow.nvlink = i / kGpus == j / kGpus;
        const auto add = [&](std::int64_t resource) {
          flow.uses.push_back({static_cast<std::int32_t>(resource), 1.0});
        };
        const std::int64_t first = flow.nvlink ? 0 : 2 * c.ranks;
        add(first + 2 * i);
        add(first + 2 * j + 1);
        const bool crosses = c.nodes_per_leaf > 0 && i / per_leaf != j / per_leaf;
        if (crosses) {
          add(4 * c.ranks + 2 * (i / per_leaf));
          add(4 * c.ranks + 2 * (j / per_leaf) + 1);
        }
        flow.start = flow.nvlink ? 2e-6 : crosses ? 5e-6 : 4e-6;
        all.push_back(std::move(flow));
      }
    }
    return all;
  }

  static void run(FlowNetwork& network, std::vector<Flow>& flows) {
    std::vector<std::int32_t> order(flows.size());
    for (std::size_t f = 0; f < flows.size(); ++f) order[f] = static_cast<std::int32_t>(f);
    const auto of = [&](std::int32_t f) -> Flow& { return flows[static_cast<std::size_t>(f)]; };
    std::stable_sort(order.begin(), order.end(),
                     [&](std::int32_t a, std::int32_t b) { return of(a).start < of(b).start; });
    std::size_t next = 0;
    std::vector<std::int32_t> ended;
    while (next < order.size() || network.active() > 0) {
      if (next < order.size() && of(order[next]).start <= network.next_completion()) {
        network.advance(of(order[next]).start);
        for (const double now = of(order[next]).start; next < order.size() && of(order[next]).start == now; ++next)
          network.start({.demand = of(order[next]).bytes, .uses = of(order[next]).uses, .tag = order[next]});
        continue;
      }
      ended.clear();
      network.complete(ended);
      for (const std::int32_t f : ended) of(f).end = network.now();
    }
  }
};

TEST_P(AllToAll, EndsWhenAnotherSimulatorSays) {
  const Case& c = GetParam();
  std::vector<Flow> all = flows(c);
  FlowNetwork network(capacities(c));
  run(network, all);
  double last = 0, last_nvlink = 0, sum = 0;
  for (const Flow& flow : all) {
    last = std::max(last, flow.end);
    if (flow.nvlink) last_nvlink = std::max(last_nvlink, flow.end);
    sum += flow.end;
  }
  constexpr double picosecond = 1e-6;
  EXPECT_NEAR(last * 1e6, c.makespan_us, std::max(picosecond, 1e-9 * c.makespan_us));
  EXPECT_NEAR(sum * 1e6 / static_cast<double>(all.size()), c.mean_us, std::max(picosecond, 1e-9 * c.mean_us));
  EXPECT_NEAR(last_nvlink * 1e6, c.last_nvlink_us, std::max(picosecond, 1e-9 * c.last_nvlink_us));
}

INSTANTIATE_TEST_SUITE_P(SimGrid, AllToAll,
                         ::testing::Values(Case{16, 0, 'U', 45.943040, 27.339259259, 6.077795556},
                                           Case{16, 0, 'K', 33.163520, 12.433272261, 4.721564444},
                                           Case{16, 0, 'Z', 687.340960, 95.115141583, 69.562397778},
                                           Case{16, 1, 'U', 88.886080, 50.242213926, 6.077795556},
                                           Case{16, 1, 'K', 49.400640, 20.144490613, 4.721564444},
                                           Case{16, 1, 'Z', 767.472850, 136.637560906, 69.562397778},
                                           Case{64, 0, 'U', 297.601280, 265.209781728, 6.077795556},
                                           Case{64, 0, 'K', 157.681920, 93.000341365, 4.721564444},
                                           Case{64, 0, 'Z', 4853.658720, 401.799735297, 68.998486667},
                                           Case{64, 2, 'Z', 4853.658720, 482.501067423, 68.998486667},
                                           Case{64, 2, 'U', 508.316480, 398.997210300, 6.077795556},
                                           Case{64, 2, 'K', 259.279680, 138.578155977, 4.721564444}),
                         [](const ::testing::TestParamInfo<Case>& one) {
                           return std::to_string(one.param.ranks) +
                                  (one.param.nodes_per_leaf > 0 ? "_tree_" : "_open_") + one.param.workload;
                         });

}  // namespace
}  // namespace foretoken::sim
