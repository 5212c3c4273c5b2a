#include "sim/cost/node_trees.hpp"

#include <bit>

#include "core/error.hpp"

namespace foretoken::sim {
namespace {

// Numbers from 1; 0: none.
std::uint32_t parent_of(std::uint32_t i, std::uint32_t nodes) {
  const std::uint32_t bit = i & (~i + 1);
  const std::uint32_t above = (i - bit) | (bit << 1U);
  return above <= nodes ? above : i - bit;
}

}  // namespace

std::vector<std::int32_t> node_tree(std::int32_t nodes, bool second) {
  FORETOKEN_CHECK(nodes >= 1, "a tree needs a node");
  std::vector<std::int32_t> parents(static_cast<std::size_t>(nodes), -1);
  const auto place = [&](std::uint32_t number) {  // of a number of the first tree
    const auto i = static_cast<std::int32_t>(number) - 1;
    if (!second) return i;
    return nodes % 2 == 0 ? nodes - 1 - i : (i + 1) % nodes;
  };
  for (std::uint32_t number = 1; number <= static_cast<std::uint32_t>(nodes); ++number) {
    const std::uint32_t parent = parent_of(number, static_cast<std::uint32_t>(nodes));
    parents[static_cast<std::size_t>(place(number))] = parent == 0 ? -1 : place(parent);
  }
  return parents;
}

int node_tree_depth(std::int32_t nodes) {
  FORETOKEN_CHECK(nodes >= 1, "a tree needs a node");
  return static_cast<int>(std::bit_width(static_cast<std::uint32_t>(nodes))) - 1;
}

double node_tree_share(std::int32_t nodes) {
  if (nodes <= 1) return 0.0;
  if (nodes == 2) return 1.0;
  return nodes == 3 ? 1.5 : 2.0;
}

}  // namespace foretoken::sim
