#include "runtime/recording/wait_graph.hpp"

#include <algorithm>
#include <cstddef>

namespace foretoken::runtime {

std::vector<std::int64_t> WaitGraph::cycle() const {
  const auto nodes = static_cast<std::size_t>(nodes_);
  // Edges by awaited node: begin[n] to begin[n + 1].
  std::vector<std::size_t> begin(nodes + 2, 0);
  std::vector<std::uint32_t> left(nodes, 0);  // nodes that are still awaited
  for (const auto& [awaited, waiting] : edges_) {
    ++begin[awaited + 2];
    ++left[waiting];
  }
  for (std::size_t n = 2; n < begin.size(); ++n) begin[n] += begin[n - 1];
  std::vector<std::uint32_t> waiting_for(edges_.size());
  for (const auto& [awaited, waiting] : edges_) waiting_for[begin[awaited + 1]++] = waiting;

  std::vector<std::uint32_t> free;
  for (std::size_t n = 0; n < nodes; ++n)
    if (left[n] == 0) free.push_back(static_cast<std::uint32_t>(n));
  std::size_t ended = 0;
  while (!free.empty()) {
    const std::size_t node = free.back();
    free.pop_back();
    ++ended;
    for (std::size_t e = begin[node]; e < begin[node + 1]; ++e)
      if (--left[waiting_for[e]] == 0) free.push_back(waiting_for[e]);
  }
  if (ended == nodes) return {};

  // Whoever is left waits for somebody who is left: follow that until a node comes again.
  std::vector<std::int64_t> awaited_by(nodes, -1);
  for (const auto& [awaited, waiting] : edges_)
    if (left[awaited] > 0 && left[waiting] > 0) awaited_by[waiting] = awaited;
  std::vector<std::int64_t> way;
  std::vector<std::int64_t> place(nodes, -1);
  auto node = std::find_if(left.begin(), left.end(), [](std::uint32_t n) { return n > 0; }) - left.begin();
  while (place[static_cast<std::size_t>(node)] < 0) {
    place[static_cast<std::size_t>(node)] = static_cast<std::int64_t>(way.size());
    way.push_back(node);
    node = awaited_by[static_cast<std::size_t>(node)];
  }
  way.erase(way.begin(), way.begin() + place[static_cast<std::size_t>(node)]);
  return way;
}

}  // namespace foretoken::runtime
