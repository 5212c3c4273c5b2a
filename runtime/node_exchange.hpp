// One rank's part in a dispatch that sends a token once per node, and in its combine, which goes the other way.
//
// A rank has three kinds of rows: those of its own tokens, which leave it; visitors, the rows that come to it, for its
// experts or to be passed on; and the rows that its experts compute with, one per token and expert.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/plan.hpp"
#include "plan/program/node_rows.hpp"

namespace foretoken::runtime {

/// Peers are indices within the expert group and ascend. Both ends of a message have its rows in the same order: by
/// (source, token), those that come straight from their source before those that are passed on.
///
///   dispatch  round 0  sends leaving, receives arriving (direct)
///             round 1  sends passing, receives arriving (forwarded)
///   combine   round 0  sends arriving of its own node, direct and forwarded as one message, and receives from each
///                      peer of its own node its rows in leaving, then those in passing
///             round 1  sends arriving (direct) of other nodes, receives leaving of other nodes
///
/// In a combine a rank adds up, for each visitor: its own experts' rows in the order of the token's choices, each times
/// its weight, then what comes back from peers in their order. A source adds up what comes for a token in the order of
/// leaving.
struct NodeExchange {
  struct Lot {
    std::int32_t peer = 0;
    bool same_node = false;
    std::vector<std::int32_t> rows;  // leaving: the rank's tokens, from 0; passing: visitors
  };
  struct Arrival {
    std::int32_t peer = 0;
    bool same_node = false;
    std::int64_t first = 0;  // its visitors: direct ones, then forwarded ones
    std::int64_t direct = 0;
    std::int64_t forwarded = 0;
  };
  /// A row that an expert of this rank computes with.
  struct Use {
    std::int32_t visitor = 0;
    std::int32_t choice = 0;  // of the token
    std::int32_t row = 0;     // in the order of arrival of plan::RowOrder: (source, expert, token)
  };
  std::vector<Lot> leaving;       // to itself too
  std::vector<Arrival> arriving;  // from itself too: last, so that where others' rows are depends on messages alone
  std::vector<Lot> passing;
  std::vector<Use> uses;  // by (visitor, choice)
  std::int64_t visitors = 0;
};

/// @param chunk -1: all sources. Precondition: plan::sends_once_per_node, and its routing is known
NodeExchange node_exchange(const plan::Plan& plan, RankId rank, std::int64_t routed_step, std::int64_t layer,
                           std::int64_t micro_batch, std::int64_t chunk);

/// Rows of all lots.
std::int64_t rows_of(const std::vector<NodeExchange::Lot>& lots);

}  // namespace foretoken::runtime
