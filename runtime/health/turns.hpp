// Who is measured with whom, and when: turns in which no two measurements disturb one another.
#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "core/ids.hpp"

namespace foretoken::runtime {

/// Two ranks that send to one another.
struct RankPair {
  RankId first;
  RankId second;
  auto operator<=>(const RankPair&) const = default;
};
/// Measured at one time.
using PairTurn = std::vector<RankPair>;

/// A tournament of `players`: rounds of pairs, in which everybody meets everybody else once and plays once per round
/// (all but one, if their number is odd). By the circle method: the last one stays, the others go round.
/// Example: 4 -> {0-3, 1-2}, {1-3, 2-0}, {2-3, 0-1}.
std::vector<std::vector<std::pair<std::int32_t, std::int32_t>>> tournament(std::int32_t players);

struct TurnOptions {
  /// Nodes that are emulated on one computer share its cores: one measurement at any time.
  bool one_at_a_time = false;
  /// A rank, or a node, meets so many others at most: rounds are left out evenly.
  std::int32_t opponents_max = 15;
};

/// Ranks of one node with one another; a turn has one pair per node.
/// @param node_of_rank  nodes 0, 1, ...
std::vector<PairTurn> pairs_within_nodes(std::span<const std::int32_t> node_of_rank, const TurnOptions& options);

/// Nodes with one another, each represented by its first rank; a node is in one pair of a turn at most.
std::vector<PairTurn> pairs_between_nodes(std::span<const std::int32_t> node_of_rank, const TurnOptions& options);

/// The same for every place on a node, one place after the other: the first ranks of all nodes, then the second ones,
/// as far as all nodes have one. For nodes whose ranks have links of their own to other nodes.
std::vector<PairTurn> pairs_between_places(std::span<const std::int32_t> node_of_rank, const TurnOptions& options);

/// Every rank once; a turn has one rank per node.
std::vector<std::vector<RankId>> ranks_in_turn(std::span<const std::int32_t> node_of_rank, const TurnOptions& options);

}  // namespace foretoken::runtime
