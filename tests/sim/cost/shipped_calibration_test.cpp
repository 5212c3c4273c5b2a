// Properties that the shipped H100 calibration has to have, whatever it was fitted to.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/calibration.hpp"
#include "sim/cost/compute_cost.hpp"

namespace foretoken::sim {
namespace {

class ShippedCalibration : public ::testing::TestWithParam<std::string> {
 protected:
  Calibration calibration_ = read_calibration("topologies/calibrations/h100-sxm.json");
  DeviceSpec device_ = read_device_spec("topologies/devices/h100-sxm5-80gb.json");
  ComputeCost cost_{calibration_.compute, device_, GetParam()};
  MachineRates rates_ = machine_rates(device_, calibration_.compute.l2, *device_.peak(DType::bf16));
};

TEST_P(ShippedCalibration, MoreRowsAreNeverMuchFaster) {
  // The measured libraries are not monotone themselves; 8 % is what is left of that after padding.
  for (std::int64_t n = 32; n <= 65536; n *= 4)
    for (std::int64_t k = 32; k <= 65536; k *= 4) {
      double slowest = 0;
      for (std::int64_t m = 1; m <= 20'000; m = m < 64 ? m + 1 : m * 17 / 16) {
        const double time = cost_.gemm(DType::bf16, m, n, k).time.value();
        EXPECT_GE(time, 0.92 * slowest) << m << " x " << n << " x " << k;
        slowest = std::max(slowest, time);
      }
    }
}

TEST_P(ShippedCalibration, NothingIsFasterThanTheDatasheet) {
  for (std::int64_t m = 1; m <= 1 << 20; m *= 3)
    for (std::int64_t n = 1; n <= 1 << 20; n *= 7)
      for (std::int64_t k = 1; k <= 1 << 20; k *= 5)
        EXPECT_GE(cost_.gemm(DType::bf16, m, n, k).time, gemm_lower_bound({m, n, k, 2}, rates_))
            << m << " " << n << " " << k;
  for (std::int64_t batch = 1; batch <= 4096; batch *= 4)
    for (std::int64_t context = 1; context <= 1 << 20; context *= 8) {
      const AttentionShape shape{batch, 1, context, 8, 2, 128};
      EXPECT_GE(cost_.attention_decode(shape).time, attention_lower_bound(shape, rates_)) << batch << " " << context;
    }
}

// Few rows read 4.25 bits of a weight for 16, which takes that share of the bytes' time; many rows compute as long as
// with weights of 16 bits.
TEST_P(ShippedCalibration, FourBitExpertsSaveBytesAndNoMultiplications) {
  const auto time = [&](std::int64_t rows, Packing packing) {
    const std::vector<std::int64_t> experts(4, rows);
    return cost_.grouped_gemm(DType::bf16, experts, 16'384, 8'192, packing);
  };
  const double bytes = 4.0 * 16'384 * 8'192 * 4.25 / 8;
  for (const std::int64_t rows : {1, 4, 16}) {
    const Estimate packed = time(rows, Packing::mxfp4);
    EXPECT_GE(packed.time.value(), bytes / device_.memory_bandwidth.value()) << rows;
    EXPECT_LT(packed.time.value(), 0.5 * time(rows, Packing::none).time.value()) << rows;
    EXPECT_LE(packed.time, time(rows, Packing::int4).time) << rows;
    EXPECT_EQ(packed.provenance, Provenance::assumed) << rows;
  }
  EXPECT_NEAR(ratio(time(4'096, Packing::mxfp4).time, time(4'096, Packing::none).time), 1, 0.05);
}

TEST_P(ShippedCalibration, ExpertsOfThePaperRunBetweenOneAndThreeRooflines) {
  // One expert of 8192 x 32768 in fp16 is 537 MB: 160 us at the datasheet's bandwidth. Up to 256 rows both of its GEMMs
  // are bound by that.
  for (const std::int64_t rows : {8, 16, 64, 100, 128, 256})
    for (const bool up : {true, false}) {
      const std::int64_t n = up ? 32768 : 8192, k = up ? 8192 : 32768;
      const Estimate found = cost_.gemm(DType::fp16, rows, n, k);
      const double ideal = gemm_lower_bound({rows, n, k, 2}, rates_).value();
      EXPECT_NEAR(ideal, 160e-6, 1e-6);
      EXPECT_GE(found.time.value(), ideal) << rows;
      EXPECT_LE(found.time.value(), 3 * ideal) << rows;
      EXPECT_EQ(found.provenance, Provenance::interpolated) << rows;
    }
}

TEST_P(ShippedCalibration, AttentionOfThePaperRunsBetweenOneAndThreeRooflines) {
  // 16 heads of 512 on 8 GPUs: 2 heads each. 1024 sequences of 512 tokens are 2.1 GB of K and V: 641 us. No head_dim
  // but 128 was measured, so the answer says that it is extrapolated.
  for (const std::int64_t context : {128, 512, 2048}) {
    const AttentionShape shape{1024, 1, context, 2, 2, 512, DType::fp16, DType::fp16};
    const Estimate found = cost_.attention_decode(shape);
    const double ideal = static_cast<double>(1024 * context * 2 * 512 * 4) / 3.35e12;
    EXPECT_GE(found.time.value(), 0.99 * ideal);
    EXPECT_LE(found.time.value(), 3 * ideal);
    EXPECT_EQ(found.provenance, Provenance::extrapolated);
  }
}

TEST_P(ShippedCalibration, LongerContextsAndLargerBatchesAreNeverMuchFaster) {
  // 15 % of slack: split-KV thresholds make the measured kernels themselves jump.
  for (std::int64_t batch = 1; batch <= 2048; batch *= 2) {
    double slowest = 0;
    for (std::int64_t context = 1; context <= 1 << 17; context *= 2) {
      const double time = cost_.attention_decode({batch, 1, context, 8, 2, 128}).time.value();
      EXPECT_GE(time, 0.85 * slowest) << batch << " x " << context;
      slowest = std::max(slowest, time);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Frameworks, ShippedCalibration, ::testing::Values("vllm", "trtllm", "sglang"));

}  // namespace
}  // namespace foretoken::sim
