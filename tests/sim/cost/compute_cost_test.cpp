#include "sim/cost/compute_cost.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/error.hpp"
#include "tests/sim/cost/invented_compute.hpp"

namespace foretoken::sim {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr std::int64_t kHuge = 1'000'000'000'000;

double us(const Estimate& estimate) { return estimate.time.value() * 1e6; }

AttentionShape decode(std::int64_t batch, std::int64_t context) {
  return {batch, 1, context, 8, 8, 128, DType::bf16, DType::bf16, Residency::cold};
}

TEST(ComputeCost, GemmIsFloorPlusRooflineWithoutSlowdown) {
  // m 1, n 1000, k 500: weights 1 MB take 1 us, activations 1 kB + 2 kB from L2 0.00075 us, 1 MFLOP 0.001 us (in
  // squares: nothing); floor 1 us.
  const ComputeCost cost(invented_calibration(), invented_device());
  EXPECT_NEAR(us(cost.gemm(DType::bf16, 1, 1000, 500)), 2.00075, 1e-5);
}

TEST(ComputeCost, SlowdownMultipliesFloorAndRoofline) {
  ComputeCalibration calibration = invented_calibration();
  for (double& value : calibration.gemm[0].log_slowdown.values) value = std::log(3.0);
  const ComputeCost plain(invented_calibration(), invented_device()), slow(calibration, invented_device());
  EXPECT_NEAR(us(slow.gemm(DType::bf16, 5, 700, 300)) / us(plain.gemm(DType::bf16, 5, 700, 300)), 3, 1e-9);
}

TEST(ComputeCost, NothingBeatsTheLowerBound) {
  // A fit that claims e^-5 of the roofline: weights of 1 MB still take 1 us.
  ComputeCalibration calibration = invented_calibration();
  for (double& value : calibration.gemm[0].log_slowdown.values) value = -5;
  EXPECT_NEAR(us(ComputeCost(calibration, invented_device()).gemm(DType::bf16, 1, 1000, 500)), 1, 1e-9);
}

TEST(ComputeCost, RowsArePaddedWhereMoreRowsRunFaster) {
  // The sweep is twice slower at 64 rows than at 4096 and at 1; at 4096 rows of this small GEMM the roofline
  // (activations 4096 x 8 x 2 x 2 B = 0.13 MB in L2: 0.033 us) is next to nothing. So 64 rows cost as 4096: about 1.03
  // us.
  ComputeCalibration calibration = invented_calibration();
  std::vector<double>& values = calibration.gemm[0].log_slowdown.values;
  for (std::size_t i = 4; i < 8; ++i) values[i] = std::log(2.0);
  const ComputeCost cost(calibration, invented_device());
  EXPECT_NEAR(us(cost.gemm(DType::bf16, 64, 8, 8)), us(cost.gemm(DType::bf16, 4096, 8, 8)), 1e-9);
  EXPECT_NEAR(us(cost.gemm(DType::bf16, 4096, 8, 8)), 1.033, 1e-3);
}

TEST(ComputeCost, SaysWhatAnAnswerRestsOn) {
  const ComputeCost cost(invented_calibration(), invented_device());
  EXPECT_EQ(cost.gemm(DType::bf16, 4096, 64, 64).provenance, Provenance::interpolated);
  // fp16 has bf16's rate on tensor cores; fp8 has no fit here and borrows its efficiency.
  EXPECT_EQ(cost.gemm(DType::fp16, 4096, 64, 64).provenance, Provenance::interpolated);
  EXPECT_EQ(cost.gemm(DType::fp8, 4096, 64, 64).provenance, Provenance::assumed);
  EXPECT_EQ(cost.gemm(DType::bf16, 4097, 64, 64).provenance, Provenance::extrapolated);
  // Inside every axis, but log2 n + log2 k = 24 > 23: that corner of the grid is empty.
  EXPECT_EQ(cost.gemm(DType::bf16, 1, 4096, 4096).provenance, Provenance::extrapolated);
  EXPECT_EQ(cost.memory_bound(Bytes(1)).provenance, Provenance::assumed);

  AttentionShape shape = decode(64, 512);  // 512 items of 2^16 elements, 134 MB: out of L2 either way
  EXPECT_EQ(cost.attention_decode(shape).provenance, Provenance::interpolated);
  shape.head_dim = 64;
  EXPECT_EQ(cost.attention_decode(shape).provenance, Provenance::extrapolated);
  shape = decode(64, 512);
  shape.heads = 8 * 16;  // 16 query heads per KV head; 8 at most were measured
  EXPECT_EQ(cost.attention_decode(shape).provenance, Provenance::extrapolated);
  // 1 x 8 x 512 x 128 x 2 x 2 B = 2.1 MB is not in L2; 245 tokens are 1.0 MB, which the benchmark had there: cold they
  // take floor + 1 us, repeated floor + 0.25 us.
  EXPECT_EQ(cost.attention_decode(decode(1, 512)).provenance, Provenance::interpolated);
  EXPECT_EQ(cost.attention_decode(decode(1, 240)).provenance, Provenance::extrapolated);
  shape = decode(1, 240);
  shape.kv = Residency::repeated;
  EXPECT_EQ(cost.attention_decode(shape).provenance, Provenance::interpolated);
  // A cached prefix was never measured.
  EXPECT_EQ(cost.attention_prefill({4, 64, 128, 8, 8, 128}).provenance, Provenance::extrapolated);
}

TEST(ComputeCost, ZeroWorkTakesNoTime) {
  const ComputeCost cost(invented_calibration(), invented_device());
  EXPECT_EQ(us(cost.gemm(DType::bf16, 0, 10, 10)), 0);
  EXPECT_EQ(us(cost.gemm(DType::bf16, 10, 0, 10)), 0);
  EXPECT_EQ(us(cost.gemm(DType::bf16, 10, 10, 0)), 0);
  EXPECT_EQ(us(cost.grouped_gemm(DType::bf16, {}, 10, 10)), 0);
  EXPECT_EQ(us(cost.grouped_gemm(DType::bf16, std::vector<std::int64_t>{0, 0}, 10, 10)), 0);
  EXPECT_EQ(us(cost.attention_decode(decode(0, 10))), 0);
  EXPECT_EQ(us(cost.attention_prefill({4, 0, 0, 8, 8, 128})), 0);
  EXPECT_EQ(us(cost.memory_bound(Bytes(0))), 0);
}

TEST(ComputeCost, HugeWorkTakesFiniteTimeAboveTheLowerBound) {
  const ComputeCost cost(invented_calibration(), invented_device());
  // Weights of 2e24 B at 1 TB/s are 2e12 s; 2e36 FLOP at 1 PFLOP/s are 2e21 s.
  const Estimate gemm = cost.gemm(DType::bf16, kHuge, kHuge, kHuge);
  EXPECT_TRUE(std::isfinite(gemm.time.value()));
  EXPECT_GE(gemm.time.value(), 2e21);
  const Estimate attention = cost.attention_decode({kHuge, 1, kHuge, kHuge, kHuge, kHuge});
  EXPECT_TRUE(std::isfinite(attention.time.value()));
  EXPECT_GE(attention.time.value(), 1e30);
}

TEST(ComputeCost, ElementWiseKernelsAreFloorPlusTraffic) {
  // 1 us + 1 MB / 0.5 TB/s = 3 us.
  EXPECT_NEAR(us(ComputeCost(invented_calibration(), invented_device()).memory_bound(Bytes(1'000'000))), 3, 1e-9);
}

TEST(ComputeCost, NamesWhatIsMissing) {
  try {
    const ComputeCost cost(invented_calibration(), invented_device(), "elsewhere");
    FAIL() << "an unknown framework was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("elsewhere"), HasSubstr("plain")));
  }
  const ComputeCost cost(invented_calibration(), invented_device());
  EXPECT_THROW((void)cost.gemm(DType::fp32, 1, 1, 1), Error);  // the device has no fp32 peak
  EXPECT_THROW((void)cost.gemm(DType::int32, 1, 1, 1), Error);
}

TEST(GroupedGemm, EqualRowsAreOneWideGemm) {
  const ComputeCost cost(invented_calibration(), invented_device());
  const std::vector<std::int64_t> rows{64, 0, 64, 0};
  EXPECT_DOUBLE_EQ(us(cost.grouped_gemm(DType::bf16, rows, 700, 500)), us(cost.gemm(DType::bf16, 64, 1400, 500)));
  EXPECT_EQ(cost.grouped_gemm(DType::bf16, rows, 700, 500).provenance, Provenance::extrapolated);
}

TEST(GroupedGemm, OneExpertIsAGemm) {
  const ComputeCost cost(invented_calibration(), invented_device());
  const Estimate grouped = cost.grouped_gemm(DType::bf16, std::vector<std::int64_t>{0, 17}, 700, 500);
  const Estimate gemm = cost.gemm(DType::bf16, 17, 700, 500);
  EXPECT_DOUBLE_EQ(us(grouped), us(gemm));
  EXPECT_EQ(grouped.provenance, gemm.provenance);
}

TEST(GroupedGemm, UnevenRowsAreTheMeanAndTheirOrderIsNothing) {
  // Two experts: half of a GEMM of double width with 1 row each, half of one with 300.
  const ComputeCost cost(invented_calibration(), invented_device());
  const double expected =
      0.5 * us(cost.gemm(DType::bf16, 1, 1400, 500)) + 0.5 * us(cost.gemm(DType::bf16, 300, 1400, 500));
  const Estimate one = cost.grouped_gemm(DType::bf16, std::vector<std::int64_t>{1, 300}, 700, 500);
  const Estimate other = cost.grouped_gemm(DType::bf16, std::vector<std::int64_t>{300, 1}, 700, 500);
  EXPECT_DOUBLE_EQ(us(one), expected);
  EXPECT_EQ(one.time, other.time);
}

}  // namespace
}  // namespace foretoken::sim
