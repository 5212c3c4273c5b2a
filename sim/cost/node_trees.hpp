// Two binary trees over the same nodes, so that who is inside one is a leaf of the other.
#pragma once

#include <cstdint>
#include <vector>

namespace foretoken::sim {

/// Parent of every node in one of the two trees, -1 at the root.
///
/// The first tree numbers nodes 1..m in order, left before right: a node's height is the number of zeros at the end of
/// its number, so odd numbers are leaves. At height h and with b = 2^h its parent is (i - b) with bit 2b set, one
/// height up, or i - b if that is beyond m. The second tree swaps odd and even: read backwards if m is even, turned by
/// one if m is odd.
///
/// @param nodes >= 1
/// Example: 4 nodes: first tree 4 -> 2 -> {1, 3}, which are nodes 3 -> 1 -> {0, 2}; second 0 -> 2 -> {3, 1}.
std::vector<std::int32_t> node_tree(std::int32_t nodes, bool second);

/// Steps from the farthest leaf to the root: floor(log2(nodes)).
int node_tree_depth(std::int32_t nodes);

/// What the busiest node sends over both trees together, if every edge carries half a buffer each way: in buffers.
///
///   2 nodes: 1/2 up one tree and 1/2 down the other.  3: down to two children, up as a leaf.  More: up and down to two
///   children in one tree, up in the other.
double node_tree_share(std::int32_t nodes);

}  // namespace foretoken::sim
