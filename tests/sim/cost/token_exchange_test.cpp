#include "sim/cost/token_exchange.hpp"

#include <gtest/gtest.h>

namespace foretoken::sim {
namespace {

TEST(TokenExchange, RowsCarryScalesAndHeaders) {
  // 7168 values of one byte, 56 scales of 4 bytes; a low-latency dispatch has 16 bytes before them.
  using enum ExchangeAlgorithm;
  EXPECT_EQ(token_row_bytes(ExchangeOp::dispatch, hierarchical, 7168, DType::fp8), Bytes(7392));
  EXPECT_EQ(token_row_bytes(ExchangeOp::dispatch, low_latency, 7168, DType::fp8), Bytes(7408));
  EXPECT_EQ(token_row_bytes(ExchangeOp::combine, low_latency, 7168, DType::bf16), Bytes(14336));
}

TEST(TokenExchange, TokensMissAGroupWithTheOthersAlone) {
  // Of 6 pairs of 4 experts, 3 have the first one, 5 have the first or the second; any 3 of them meet every pair.
  EXPECT_DOUBLE_EQ(share_of_tokens(1, 4, 2), 0.5);
  EXPECT_DOUBLE_EQ(share_of_tokens(2, 4, 2), 5.0 / 6);
  EXPECT_DOUBLE_EQ(share_of_tokens(3, 4, 2), 1.0);
  EXPECT_DOUBLE_EQ(share_of_tokens(0, 4, 2), 0.0);
  // One expert per token: shares are proportions.
  EXPECT_DOUBLE_EQ(share_of_tokens(3, 8, 1), 3.0 / 8);
}

// 4 ranks on 2 nodes, one expert each, top-2, 6 tokens of 100 bytes.
TEST(TokenExchange, AHierarchicalOneSendsATokenOncePerNode) {
  const TokenExchange exchange{4, 2, 6, 2, 4, Bytes(100)};
  // Low latency: 6 tokens x 2 / 4 ranks = 3 rows to every rank.
  const TokenExchangeBytes straight = token_exchange_bytes(ExchangeAlgorithm::low_latency, exchange);
  EXPECT_DOUBLE_EQ(straight.in_node_pair, 300);
  EXPECT_DOUBLE_EQ(straight.across_sent, 600);
  // Once per node: 5/6 of the tokens have an expert there, 5 rows instead of 6 over the NIC. Each rank then hands its
  // neighbour what is for it, of its own 6 tokens and of the 6 of its counterpart: half of each.
  const TokenExchangeBytes once = token_exchange_bytes(ExchangeAlgorithm::hierarchical, exchange);
  EXPECT_DOUBLE_EQ(once.across_pair, 500);
  EXPECT_DOUBLE_EQ(once.across_sent, 500);
  EXPECT_DOUBLE_EQ(once.in_node_sent, 600);
}

// With one expert per token nothing is sent twice, so both send the same over the NIC.
TEST(TokenExchange, OneExpertPerTokenLeavesNothingToSave) {
  const TokenExchange exchange{16, 2, 64, 1, 32, Bytes(1000)};
  EXPECT_NEAR(token_exchange_bytes(ExchangeAlgorithm::low_latency, exchange).across_sent,
              token_exchange_bytes(ExchangeAlgorithm::hierarchical, exchange).across_sent, 1e-9);
}

}  // namespace
}  // namespace foretoken::sim
