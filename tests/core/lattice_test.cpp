#include "core/lattice.hpp"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace foretoken {
namespace {

// v = 10 x + y at the knots, on uneven axes.
Lattice slanted() {
  Lattice lattice{{{"x", {0, 1, 4}}, {"y", {0, 2}}}, {}};
  for (const double x : lattice.axes[0].knots)
    for (const double y : lattice.axes[1].knots) lattice.values.push_back(10 * x + y);
  return lattice;
}

TEST(Lattice, IsExactForWhatIsLinearInEachCoordinate) {
  // 10 x + y is linear along both axes, so interpolation gives it back: at knots, on edges, inside.
  const Lattice lattice = slanted();
  EXPECT_DOUBLE_EQ(lattice.at(std::array{0.0, 0.0}), 0);
  EXPECT_DOUBLE_EQ(lattice.at(std::array{1.0, 2.0}), 12);
  EXPECT_DOUBLE_EQ(lattice.at(std::array{2.5, 0.5}), 25.5);
  EXPECT_DOUBLE_EQ(lattice.at(std::array{4.0, 2.0}), 42);
}

TEST(Lattice, IsConstantOutside) {
  // Clamped to (4, 0) and to (0, 2).
  const Lattice lattice = slanted();
  EXPECT_DOUBLE_EQ(lattice.at(std::array{1e30, -5.0}), 40);
  EXPECT_DOUBLE_EQ(lattice.at(std::array{-1.0, 99.0}), 2);
  EXPECT_TRUE(lattice.contains(std::array{4.0, 0.0}));
  EXPECT_FALSE(lattice.contains(std::array{4.0001, 0.0}));
  EXPECT_FALSE(lattice.contains(std::array{1.0, -0.1}));
}

TEST(Lattice, CornerWeightsAddUpToOne) {
  const Lattice lattice = slanted();
  for (const double x : {-1.0, 0.0, 0.3, 1.0, 3.9, 7.0}) {
    std::array<LatticeCorner, Lattice::kCornersMax> corners;
    const std::size_t count = lattice.corners(std::array{x, 1.7}, corners);
    ASSERT_EQ(count, 4U);
    double sum = 0;
    for (std::size_t c = 0; c < count; ++c) {
      ASSERT_LT(corners[c].index, lattice.size());
      sum += corners[c].weight;
    }
    EXPECT_DOUBLE_EQ(sum, 1);
  }
}

}  // namespace
}  // namespace foretoken
