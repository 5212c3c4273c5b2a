#include "calibrate/fit/lattice_fit.hpp"

#include <Eigen/SparseCholesky>
#include <Eigen/SparseCore>
#include <cmath>

#include "core/error.hpp"

namespace foretoken::calibrate {

namespace {

using Triplets = std::vector<Eigen::Triplet<double>>;

constexpr double kRidge = 1e-4;

int as_int(std::size_t value) { return static_cast<int>(value); }

// Adds weight x (row . v)^2 to the quadratic form, where row is given by its nonzero entries.
template <std::size_t N>
void add_square(Triplets& form, const std::array<LatticeCorner, N>& row, std::size_t count, double weight) {
  for (std::size_t a = 0; a < count; ++a)
    for (std::size_t b = 0; b < count; ++b)
      form.emplace_back(as_int(row[a].index), as_int(row[b].index), weight * row[a].weight * row[b].weight);
}

void add_curvature(Triplets& form, const Lattice& lattice, double smoothness) {
  std::size_t stride = lattice.size();
  for (const LatticeAxis& axis : lattice.axes) {
    const std::size_t length = axis.knots.size();
    stride /= length;
    for (std::size_t index = 0; index < lattice.size(); ++index) {
      const std::size_t i = index / stride % length;
      if (i == 0 || i + 1 == length) continue;
      // Second derivative on uneven knots: difference of the two slopes over the mean spacing; h x (...)^2 overall.
      const double before = axis.knots[i] - axis.knots[i - 1];
      const double after = axis.knots[i + 1] - axis.knots[i];
      const double spacing = (before + after) / 2;
      const std::array<LatticeCorner, 3> row{
          {{index - stride, 1 / before}, {index, -1 / before - 1 / after}, {index + stride, 1 / after}}};
      add_square(form, row, row.size(), smoothness / spacing);
    }
  }
}

}  // namespace

Lattice fit_lattice(std::vector<LatticeAxis> axes, std::span<const LatticeSample> samples, double smoothness) {
  FORETOKEN_CHECK(!samples.empty() && smoothness > 0, "a lattice is fitted to samples, with some smoothness");
  Lattice lattice;
  lattice.axes = std::move(axes);
  const std::size_t size = lattice.size();
  Triplets form;
  Eigen::VectorXd right = Eigen::VectorXd::Zero(as_int(size));
  for (const LatticeSample& sample : samples) {
    std::array<LatticeCorner, Lattice::kCornersMax> row;
    const std::size_t count = lattice.corners(std::span(sample.x).first(lattice.axes.size()), row);
    add_square(form, row, count, 1.0);
    for (std::size_t c = 0; c < count; ++c) right[as_int(row[c].index)] += row[c].weight * sample.y;
  }
  add_curvature(form, lattice, smoothness);
  for (std::size_t i = 0; i < size; ++i) form.emplace_back(as_int(i), as_int(i), kRidge);

  Eigen::SparseMatrix<double> normal(as_int(size), as_int(size));
  normal.setFromTriplets(form.begin(), form.end());
  const Eigen::SimplicialLDLT<Eigen::SparseMatrix<double>> solver(normal);
  FORETOKEN_CHECK(solver.info() == Eigen::Success, "the ridge makes the normal equations positive definite");
  const Eigen::VectorXd solution = solver.solve(right);
  lattice.values.resize(size);
  // Four decimals of a logarithm are 0.01 %: what is evaluated is exactly what the file will say.
  for (std::size_t i = 0; i < size; ++i) lattice.values[i] = std::round(solution[as_int(i)] * 1e4) / 1e4;
  return lattice;
}

}  // namespace foretoken::calibrate
