#include "sim/cost/token_exchange.hpp"

#include "core/error.hpp"

namespace foretoken::sim {

Bytes token_row_bytes(ExchangeOp op, ExchangeAlgorithm algorithm, int hidden, DType dtype) {
  constexpr int values_per_scale = 128;
  constexpr int scale_bytes = 4;
  constexpr int header_bytes = 16;
  std::int64_t bytes = std::int64_t{hidden} * bytes_per_element(dtype);
  if (dtype == DType::fp8) bytes += std::int64_t{scale_bytes} * (hidden / values_per_scale);
  if (op == ExchangeOp::dispatch && algorithm == ExchangeAlgorithm::low_latency) bytes += header_bytes;
  return Bytes(bytes);
}

double share_of_tokens(int some, int experts, int top_k) {
  FORETOKEN_CHECK(0 <= some && some <= experts && 1 <= top_k && top_k <= experts, "tokens choose among the experts");
  double missed = 1.0;
  for (int i = 0; i < top_k; ++i) {
    const int others = experts - some - i;
    if (others <= 0) return 1.0;
    missed *= static_cast<double>(others) / (experts - i);
  }
  return 1.0 - missed;
}

TokenExchangeBytes token_exchange_bytes(ExchangeAlgorithm algorithm, const TokenExchange& exchange) {
  FORETOKEN_CHECK(exchange.nodes >= 1 && exchange.ranks % exchange.nodes == 0, "ranks are spread evenly over nodes");
  FORETOKEN_CHECK(exchange.experts % exchange.ranks == 0, "experts are spread evenly over ranks");
  const int on_node = exchange.ranks / exchange.nodes;
  const double sent = static_cast<double>(exchange.tokens) * static_cast<double>(exchange.row.value());
  TokenExchangeBytes bytes;
  if (algorithm == ExchangeAlgorithm::low_latency) {
    bytes.in_node_pair = bytes.across_pair = sent * exchange.top_k / exchange.ranks;
    bytes.across_sent = bytes.across_pair * (exchange.ranks - on_node);
  } else {
    const int of_rank = exchange.experts / exchange.ranks;
    bytes.in_node_pair = sent * exchange.nodes * share_of_tokens(of_rank, exchange.experts, exchange.top_k);
    bytes.across_pair = sent * share_of_tokens(of_rank * on_node, exchange.experts, exchange.top_k);
    bytes.across_sent = bytes.across_pair * (exchange.nodes - 1);
  }
  bytes.in_node_sent = bytes.in_node_pair * (on_node - 1);
  return bytes;
}

}  // namespace foretoken::sim
