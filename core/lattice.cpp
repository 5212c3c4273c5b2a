#include "core/lattice.hpp"

#include "core/error.hpp"

namespace foretoken {

std::size_t Lattice::corners(std::span<const double> x, std::array<LatticeCorner, kCornersMax>& corners) const {
  FORETOKEN_CHECK(x.size() == axes.size() && !axes.empty() && axes.size() <= kAxesMax,
                  "a lattice is asked with one coordinate per axis");
  std::size_t count = 1;
  corners[0] = {0, 1.0};
  for (std::size_t d = 0; d < axes.size(); ++d) {
    const std::vector<double>& knots = axes[d].knots;
    // A dozen knots: walking is as fast as bisection, and plainer.
    std::size_t cell = 0;
    while (cell + 2 < knots.size() && x[d] >= knots[cell + 1]) ++cell;
    double fraction = (x[d] - knots[cell]) / (knots[cell + 1] - knots[cell]);
    if (!(fraction > 0)) fraction = 0;
    if (fraction > 1) fraction = 1;
    for (std::size_t c = 0; c < count; ++c) {
      const LatticeCorner low{corners[c].index * knots.size() + cell, corners[c].weight * (1 - fraction)};
      corners[c + count] = {low.index + 1, corners[c].weight * fraction};
      corners[c] = low;
    }
    count *= 2;
  }
  return count;
}

double Lattice::at(std::span<const double> x) const {
  std::array<LatticeCorner, kCornersMax> around;
  const std::size_t count = corners(x, around);
  double sum = 0;
  for (std::size_t c = 0; c < count; ++c) sum += around[c].weight * values[around[c].index];
  return sum;
}

bool Lattice::contains(std::span<const double> x) const {
  for (std::size_t d = 0; d < axes.size(); ++d)
    if (!(x[d] >= axes[d].knots.front() && x[d] <= axes[d].knots.back())) return false;
  return true;
}

std::size_t Lattice::size() const {
  std::size_t product = 1;
  for (const LatticeAxis& axis : axes) product *= axis.knots.size();
  return product;
}

}  // namespace foretoken
