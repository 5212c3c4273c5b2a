// Fits on sweeps whose physics the test makes up: what comes out has to be what went in, on shapes that the fit did not
// see.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <span>
#include <vector>

#include "calibrate/fit/attention_fit.hpp"
#include "calibrate/fit/gemm_fit.hpp"
#include "calibrate/fit/held_out.hpp"
#include "calibrate/fit/kernel_fit.hpp"
#include "calibrate/fit/lattice_fit.hpp"
#include "core/error.hpp"
#include "sim/cost/attention_cost.hpp"
#include "sim/cost/gemm_cost.hpp"

namespace foretoken::calibrate {
namespace {

using sim::AttentionPhase;

// 3 TB/s, 1 PFLOP/s, 50 MB of L2 at 5 TB/s, 100 SMs.
DeviceSpec device() {
  DeviceSpec spec;
  spec.memory_bandwidth = BytesPerSecond(3e12);
  spec.l2 = Bytes(50'000'000);
  spec.sms = 100;
  return spec;
}

sim::MachineRates rates() {
  return sim::machine_rates(device(), {"", Bytes(35'000'000), Bytes(50'000'000), BytesPerSecond(5e12)},
                            FlopsPerSecond(1e15));
}

constexpr double kFloor = 3e-6;

// A slowdown that is smooth in log m and differs by shape: 20 % at one row, growing with m, falling with n.
double gemm_truth(std::int64_t m, std::int64_t n, std::int64_t k) {
  const double slowdown =
      std::exp(0.2 + 0.02 * std::log2(static_cast<double>(m)) - 0.015 * std::log2(static_cast<double>(n)));
  return (kFloor + sim::gemm_roofline({m, n, k, 2}, rates()).value()) * slowdown;
}

std::vector<GemmSample> gemm_sweep() {
  std::vector<GemmSample> samples;
  for (std::int64_t m = 1; m <= 16384; m *= 2)
    for (std::int64_t n = 32; n <= 65536; n *= 2)
      for (std::int64_t k = 32; k <= 65536; k *= 2)
        samples.push_back({"made-up", DType::bf16, m, n, k, Seconds(gemm_truth(m, n, k))});
  return samples;
}

TEST(GemmFit, FindsThePhysicsOnHeldOutShapes) {
  const GemmFit fit = fit_gemm(gemm_sweep(), "test", rates(), {5, 1}).fit;
  // The slowdown is linear in the coordinates, which the lattice can say exactly. What is left is the floor: the fit
  // takes the first percentile of times, floor x exp(0.2 - ...), which shifts small kernels by a percent or two.
  EXPECT_LT(fit.held_out.median, 0.01);
  EXPECT_LT(fit.held_out.p90, 0.03);
  EXPECT_EQ(fit.held_out.groups, 12 * 12);
  EXPECT_EQ(fit.held_out.rows, 15 * 12 * 12);
  EXPECT_EQ(fit.held_out.seed, 1);
  // Shapes between those of the sweep.
  const sim::GemmCost cost(fit, rates(), 2);
  for (const auto& [m, n, k] : std::vector<std::array<std::int64_t, 3>>{
           {3, 100, 5000}, {96, 3000, 7000}, {3000, 6000, 1500}, {700, 20000, 300}})
    EXPECT_NEAR(cost(m, n, k).time.value() / gemm_truth(m, n, k), 1, 0.03) << m << " x " << n << " x " << k;
}

TEST(GemmFit, IsTheSameFromTheSameSamples) {
  const std::vector<GemmSample> sweep = gemm_sweep();
  EXPECT_EQ(fit_gemm(sweep, "test", rates(), {3, 7}).fit.log_slowdown.values,
            fit_gemm(sweep, "test", rates(), {3, 7}).fit.log_slowdown.values);
}

TEST(GemmFit, RejectsSweepsThatCannotBeFitted) {
  EXPECT_THROW((void)fit_gemm({}, "test", rates(), {5, 1}), Error);
  // One shape of weights only: no axis in n, and no group to hold out.
  std::vector<GemmSample> narrow;
  for (std::int64_t m = 1; m <= 64; m *= 2) narrow.push_back({"made-up", DType::bf16, m, 64, 64, Seconds(1e-5)});
  EXPECT_THROW((void)fit_gemm(narrow, "test", rates(), {5, 1}), Error);
}

// Decode with 4 us per item and 30 % over the roofline.
std::vector<AttentionSample> decode_sweep() {
  std::vector<AttentionSample> samples;
  for (const auto& [heads, kv_heads] :
       std::vector<std::array<std::int64_t, 2>>{{64, 8}, {32, 8}, {8, 1}, {8, 2}, {4, 1}})
    for (std::int64_t batch = 1; batch <= 2048; batch *= 2)
      for (std::int64_t context = 2; batch * context <= 1 << 19; context *= 2) {
        const sim::AttentionShape shape{
            batch, 1, context, heads, kv_heads, 128, DType::bf16, DType::bf16, sim::Residency::repeated};
        const Seconds ideal = sim::attention_roofline(AttentionPhase::decode, shape, Seconds(4e-6), rates());
        samples.push_back(
            {"made-up", DType::bf16, batch, 1, context, heads, kv_heads, 128, (Seconds(1e-5) + ideal) * 1.3});
      }
  return samples;
}

TEST(AttentionFit, FindsThePhysicsOnHeldOutHeadShapes) {
  const AttentionFit fit = fit_attention(AttentionPhase::decode, decode_sweep(), "test", rates(), {5, 1}).fit;
  EXPECT_LT(fit.held_out.median, 0.03);
  EXPECT_LT(fit.held_out.p90, 0.06);
  EXPECT_EQ(fit.held_out.groups, 5);
  // The floor that the fit sees is 1.3 x 10 us; an item 1.3 x 4 us less what the traffic of the first tokens hides.
  EXPECT_NEAR(fit.floor.value(), 13e-6, 0.5e-6);
  EXPECT_NEAR(fit.per_item.value(), 5.2e-6, 0.5e-6);
  EXPECT_EQ(fit.head_dims, std::vector<std::int64_t>{128});
  EXPECT_EQ(fit.group_min, 4);
  EXPECT_EQ(fit.group_max, 8);
}

TEST(AttentionFit, ColdCachesCostWhatMemoryTakes) {
  // 32 sequences x 1024 tokens x 2 heads x 128 x 2 x 2 B = 33.6 MB: in L2 6.7 us, from memory 11.2 us. The slowdown is
  // 1.3 whatever the residency, so the fit must answer (10 us + 11.2 us) x 1.3 = 27.5 us for the cold one.
  const AttentionFit fit = fit_attention(AttentionPhase::decode, decode_sweep(), "test", rates(), {5, 1}).fit;
  const sim::AttentionCost cost(AttentionPhase::decode, fit, rates());
  sim::AttentionShape shape{32, 1, 1024, 8, 2, 128, DType::bf16, DType::bf16, sim::Residency::cold};
  const double cold = cost(shape).time.value();
  shape.kv = sim::Residency::repeated;
  const double repeated = cost(shape).time.value();
  EXPECT_NEAR(cold, 27.5e-6, 0.05 * 27.5e-6);
  EXPECT_NEAR(repeated, 21.7e-6, 0.05 * 21.7e-6);
}

TEST(L2Fit, FindsTheBandwidthOfWorkingSetsThatFit) {
  // Floor 10 us; every row takes floor + bytes / 5 TB/s, so the rate over the floor is 5 TB/s in each.
  std::vector<AttentionSample> samples;
  for (const std::int64_t context : {1, 2, 4, 8192, 12288, 16384}) {
    const double bytes = 2.0 * static_cast<double>(context) * 2 * 128 * 2 * 2;  // 33.6 MB at 16384
    samples.push_back({"made-up", DType::bf16, 2, 1, context, 8, 2, 128, Seconds(1e-5 + bytes / 5e12)});
  }
  const L2Fit fit = fit_l2(samples, "test", device());
  EXPECT_NEAR(fit.bandwidth.value(), 5e12, 0.01e12);
  EXPECT_EQ(fit.hits_all_below, Bytes(35'000'000));
  EXPECT_EQ(fit.hits_none_above, Bytes(50'000'000));
  samples.resize(3);
  EXPECT_THROW((void)fit_l2(samples, "test", device()), Error);
}

TEST(LatticeFit, GivesBackAPlaneAndBridgesGaps) {
  // y = 1 + 2 x has no curvature, so smoothness costs nothing, and the knot at x = 2 that no sample reaches continues
  // the line. Only the ridge (1e-4) pulls, by less than a tenth of a percent.
  std::vector<LatticeSample> samples;
  for (const double x : {0.0, 0.25, 0.5, 0.75, 1.0, 3.0, 3.5, 4.0}) samples.push_back({{x, 0, 0}, 1 + 2 * x});
  const Lattice lattice = fit_lattice({{"x", {0, 1, 2, 3, 4}}}, samples, 0.1);
  for (const double x : {0.0, 0.6, 1.0, 2.0, 2.7, 4.0}) EXPECT_NEAR(lattice.at(std::array{x}), 1 + 2 * x, 0.01) << x;
}

TEST(HeldOut, WholeGroupsShareAFoldAndFoldsAreEven) {
  // 10 groups of 3 samples in 5 folds: 2 groups, 6 samples each.
  std::vector<std::int64_t> groups;
  for (std::int64_t i = 0; i < 30; ++i) groups.push_back(i % 10);
  const std::vector<std::int64_t> folds = deal_folds(groups, {5, 42});
  for (std::size_t i = 0; i < 30; ++i) EXPECT_EQ(folds[i], folds[i % 10]);
  for (std::int64_t fold = 0; fold < 5; ++fold) EXPECT_EQ(std::count(folds.begin(), folds.end(), fold), 6) << fold;
  EXPECT_EQ(deal_folds(groups, {5, 42}), folds);
  EXPECT_NE(deal_folds(groups, {5, 43}), folds);
  // More folds than groups: one group each.
  const std::vector<std::int64_t> few = deal_folds(std::vector<std::int64_t>{0, 1, 1}, {5, 1});
  EXPECT_EQ(few[1], few[2]);
  EXPECT_NE(few[0], few[1]);
}

struct Labelled {
  std::int64_t group;
  Seconds time;
};

TEST(HeldOut, NoGroupIsPredictedByAFitThatSawIt) {
  // The "model" is the set of groups that it was fitted to. Predictions are twice the truth: every error is exactly 1.
  std::vector<Labelled> samples;
  std::vector<std::int64_t> groups;
  for (std::int64_t i = 0; i < 40; ++i) {
    samples.push_back({i % 8, Seconds(1)});
    groups.push_back(i % 8);
  }
  const HeldOut out = cross_validate(
                          std::span<const Labelled>(samples), groups, {4, 9},
                          [](std::span<const Labelled> seen) {
                            std::set<std::int64_t> known;
                            for (const Labelled& sample : seen) known.insert(sample.group);
                            EXPECT_EQ(known.size(), 6U);  // 8 groups in 4 folds: 2 are held out
                            return known;
                          },
                          [](const std::set<std::int64_t>& known, const Labelled& sample) {
                            EXPECT_FALSE(known.contains(sample.group)) << sample.group;
                            return sample.time * 2.0;
                          })
                          .statistics;
  EXPECT_EQ(out.rows, 40);
  EXPECT_EQ(out.groups, 8);
  EXPECT_EQ(out.folds, 4);
  EXPECT_DOUBLE_EQ(out.median, 1);
  EXPECT_DOUBLE_EQ(out.signed_mean, 1);
}

TEST(HeldOut, StatisticsAreNearestRanks) {
  // Absolute errors 0.1, 0.2, 0.3, 0.4: the median is the 2nd, p90 the 4th; the signed mean is 0.
  const HeldOut out = held_out_statistics({-0.1, 0.2, 0.3, -0.4});
  EXPECT_DOUBLE_EQ(out.median, 0.2);
  EXPECT_DOUBLE_EQ(out.p90, 0.4);
  EXPECT_NEAR(out.signed_mean, 0, 1e-12);
  EXPECT_EQ(out.rows, 4);
  EXPECT_EQ(held_out_statistics({}).rows, 0);
}

}  // namespace
}  // namespace foretoken::calibrate
