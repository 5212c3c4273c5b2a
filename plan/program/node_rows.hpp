// Whose rows go where when a token is sent once to each node that has one of its experts.
//
// NodeWays says how one token goes. The simulator counts its hops (NodeRows), the live runtime lists them
// (runtime/node_exchange.hpp), so that both move the same rows between the same ranks.
//
// In the program a rank's ops are then these, and there is no `pack` and no `unpermute`:
//
//   dispatch  in: the rank's tokens, their routes    out: the rows of its experts as ever, in the order of arrival, and
//             their weights, one column of fp32. On its way a row is the token's hidden columns and its weights.
//   combine   in: the experts' outputs, the weights  out: for each of the rank's tokens the sum of its experts'
//   outputs,
//             each times its weight. On its way a row is the sum of those that have come together so far.
//
// Which ranks share a node is the group family "node".
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "plan/plan.hpp"
#include "plan/program/resolve.hpp"

namespace foretoken::plan {

/// Whether the plan's exchanges do (ExchangeAlgorithm::hierarchical). Its program then has the group family "node".
bool sends_once_per_node(const Plan& plan);

/// Columns of a dispatched row after the model's hidden ones: its token's top_k weights in fp32, as many elements of
/// the dispatched dtype as they take.
std::int64_t weight_cols(const ModelSpec& model);

/// A token's row from one rank to another, both as indices within the expert group.
struct Hop {
  std::int32_t from = 0;
  std::int32_t to = 0;
  bool forwarded = false;  // by the rank to which it came from another node
  auto operator<=>(const Hop&) const = default;
};

/// How tokens go from their rank to those of their experts:
///
///   within a node  from source to host, once for each host; to itself too
///   across nodes   from source to gateway, once for each node; from there to each other host of the node, once. A
///                  node's gateways are its ranks with experts; a source in place i of its node takes number i,
///                  cyclically.
///
/// The results go back the same ways.
class NodeWays {
 public:
  /// Keeps a reference.
  explicit NodeWays(const Plan& plan) : plan_(plan) {}

  /// From now on tokens are of this layer and expert-group instance.
  void enter(std::int64_t instance, std::int64_t layer);
  /// The hops of one token, in the order of its hosts. Valid until the next call.
  /// @param experts distinct
  const std::vector<Hop>& hops(std::int32_t source, std::span<const std::int32_t> experts);

  /// Of the group's nodes, from 0.
  [[nodiscard]] std::int32_t node_of(std::int32_t rank) const { return place(rank).node; }
  /// Its place among the group's ranks there.
  [[nodiscard]] std::int32_t index_on_node(std::int32_t rank) const { return place(rank).index; }
  [[nodiscard]] std::int32_t nodes() const { return static_cast<std::int32_t>(members_.size()); }
  /// The group's ranks on a node, ascending.
  [[nodiscard]] std::span<const std::int32_t> members(std::int32_t node) const {
    return members_[static_cast<std::size_t>(node)];
  }
  /// Through which rank of another node this source's tokens come there. Precondition: that has experts.
  [[nodiscard]] std::int32_t gateway(std::int32_t source, std::int32_t node) const {
    const auto& candidates = gateways_[static_cast<std::size_t>(node)];
    return candidates[static_cast<std::size_t>(index_on_node(source)) % candidates.size()];
  }

 private:
  struct Place {
    std::int32_t node = 0;
    std::int32_t index = 0;
  };
  [[nodiscard]] const Place& place(std::int32_t rank) const { return places_[static_cast<std::size_t>(rank)]; }

  const Plan& plan_;
  std::int64_t layer_ = -1;
  std::vector<Place> places_;                        // [rank of the group]
  std::vector<std::vector<std::int32_t>> members_;   // [node]
  std::vector<std::vector<std::int32_t>> gateways_;  // [node]
  std::vector<std::int32_t> hosts_;                  // of one token, each once, ascending
  std::vector<Hop> hops_;
};

/// The same as rows: of each pair of ranks.
class NodeRows {
 public:
  /// In which order hops are made.
  enum class Legs : std::uint8_t {
    together,  // as pieces of a pipeline, all at once; that the second leg begins one piece later is in the latency
    apart,     // in rounds, PairRows::round: see below
  };

  /// Keeps references to both. @param rows counts rows per expert, which are the same as ever
  NodeRows(const Plan& plan, RowCounter& rows, Legs legs = Legs::together);

  /// As RowCounter::rows; a combine takes the same pairs the other way. Legs apart, a rank begins a round when it has
  /// done with the one before:
  ///
  ///   dispatch  0: from source to host and gateway    1: from gateway to host      2: copies for each expert
  ///   combine   0: from host to gateway, or to source 1: from gateway to source    2: the sum at the source
  ///
  /// and a rank's pair with itself is what it copies or adds up in a round, beside its messages: before them, but in
  /// round 2. The reference is valid until the next call.
  const RoutedRows& rows(const Communication& communication, std::int64_t instance, std::int64_t routed_step);

 private:
  void count_token(std::int32_t source);
  void collect_pairs();
  void collect_rounds(bool combine);
  void add(std::int32_t source, std::int32_t host, std::int64_t rows, std::int32_t round);
  [[nodiscard]] std::size_t in_node(std::int32_t from, std::int32_t to) const {
    return static_cast<std::size_t>(from) * most_on_node_ + static_cast<std::size_t>(ways_.index_on_node(to));
  }
  [[nodiscard]] std::size_t across(std::int32_t from, std::int32_t node) const {
    return static_cast<std::size_t>(from) * static_cast<std::size_t>(ways_.nodes()) + static_cast<std::size_t>(node);
  }

  const Plan& plan_;
  RowCounter& rows_;
  Legs legs_;
  NodeWays ways_;
  RoutedRows routed_;

  // Of the call under way.
  std::size_t most_on_node_ = 0;
  std::vector<std::int64_t> direct_;     // [in_node]
  std::vector<std::int64_t> forwarded_;  // [in_node]
  std::vector<std::int64_t> across_;     // [across]
  std::vector<std::int64_t> choices_;    // [rank] rows for its experts
  std::vector<std::int32_t> chosen_;     // of one token
};

}  // namespace foretoken::plan
