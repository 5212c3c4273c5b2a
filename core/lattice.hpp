// A smooth function on a coarse grid: values at knots, multilinear in between, constant outside.
//
// Calibrations store log(measured time / roofline time) in this form. A value outside the grid is the value at its
// edge: an efficiency is carried over to larger shapes, never extended along a slope.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace foretoken {

struct LatticeAxis {
  std::string name;           ///< what the coordinate is, for example "log2_m"
  std::vector<double> knots;  ///< strictly increasing, at least two
};

/// One grid point that takes part in an interpolation.
struct LatticeCorner {
  std::size_t index = 0;  ///< into Lattice::values
  double weight = 0;      ///< >= 0; the weights of all corners add up to 1
};

struct Lattice {
  static constexpr std::size_t kAxesMax = 3;
  static constexpr std::size_t kCornersMax = 8;

  std::vector<LatticeAxis> axes;  ///< one to kAxesMax
  std::vector<double> values;     ///< row-major: the last axis varies fastest

  /// Grid points around x after clamping it into the grid; returns how many of `corners` are filled (2 per axis).
  /// @param x one coordinate per axis
  [[nodiscard]] std::size_t corners(std::span<const double> x, std::array<LatticeCorner, kCornersMax>& corners) const;

  /// The interpolated value at x.
  [[nodiscard]] double at(std::span<const double> x) const;

  /// Whether x lies inside the grid, edges included.
  [[nodiscard]] bool contains(std::span<const double> x) const;

  /// Number of values that the axes ask for.
  [[nodiscard]] std::size_t size() const;
};

}  // namespace foretoken
