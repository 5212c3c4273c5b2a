// All-to-alls over nodes of 8 GPUs, as arithmetic: who sends how much to whom, over which kind of path, and when.
//
// It knows no solver, so that every solver can be given the same flows. As a FlowSet: all_to_all_flows.hpp beside it.
//
// Inside a node a flow takes its source's NVLink up and its destination's down, 450 GB/s each; between nodes both
// ranks' NICs, 50 GB/s a direction. With `nodes_per_leaf` = 0 nothing blocks in the fabric (`nb`). Otherwise (`ft`) a
// leaf of that many nodes has one trunk up and one down of half the bandwidth of its NICs, for flows that leave it.
//
// A flow joins the sharing after its path's latency: 2 us in the node, 4 us between nodes, 5 us between leaves.
#pragma once

#include <cstdint>

namespace foretoken::sim {

enum class PathKind { nvlink, leaf, tree };  // in the node; between nodes below one leaf or in `nb`; between leaves

struct AllToAllCase {
  std::int64_t ranks = 0;
  std::int64_t nodes_per_leaf = 0;  // 0: nothing blocks
  char workload = 'U';              // U: one size. K: 64 sizes, periodic in the ranks. Z: skewed, nearly all distinct

  static constexpr std::int64_t kGpus = 8;
  static constexpr double kNvlink = 450e9;  // bytes per second and direction
  static constexpr double kNic = 50e9;

  [[nodiscard]] std::int64_t flows() const { return ranks * (ranks - 1); }
  [[nodiscard]] std::int64_t ranks_per_leaf() const { return nodes_per_leaf * kGpus; }
  [[nodiscard]] std::int64_t leaves() const { return nodes_per_leaf > 0 ? ranks / ranks_per_leaf() : 0; }
  [[nodiscard]] double trunk() const { return 0.5 * static_cast<double>(ranks_per_leaf()) * kNic; }

  [[nodiscard]] PathKind path(std::int64_t from, std::int64_t to) const {
    if (from / kGpus == to / kGpus) return PathKind::nvlink;
    return nodes_per_leaf > 0 && from / ranks_per_leaf() != to / ranks_per_leaf() ? PathKind::tree : PathKind::leaf;
  }
  [[nodiscard]] static double start(PathKind path) {
    return path == PathKind::nvlink ? 2e-6 : path == PathKind::leaf ? 4e-6 : 5e-6;
  }
  /// Unsigned 64-bit arithmetic, integer division.
  [[nodiscard]] double bytes(std::int64_t from, std::int64_t to) const {
    const auto i = static_cast<std::uint64_t>(from);
    const auto j = static_cast<std::uint64_t>(to);
    if (workload == 'U') return 262144;
    if (workload == 'K') return static_cast<double>(4096 * (1 + (31 * i + 17 * j) % 64));
    return static_cast<double>(4194304 / (1 + (7 * j + 3) % static_cast<std::uint64_t>(ranks)) +
                               64 * (((i * 73856093) ^ (j * 19349663)) % 4093) + 1);
  }
};

}  // namespace foretoken::sim
