// Dense GEMM: (kernel floor + roofline of the shape) x fitted slowdown.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "core/calibration_compute.hpp"
#include "sim/cost/estimate.hpp"
#include "sim/cost/roofline.hpp"

namespace foretoken::sim {

/// The place of a shape in a GemmFit's lattice.
std::array<double, 3> gemm_coordinates(const GemmShape& shape);

class GemmCost {
 public:
  /// @param element_bytes of the operands, 1 to 4
  GemmCost(const GemmFit& fit, MachineRates rates, std::int64_t element_bytes);

  /// time(m) = max(lower bound, least raw(m') over m' = m and the next measured row counts above it)
  /// raw(m)  = (floor + roofline) x exp(log_slowdown); see gemm_roofline
  ///
  /// The least is over padded rows, so that more rows are hardly ever faster (by 8 % at most in the shipped bf16 fits).
  /// @param m,n,k >= 0; a zero does no work and takes no time
  /// Outside the measured range the slowdown of its edge is kept and the result is `extrapolated`.
  /// Example: an H100 reads the 537 MB of a 32768 x 8192 bf16 weight in 0.160 ms at its peak; 64 rows take 0.18 ms.
  /// @param weight_bytes of a weight in memory, where it is stored narrower than it is multiplied; 0: as an operand.
  ///        Unpacking is taken to be hidden behind the loads, which was not measured: at best `assumed`
  [[nodiscard]] Estimate operator()(std::int64_t m, std::int64_t n, std::int64_t k, double weight_bytes = 0) const;

 private:
  Seconds floor_;
  std::optional<double> error_p90_;
  Lattice log_slowdown_;
  double corner_sum_max_;
  MachineRates rates_;
  std::int64_t element_bytes_;
};

}  // namespace foretoken::sim
