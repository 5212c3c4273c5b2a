// What an exchange moves from rank to rank, in rows: what routing gives, and what the dispatch mode makes of it.
//
//   planned, exact    dispatch, combine: the rows that there are
//   capacity          dispatch: header_rows + slots from every source to every host; combine: slots the other way; what
//                     stays on its rank is copied as it is
//   exchange_counts   one number per expert of the host, from every source to every host
//   hierarchical      as node_rows.hpp says: a token once per node, and there once per host
//
// Both executors send exactly these.
#pragma once

#include <cstdint>
#include <optional>

#include "plan/plan.hpp"
#include "plan/program/node_rows.hpp"
#include "plan/program/resolve.hpp"

namespace foretoken::plan {

/// One per simulation or run; not shared between threads.
class WireRows {
 public:
  /// Keeps references to both; they must outlive it.
  /// @param legs of an exchange that sends a token once per node
  WireRows(const Plan& plan, RowCounter& rows, NodeRows::Legs legs = NodeRows::Legs::together);

  /// Of one dispatch, combine or exchange_counts, one expert-group instance and routed step. `rows_of_expert` are the
  /// useful ones; a row has as many columns as the op says. The reference is valid until the next call.
  const RoutedRows& rows(const Communication& communication, std::int64_t instance, std::int64_t routed_step);

 private:
  const Plan& plan_;
  RowCounter& rows_;
  RoutedRows routed_;
  std::optional<NodeRows> node_rows_;  // where a token is sent once per node
};

/// Bytes of token rows that a step's exchanges move between different ranks, all ranks and micro-batches together; the
/// mean over the routed steps.
struct ExchangeVolume {
  double useful = 0;  // rows that routing gives
  double wire = 0;    // with empty slots and headers; hierarchical: with weights and what is passed on within a node
  double counts = 0;  // of exchange_counts, beside those
  // Of the first two, between nodes; where a token is sent once per node.
  double useful_across = 0;
  double wire_across = 0;
};

/// @throws Error{invalid_input} if the plan's routing is not known (`model`)
ExchangeVolume exchange_volume(const Plan& plan);

/// The same for a summary: nothing where no tokens are dispatched, the routing is not known, or counting would take
/// longer than about a second (more than 2 x 10^7 draws of an expert).
std::optional<ExchangeVolume> summary_volume(const Plan& plan);

}  // namespace foretoken::plan
