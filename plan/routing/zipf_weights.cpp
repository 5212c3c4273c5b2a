#include "plan/routing/zipf_weights.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"

namespace foretoken::plan {
namespace {

constexpr double kLn2 = 0.693147180559945309417;
constexpr int kWeightBits = 50;

// ln(x) for x >= 1. With x = m 2^e and m in [2/3, 4/3): ln m = 2 (z + z^3/3 + z^5/5 + ...), z = (m-1)/(m+1), |z| <=
// 1/5, so that the 13th term is below 2^-57.
double logarithm(double x) {
  int exponent = 0;
  double mantissa = std::frexp(x, &exponent);  // exact, in [1/2, 1)
  if (mantissa < 2.0 / 3.0) {
    mantissa *= 2;
    --exponent;
  }
  const double z = (mantissa - 1) / (mantissa + 1);
  const double square = z * z;
  double sum = 0;
  for (int power = 25; power >= 1; power -= 2) sum = sum * square + 1.0 / power;
  return exponent * kLn2 + 2 * z * sum;
}

// exp(-y) for y >= 0: exp(-y) = 2^-n exp(n ln 2 - y) with a remainder in [-ln 2, ln 2] / 2, whose 17th term is below
// 2^-68.
double exponential_of_minus(double y) {
  if (y > 700) return 0;
  const double n = std::floor(y / kLn2 + 0.5);
  const double remainder = n * kLn2 - y;
  double sum = 1;
  for (int term = 17; term >= 1; --term) sum = 1 + sum * remainder / term;
  return std::ldexp(sum, -static_cast<int>(n));
}

}  // namespace

std::vector<std::uint64_t> zipf_thresholds(std::int64_t count, double exponent) {
  FORETOKEN_CHECK(count >= 1 && count <= 4096, "Zipf weights for a number of experts outside 1..4096");
  FORETOKEN_CHECK(exponent >= 0 && exponent <= 64, "a Zipf exponent outside 0..64");
  std::vector<std::uint64_t> thresholds(static_cast<std::size_t>(count));
  std::uint64_t total = 0;
  for (std::size_t rank = 0; rank < thresholds.size(); ++rank) {
    const double weight = exponential_of_minus(exponent * logarithm(static_cast<double>(rank + 1)));
    const auto scaled = static_cast<std::uint64_t>(std::floor(std::ldexp(weight, kWeightBits) + 0.5));
    total += std::max<std::uint64_t>(1, scaled);
    thresholds[rank] = total;
  }
  return thresholds;
}

}  // namespace foretoken::plan
