// Regularised least squares on a lattice.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "core/lattice.hpp"

namespace foretoken::calibrate {

struct LatticeSample {
  std::array<double, Lattice::kAxesMax> x{};  ///< as many as the lattice has axes
  double y = 0;
};

/// The lattice values v that minimise
///
///   sum over samples (v(x) - y)^2 + smoothness x sum over axes and inner knots of h (d2v/dx2)^2 + 1e-4 sum v^2
///
/// with h the spacing of the knots there, so that the penalty is an integral and a finer grid is not punished harder.
/// The last term pulls knots that no sample reaches and no curvature fixes towards zero, the plain roofline.
///
/// @param samples at least one
/// @param smoothness > 0
/// Solved by sparse Cholesky: the same samples in the same order give the same bits on one machine.
Lattice fit_lattice(std::vector<LatticeAxis> axes, std::span<const LatticeSample> samples, double smoothness);

}  // namespace foretoken::calibrate
