#include "sim/cost/gemm_cost.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"

namespace foretoken::sim {

std::array<double, 3> gemm_coordinates(const GemmShape& shape) {
  return {std::log2(static_cast<double>(shape.m)), std::log2(static_cast<double>(shape.n)),
          std::log2(static_cast<double>(shape.k))};
}

GemmCost::GemmCost(const GemmFit& fit, MachineRates rates, std::int64_t element_bytes)
    : floor_(fit.floor),
      log_slowdown_(fit.log_slowdown),
      corner_sum_max_(fit.corner_sum_max),
      rates_(rates),
      element_bytes_(element_bytes) {}

Estimate GemmCost::operator()(std::int64_t m, std::int64_t n, std::int64_t k) const {
  FORETOKEN_CHECK(m >= 0 && n >= 0 && k >= 0, "a GEMM has no negative dimension");
  if (m == 0 || n == 0 || k == 0) return {Seconds(0), Provenance::measured};
  const GemmShape shape{m, n, k, element_bytes_};
  const std::array<double, 3> x = gemm_coordinates(shape);
  const Seconds fitted = (floor_ + gemm_roofline(shape, rates_)) * std::exp(log_slowdown_.at(x));
  // log2 of an exact power of two is exact, so shapes on the edge of the measured range count as inside.
  const bool inside = log_slowdown_.contains(x) && x[1] + x[2] <= corner_sum_max_;
  return {std::max(fitted, gemm_lower_bound(shape, rates_)), inside ? Provenance::interpolated : Provenance::extrapolated};
}

}  // namespace foretoken::sim
