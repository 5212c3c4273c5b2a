#include "runtime/health/turns.hpp"

#include <algorithm>

namespace foretoken::runtime {
namespace {

std::vector<std::vector<RankId>> ranks_by_node(std::span<const std::int32_t> node_of_rank) {
  std::vector<std::vector<RankId>> nodes;
  for (std::size_t r = 0; r < node_of_rank.size(); ++r) {
    const auto node = static_cast<std::size_t>(node_of_rank[r]);
    if (nodes.size() <= node) nodes.resize(node + 1);
    nodes[node].emplace_back(r);
  }
  return nodes;
}

// So many of the rounds as there may be opponents, as far apart as can be.
std::vector<std::vector<std::pair<std::int32_t, std::int32_t>>> rounds_of(std::int32_t players,
                                                                          const TurnOptions& options) {
  auto all = tournament(players);
  const auto most = static_cast<std::size_t>(std::max(1, options.opponents_max));
  if (all.size() <= most) return all;
  std::vector<std::vector<std::pair<std::int32_t, std::int32_t>>> some;
  for (std::size_t i = 0; i < most; ++i) some.push_back(std::move(all[i * all.size() / most]));
  return some;
}

std::vector<PairTurn> pairs_of_place(const std::vector<std::vector<RankId>>& nodes, std::size_t place,
                                     const TurnOptions& options) {
  std::vector<PairTurn> turns;
  for (const auto& round : rounds_of(static_cast<std::int32_t>(nodes.size()), options)) {
    PairTurn turn;
    for (const auto& [a, b] : round)
      turn.push_back({nodes[static_cast<std::size_t>(a)][place], nodes[static_cast<std::size_t>(b)][place]});
    turns.push_back(std::move(turn));
  }
  return turns;
}

// Turns of one measurement each, where no two may be made at a time.
template <class One>
std::vector<std::vector<One>> taken_apart(std::vector<std::vector<One>> turns, bool one_at_a_time) {
  if (!one_at_a_time) return turns;
  std::vector<std::vector<One>> single;
  for (const std::vector<One>& turn : turns)
    for (const One& one : turn) single.push_back({one});
  return single;
}

}  // namespace

std::vector<std::vector<std::pair<std::int32_t, std::int32_t>>> tournament(std::int32_t players) {
  std::vector<std::vector<std::pair<std::int32_t, std::int32_t>>> rounds;
  const std::int32_t seats = players + players % 2;  // who meets the one too many has a rest
  for (std::int32_t round = 0; round + 1 < seats; ++round) {
    std::vector<std::pair<std::int32_t, std::int32_t>> pairs;
    const auto add = [&](std::int32_t a, std::int32_t b) {
      if (a < players && b < players) pairs.emplace_back(a, b);
    };
    const std::int32_t circle = seats - 1;
    add(round, seats - 1);
    for (std::int32_t i = 1; i < seats / 2; ++i) add((round + i) % circle, (round + circle - i) % circle);
    if (!pairs.empty()) rounds.push_back(std::move(pairs));
  }
  return rounds;
}

std::vector<PairTurn> pairs_within_nodes(std::span<const std::int32_t> node_of_rank, const TurnOptions& options) {
  std::vector<PairTurn> turns;
  for (const std::vector<RankId>& ranks : ranks_by_node(node_of_rank)) {
    std::size_t turn = 0;
    // One pair of a node at a time: what they share is the memory.
    for (const auto& round : rounds_of(static_cast<std::int32_t>(ranks.size()), options))
      for (const auto& [a, b] : round) {
        if (turns.size() == turn) turns.emplace_back();
        turns[turn++].push_back({ranks[static_cast<std::size_t>(a)], ranks[static_cast<std::size_t>(b)]});
      }
  }
  return taken_apart(std::move(turns), options.one_at_a_time);
}

std::vector<PairTurn> pairs_between_nodes(std::span<const std::int32_t> node_of_rank, const TurnOptions& options) {
  return taken_apart(pairs_of_place(ranks_by_node(node_of_rank), 0, options), options.one_at_a_time);
}

std::vector<PairTurn> pairs_between_places(std::span<const std::int32_t> node_of_rank, const TurnOptions& options) {
  const std::vector<std::vector<RankId>> nodes = ranks_by_node(node_of_rank);
  std::size_t places = node_of_rank.size();
  for (const std::vector<RankId>& ranks : nodes) places = std::min(places, ranks.size());
  std::vector<PairTurn> turns;
  for (std::size_t place = 0; place < places; ++place)
    for (PairTurn& turn : pairs_of_place(nodes, place, options)) turns.push_back(std::move(turn));
  return taken_apart(std::move(turns), options.one_at_a_time);
}

std::vector<std::vector<RankId>> ranks_in_turn(std::span<const std::int32_t> node_of_rank, const TurnOptions& options) {
  std::vector<std::vector<RankId>> turns;
  for (const std::vector<RankId>& ranks : ranks_by_node(node_of_rank))
    for (std::size_t i = 0; i < ranks.size(); ++i) {
      if (turns.size() == i) turns.emplace_back();
      turns[i].push_back(ranks[i]);
    }
  return taken_apart(std::move(turns), options.one_at_a_time);
}

}  // namespace foretoken::runtime
