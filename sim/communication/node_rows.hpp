// Whose rows go where when a token is sent once to each node that has one of its experts.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/machine/machine.hpp"
#include "plan/plan.hpp"
#include "plan/program/resolve.hpp"

namespace foretoken::sim {

/// Whether the plan's exchanges do.
bool sends_once_per_node(const plan::Plan& plan);

/// Rows of a hierarchical dispatch (ExchangeAlgorithm::hierarchical), as pairs of ranks that send to each other:
///
///   within a node  source to host: the source's tokens that have an expert on that host, each once
///   across nodes   source to gateway: the source's tokens that have an expert on the gateway's node, each once. A
///                  node's gateways are its ranks with experts; a source in place i of its node takes number i,
///                  cyclically.
///   from a gateway to a host of its node: those of the tokens that came to it that have an expert there, each once
///
/// A combine takes the same pairs the other way. Both legs of a token's way are under way at once, as pieces of a
/// pipeline are: that the second leg begins one piece later is in the calibrated latency.
class NodeRows {
 public:
  /// Keeps references to all three. @param rows counts rows per expert, which are the same as ever
  NodeRows(const plan::Plan& plan, const plan::Machine& machine, plan::RowCounter& rows);

  /// As RowCounter::rows. The reference is valid until the next call.
  const plan::RoutedRows& rows(const plan::Communication& communication, std::int64_t instance,
                               std::int64_t routed_step);

 private:
  struct Place {
    std::int32_t node = 0;   // of the group's nodes, from 0
    std::int32_t index = 0;  // among the group's ranks there
  };
  void find_places(std::int64_t instance);
  void find_gateways(std::int64_t layer);
  void count_token(std::int32_t source);
  void collect_pairs();
  [[nodiscard]] std::int32_t gateway(std::int32_t source, std::int32_t node) const {
    const auto& candidates = gateways_[static_cast<std::size_t>(node)];
    return candidates[static_cast<std::size_t>(places_[static_cast<std::size_t>(source)].index) % candidates.size()];
  }

  const plan::Plan& plan_;
  const plan::Machine& machine_;
  plan::RowCounter& rows_;
  plan::RoutedRows routed_;

  // Of the call under way; ranks are indices within the expert group.
  std::vector<Place> places_;
  std::vector<std::vector<std::int32_t>> members_;   // [node]
  std::vector<std::vector<std::int32_t>> gateways_;  // [node]
  std::vector<std::int64_t> in_node_;                // [rank][place of the other on its node]
  std::vector<std::int64_t> across_;                 // [rank][node]
  std::size_t most_on_node_ = 0;
  std::vector<std::int32_t> hosts_;  // of one token, each once, ascending
};

}  // namespace foretoken::sim
