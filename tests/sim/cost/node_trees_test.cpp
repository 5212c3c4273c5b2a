#include "sim/cost/node_trees.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace foretoken::sim {
namespace {

using ::testing::ElementsAre;

TEST(NodeTrees, SmallOnesByHand) {
  EXPECT_THAT(node_tree(1, false), ElementsAre(-1));
  EXPECT_THAT(node_tree(2, false), ElementsAre(1, -1));
  EXPECT_THAT(node_tree(2, true), ElementsAre(-1, 0));
  EXPECT_THAT(node_tree(4, false), ElementsAre(1, 3, 1, -1));
  EXPECT_THAT(node_tree(4, true), ElementsAre(-1, 2, 0, 2));
}

// Children of every node in either tree, and how far the farthest leaf is.
struct Shape {
  std::vector<int> children;
  int depth = 0;
  int roots = 0;
};

Shape shape_of(const std::vector<std::int32_t>& parents) {
  Shape shape;
  shape.children.assign(parents.size(), 0);
  for (std::size_t node = 0; node < parents.size(); ++node) {
    if (parents[node] < 0) ++shape.roots;
    else ++shape.children[static_cast<std::size_t>(parents[node])];
    int steps = 0;
    for (auto up = static_cast<std::int32_t>(node); parents[static_cast<std::size_t>(up)] >= 0 && steps < 64; ++steps)
      up = parents[static_cast<std::size_t>(up)];
    shape.depth = std::max(shape.depth, steps);
  }
  return shape;
}

TEST(NodeTrees, EveryNodeHangsOnOneRootAndIsALeafOfATree) {
  for (std::int32_t nodes = 2; nodes <= 130; ++nodes) {
    const Shape first = shape_of(node_tree(nodes, false));
    const Shape second = shape_of(node_tree(nodes, true));
    int inside_both = 0;
    double busiest = 0;
    for (std::size_t node = 0; node < first.children.size(); ++node) {
      EXPECT_LE(first.children[node], 2);
      EXPECT_LE(second.children[node], 2);
      inside_both += first.children[node] > 0 && second.children[node] > 0 ? 1 : 0;
      const double up = (node_tree(nodes, false)[node] >= 0 ? 1 : 0) + (node_tree(nodes, true)[node] >= 0 ? 1 : 0);
      busiest = std::max(busiest, (first.children[node] + second.children[node] + up) / 2.0);
    }
    // Of an odd number one node has to be inside both: two trees of m nodes have at most m + 1 leaves.
    EXPECT_LE(inside_both, nodes % 2) << nodes << " nodes";
    EXPECT_EQ(first.roots, 1) << nodes << " nodes";
    EXPECT_EQ(second.roots, 1) << nodes << " nodes";
    EXPECT_LE(std::max(first.depth, second.depth), node_tree_depth(nodes)) << nodes << " nodes";
    EXPECT_LE(busiest, node_tree_share(nodes) + (inside_both > 0 ? 1 : 0)) << nodes << " nodes";
  }
}

}  // namespace
}  // namespace foretoken::sim
