#include "calibrate/fit/gemm_fit.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "calibrate/fit/kernel_fit.hpp"
#include "calibrate/fit/lattice_fit.hpp"
#include "core/error.hpp"
#include "sim/cost/gemm_cost.hpp"

namespace foretoken::calibrate {

namespace {

// Every doubling of rows; of weights also their halves from 512 to 16384, where models' widths lie (1536 = 3/2 x 1024).
constexpr std::array<double, 13> kRowKnots{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13};
constexpr double kHalf = 0.5849625007211562;  // log2(3 / 2)
constexpr std::array<double, 14> kWeightKnots{6,  7,          8,  9,          9 + kHalf, 10,         10 + kHalf,
                                              11, 11 + kHalf, 12, 12 + kHalf, 13,        13 + kHalf, 14};
// Chosen with the knots on held-out groups of bf16, in other folds than those of the report: medians are flat between
// 0.01 and 0.03, and grow above.
constexpr double kGemmSmoothness = 0.03;

GemmFit fit_to(std::span<const GemmSample> samples, const sim::MachineRates& rates) {
  GemmFit fit;
  fit.framework = samples.front().framework;
  fit.dtype = samples.front().dtype;
  std::vector<double> times;
  for (const GemmSample& sample : samples) times.push_back(sample.time.value());
  fit.floor = kernel_floor(std::move(times));

  std::vector<LatticeSample> rows;
  constexpr double infinity = std::numeric_limits<double>::infinity();
  std::array<double, 3> low{infinity, infinity, infinity}, high{-infinity, -infinity, -infinity};
  fit.corner_sum_max = -infinity;
  for (const GemmSample& sample : samples) {
    const sim::GemmShape shape{sample.m, sample.n, sample.k, bytes_per_element(sample.dtype)};
    const std::array<double, 3> x = sim::gemm_coordinates(shape);
    for (std::size_t d = 0; d < x.size(); ++d) {
      low[d] = std::min(low[d], x[d]);
      high[d] = std::max(high[d], x[d]);
    }
    fit.corner_sum_max = std::max(fit.corner_sum_max, x[1] + x[2]);
    rows.push_back({x, std::log(ratio(sample.time, fit.floor + sim::gemm_roofline(shape, rates)))});
  }
  // A shape on the edge must not fall outside by the rounding of two logarithms in the file.
  fit.corner_sum_max = std::ceil(fit.corner_sum_max * 1e4) / 1e4;
  fit.log_slowdown = fit_lattice(
      {axis_within("log2_m", kRowKnots, low[0], high[0]), axis_within("log2_n", kWeightKnots, low[1], high[1]),
       axis_within("log2_k", kWeightKnots, low[2], high[2])},
      rows, kGemmSmoothness);
  return fit;
}

}  // namespace

JudgedFit<GemmFit> fit_gemm(std::span<const GemmSample> samples, const std::string& source,
                            const sim::MachineRates& rates, const FoldOptions& folds) {
  if (samples.empty()) throw input_error("", "", "there are no GEMM samples", "give a sweep over m, n and k");
  std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t> group_of;
  std::vector<std::int64_t> groups;
  for (const GemmSample& sample : samples)
    groups.push_back(
        group_of.try_emplace({sample.n, sample.k}, static_cast<std::int64_t>(group_of.size())).first->second);

  const std::int64_t element_bytes = bytes_per_element(samples.front().dtype);
  GemmFit fit = fit_to(samples, rates);
  fit.source = source;
  CrossValidation judged = cross_validate(
      samples, groups, folds,
      [&](std::span<const GemmSample> seen) { return sim::GemmCost(fit_to(seen, rates), rates, element_bytes); },
      [](const sim::GemmCost& cost, const GemmSample& sample) { return cost(sample.m, sample.n, sample.k).time; });
  fit.held_out = judged.statistics;
  return {std::move(fit), std::move(judged.errors)};
}

}  // namespace foretoken::calibrate
