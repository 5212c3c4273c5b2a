#include "sim/moe_module.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "tests/sim/cost/invented_compute.hpp"

namespace foretoken::sim {
namespace {

TEST(MoeModule, IsTheSumOfItsKernels) {
  // 2 experts here of 8, 64 rows each, of 512 tokens (top-2) on 4 GPUs. 0.5 TB/s and a floor of 1 us for what moves
  // memory:
  //   choose      512 x (8 x 2 + 2 x 8) B          = 16,384 B
  //   permute     128 rows x 1024 x 2 (in, out) x 2 B
  //   activation  128 x 256 x 3 (gate, up, out) x 2 B
  //   unpermute   (128 + 512) x 1024 x 2 B
  //   sort        four times 512 x 2 x 8 B: more tokens than one block takes
  const ComputeCost cost(invented_calibration(), invented_device());
  const std::vector<std::int64_t> rows{64, 64};
  const MoeModule module{512, 1024, 256, 8, 2, DType::bf16, true};
  const double moved = 16384 + 128 * 1024 * 4 + 128 * 256 * 6 + (128 + 512) * 1024 * 2 + 4 * 8192;
  const double expected = 8 + moved / 5e11 * 1e6 + microseconds(cost.grouped_gemm(DType::bf16, rows, 512, 1024).time) +
                          microseconds(cost.grouped_gemm(DType::bf16, rows, 1024, 256).time);
  const Estimate estimate = moe_module(cost, module, rows);
  EXPECT_NEAR(microseconds(estimate.time), expected, 1e-9);
  EXPECT_EQ(estimate.provenance, Provenance::assumed);  // element-wise kernels are
  EXPECT_FALSE(estimate.error_p90.has_value());
}

TEST(MoeModule, WithoutRowsOnlyChoosesAndWritesZeros) {
  // choose: 4 x (8 x 2 + 8) B; sort: two kernels of 4 x 8 B; unpermute writes 4 x 1024 x 2 B; each with its floor.
  const ComputeCost cost(invented_calibration(), invented_device());
  const std::vector<std::int64_t> none{0, 0};
  EXPECT_NEAR(microseconds(moe_module(cost, {4, 1024, 256, 8, 1, DType::bf16, true}, none).time),
              4 + (96 + 64 + 8192) / 5e5, 1e-9);
}

TEST(MoeModule, NarrowActivationsAreQuantisedOnce) {
  // An fp8 sweep whose shortest GEMM takes 5 us where a bf16 one takes 1: 4 us of quantising in front of each.
  ComputeCalibration calibration = invented_calibration();
  calibration.gemm.push_back(calibration.gemm.front());
  calibration.gemm.back().dtype = DType::fp8;
  calibration.gemm.back().floor = Seconds(5e-6);
  const ComputeCost cost(calibration, invented_device());
  EXPECT_NEAR(microseconds(cost.quantising(DType::fp8)), 4, 1e-9);
  EXPECT_EQ(cost.quantising(DType::bf16), Seconds(0));
  // The module: both grouped GEMMs without it, and one kernel that reads 64 x 1024 x 2 B and writes half of that. With
  // the same floor in both there is nothing to take off.
  calibration.gemm.back().floor = Seconds(1e-6);
  const ComputeCost bare(calibration, invented_device());
  const MoeModule module{64, 1024, 256, 8, 2, DType::fp8, true};
  const std::vector<std::int64_t> rows{16, 16};
  EXPECT_NEAR(microseconds(moe_module(cost, module, rows).time), microseconds(moe_module(bare, module, rows).time),
              1e-9);
  const double gemms = microseconds(bare.grouped_gemm(DType::fp8, rows, 512, 1024).time) +
                       microseconds(bare.grouped_gemm(DType::fp8, rows, 1024, 256).time);
  // choose, sort (two kernels of 64 x 2 x 8 B), quantise, permute, activation, unpermute.
  const double moved = 64 * 32 + 2 * 1024 + 64 * 1024 * 3 + 32 * 1024 * 4 + 32 * 256 * 6 + (32 + 64) * 1024 * 2;
  EXPECT_NEAR(microseconds(moe_module(bare, module, rows).time), gemms + 7 + moved / 5e5, 1e-9);
}

TEST(MoeModule, PlainExpertsHaveOneMatrixLess) {
  const ComputeCost cost(invented_calibration(), invented_device());
  const std::vector<std::int64_t> rows{2048, 2048};
  const MoeModule gated{2048, 1024, 1024, 2, 2, DType::bf16, true};
  MoeModule plain = gated;
  plain.gated = false;
  // Up takes half, and the activation reads and writes 2/3 as much.
  const double up = microseconds(cost.grouped_gemm(DType::bf16, rows, 2048, 1024).time) -
                    microseconds(cost.grouped_gemm(DType::bf16, rows, 1024, 1024).time);
  EXPECT_NEAR(microseconds(moe_module(cost, gated, rows).time) - microseconds(moe_module(cost, plain, rows).time),
              up + 4096.0 * 1024 * 2 / 5e5, 1e-6);
}

}  // namespace
}  // namespace foretoken::sim
