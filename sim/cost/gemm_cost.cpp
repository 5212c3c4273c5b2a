#include "sim/cost/gemm_cost.hpp"

#include <algorithm>
#include <cmath>
#include <span>

#include "core/error.hpp"

namespace foretoken::sim {

namespace {

// Padding reaches this many knots up, which are doublings between 16 and 4096 rows; beyond, it never pays.
constexpr int kPaddings = 3;

}  // namespace

std::array<double, 3> gemm_coordinates(const GemmShape& shape) {
  return {std::log2(static_cast<double>(shape.m)), std::log2(static_cast<double>(shape.n)),
          std::log2(static_cast<double>(shape.k))};
}

GemmCost::GemmCost(const GemmFit& fit, MachineRates rates, std::int64_t element_bytes)
    : floor_(fit.floor),
      error_p90_(fit.held_out.known_p90()),
      log_slowdown_(fit.log_slowdown),
      corner_sum_max_(fit.corner_sum_max),
      rates_(rates),
      element_bytes_(element_bytes) {}

Estimate GemmCost::operator()(std::int64_t m, std::int64_t n, std::int64_t k, double weight_bytes) const {
  FORETOKEN_CHECK(m >= 0 && n >= 0 && k >= 0, "a GEMM has no negative dimension");
  if (m == 0 || n == 0 || k == 0) return {Seconds(0), Provenance::measured};
  const GemmShape shape{m, n, k, element_bytes_, weight_bytes};
  const std::array<double, 3> x = gemm_coordinates(shape);
  const auto raw = [&](const GemmShape& asked, std::span<const double> at) {
    return (floor_ + gemm_roofline(asked, rates_)) * std::exp(log_slowdown_.at(at));
  };
  Seconds fitted = raw(shape, x);
  // Fewer rows can always be padded to more: where a sweep ran more rows faster, that is the time of both.
  int padded = 0;
  for (const double knot : log_slowdown_.axes[0].knots) {
    if (knot <= x[0]) continue;
    if (++padded > kPaddings) break;
    const GemmShape wider{std::llround(std::exp2(knot)), n, k, element_bytes_, weight_bytes};
    fitted = std::min(fitted, raw(wider, std::array<double, 3>{knot, x[1], x[2]}));
  }
  // log2 of an exact power of two is exact, so shapes on the edge of the measured range count as inside.
  const bool inside = log_slowdown_.contains(x) && x[1] + x[2] <= corner_sum_max_;
  Estimate result{std::max(fitted, gemm_lower_bound(shape, rates_)),
                  inside ? Provenance::interpolated : Provenance::extrapolated};
  if (weight_bytes > 0) result.provenance = Provenance::assumed;
  else if (inside) result.error_p90 = error_p90_;
  return result;
}

}  // namespace foretoken::sim
