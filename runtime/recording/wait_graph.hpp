// A graph of who waits for whom, and a cycle in it if there is one.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace foretoken::runtime {

class WaitGraph {
 public:
  explicit WaitGraph(std::int64_t nodes) : nodes_(nodes) {}

  void waits(std::int64_t node, std::int64_t for_node) {
    edges_.emplace_back(static_cast<std::uint32_t>(for_node), static_cast<std::uint32_t>(node));
  }
  std::int64_t add_node() { return nodes_++; }

  /// Nodes that wait for one another in a circle, each for the next and the last for the first; empty if there are
  /// none.
  [[nodiscard]] std::vector<std::int64_t> cycle() const;

 private:
  std::int64_t nodes_;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> edges_;  // (awaited, waiting)
};

}  // namespace foretoken::runtime
