// How many bytes a dispatch or combine moves between two ranks, when every token draws its experts evenly.
#pragma once

#include "core/collective_algorithm.hpp"
#include "core/dtype.hpp"
#include "core/units.hpp"
#include "sim/cost/network_cost.hpp"

namespace foretoken::sim {

/// A token exchange among equals: experts spread evenly over ranks, ranks over nodes, top_k distinct experts per token,
/// every choice as likely as any other.
struct TokenExchange {
  int ranks = 1;
  int nodes = 1;
  int tokens = 0;  // per rank
  int top_k = 1;
  int experts = 1;  // over all ranks; a multiple of ranks, >= top_k
  Bytes row;        // of one token for one destination
};

/// Mean payload from one rank to one other.
struct TokenExchangeBytes {
  double in_node_pair = 0;  // over NVLink
  double across_pair = 0;   // over the NIC; hierarchical: to the rank in its own place on each other node

  double in_node_sent = 0;  // by one rank to all others of its node
  double across_sent = 0;
};

/// What the blocks of the kernel work through where a rank has `tokens`: these, or the rows that come back to them.
inline ExchangeUnits units_of(ExchangeOp op, std::int64_t tokens, std::int64_t top_k, Bytes row) {
  return {op == ExchangeOp::dispatch ? tokens : tokens * top_k, row};
}

/// Of one payload row.
///
///   fp8: hidden values and a 4-byte scale per 128 of them; others: hidden values.
///   low_latency dispatch: 16 bytes more, which say where the row comes from.
/// Source: DeepEP's tests, which count the same bytes.
Bytes token_row_bytes(ExchangeOp op, ExchangeAlgorithm algorithm, int hidden, DType dtype);

/// The probability that a token has one of its top_k experts among `some` of all:
///
///   1 - C(experts - some, top_k) / C(experts, top_k)
///
/// Preconditions (checked): 0 <= some <= experts, 1 <= top_k <= experts.
/// Example: 1 of 4 experts, top-2: 1 - 3/6 = 1/2.
double share_of_tokens(int some, int experts, int top_k);

/// With n ranks on m nodes, g = n/m, T tokens of B bytes:
///
///   low_latency   every pair: T top_k / n B
///   hierarchical  across, to each of m-1 nodes: T P(node) B. In a node, from each rank to each other: what its own
///                 tokens and those that came to it from the m-1 nodes have for that rank, m T P(rank) B.
///                 P is share_of_tokens of the node's, or the rank's, experts.
TokenExchangeBytes token_exchange_bytes(ExchangeAlgorithm algorithm, const TokenExchange& exchange);

}  // namespace foretoken::sim
