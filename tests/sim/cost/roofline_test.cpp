#include "sim/cost/roofline.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/sim/cost/invented_compute.hpp"

namespace foretoken::sim {
namespace {

MachineRates rates(double peak) { return machine_rates(invented_device(), invented_l2(), FlopsPerSecond(peak)); }

TEST(GemmRoofline, AddsMemoryAndMathAsARootOfSquares) {
  // m 1000, n 1000, k 500, bf16: weights 1 MB take 1 us; activations 1 MB + 2 MB pass L2 and take 3 us.
  // 1 GFLOP at 1e9 / 3e-6 FLOP/s takes 3 us. sqrt(4^2 + 3^2) = 5 us.
  EXPECT_NEAR(gemm_roofline({1000, 1000, 500, 2}, rates(1e9 / 3e-6)).value(), 5e-6, 1e-12);
}

TEST(GemmRoofline, ReadsSmallActivationsFromL2AndWeightsFromMemory) {
  // m 100: activations 0.1 MB + 0.2 MB from L2 at 4 TB/s take 0.075 us; weights of 1 MB still take 1 us. No math.
  EXPECT_NEAR(gemm_roofline({100, 1000, 500, 2}, rates(1e30)).value(), 1.075e-6, 1e-12);
}

TEST(GemmRoofline, WritesResultsOfFp8InTwoBytes) {
  // 1-byte operands: weights 0.5 MB take 0.5 us; activations 0.05 MB + 0.2 MB from L2 take 0.0625 us.
  EXPECT_NEAR(gemm_roofline({100, 1000, 500, 1}, rates(1e30)).value(), 0.5625e-6, 1e-12);
}

TEST(GemmRoofline, IsFiniteForAbsurdShapes) {
  const Seconds time =
      gemm_roofline({std::int64_t{1} << 62, std::int64_t{1} << 62, std::int64_t{1} << 62, 2}, rates(1e15));
  EXPECT_TRUE(std::isfinite(time.value()));
  EXPECT_GT(time.value(), 1e30);
}

TEST(L2Share, FallsLinearlyBetweenItsLimits) {
  EXPECT_DOUBLE_EQ(l2_share(0, rates(1)), 1);
  EXPECT_DOUBLE_EQ(l2_share(1e6, rates(1)), 1);
  EXPECT_DOUBLE_EQ(l2_share(1.25e6, rates(1)), 0.75);
  EXPECT_DOUBLE_EQ(l2_share(2e6, rates(1)), 0);
  EXPECT_DOUBLE_EQ(l2_share(1e18, rates(1)), 0);
}

// 1 sequence, 1001 tokens, one head of 250: cached K and V are 2 x 1000 x 250 x 2 B = 1 MB; fresh 2 kB.
AttentionShape one_megabyte(Residency kv) { return {1, 1, 1001, 1, 1, 250, DType::bf16, DType::bf16, kv}; }

TEST(AttentionRoofline, ColdCacheComesFromMemoryAndRepeatedFromL2) {
  // Cold: 1 MB at 1 TB/s is 1 us. Repeated: at 4 TB/s 0.25 us. The fresh 2 kB, and the 0.2 % over the limit of L2, are
  // worth less than 1 %.
  EXPECT_NEAR(
      attention_roofline(AttentionPhase::decode, one_megabyte(Residency::cold), Seconds(0), rates(1e30)).value(), 1e-6,
      1e-8);
  EXPECT_NEAR(
      attention_roofline(AttentionPhase::decode, one_megabyte(Residency::repeated), Seconds(0), rates(1e30)).value(),
      0.25e-6, 0.01e-6);
}

TEST(AttentionRoofline, Fp8CacheIsHalfTheTraffic) {
  AttentionShape shape = one_megabyte(Residency::cold);
  shape.kv_dtype = DType::fp8;
  EXPECT_NEAR(attention_roofline(AttentionPhase::decode, shape, Seconds(0), rates(1e30)).value(), 0.5e-6, 1e-8);
}

TEST(AttentionRoofline, ManyShortItemsQueueForTheSms) {
  // 500 sequences x 2 KV heads = 1000 items of 1 us on 100 SMs: 10 us; the traffic of one token each is far below.
  const AttentionShape shape{500, 1, 1, 4, 2, 8, DType::bf16, DType::bf16, Residency::cold};
  EXPECT_NEAR(attention_roofline(AttentionPhase::decode, shape, Seconds(1e-6), rates(1e30)).value(), 10e-6, 1e-8);
}

TEST(AttentionRoofline, CausalPrefillCountsWhatEachTokenSees) {
  // 4 new tokens on 6 cached see 7 + 8 + 9 + 10 = 34 keys; QK and PV: 4 x 34 x head_dim 100 x 5 heads x 2 = 136 kFLOP.
  // At 1 GFLOP/s 136 us; the rest vanishes.
  const AttentionShape shape{2, 4, 10, 5, 5, 100, DType::bf16, DType::bf16, Residency::cold};
  EXPECT_NEAR(attention_roofline(AttentionPhase::prefill, shape, Seconds(0), rates(1e9)).value(), 136e-6, 1e-9);
  EXPECT_NEAR(attention_lower_bound(shape, rates(1e9)).value(), 136e-6, 1e-9);
}

TEST(AttentionRoofline, ALatentIsReadOnceForAllHeads) {
  // 1000 cached tokens of 576 values of 2 B, value included: 1.152 MB at 1 TB/s.
  AttentionShape shape{1, 1, 1001, 16, 1, 576, DType::bf16, DType::bf16, Residency::cold, 512, true};
  EXPECT_NEAR(attention_lower_bound(shape, rates(1e30)).value(), 1.152e-6, 1e-12);
  // Scores over 576 and sums over 512 values of 1001 tokens, 16 heads: 2 x 1088 x 1001 x 16 = 34.85 MFLOP.
  EXPECT_NEAR(attention_lower_bound(shape, rates(1e12)).value(), 34.850816e-6, 1e-11);
  // Keys of 192 and values of 128 by themselves: 320 of each token.
  shape.head_dim = 192;
  shape.value_dim = 128;
  shape.latent = false;
  EXPECT_NEAR(attention_lower_bound(shape, rates(1e30)).value(), 0.640e-6, 1e-12);
}

}  // namespace
}  // namespace foretoken::sim
