#include "calibrate/measure/stopping.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace foretoken::calibrate {
namespace {

constexpr std::size_t kValuesMin = 8;
constexpr double kNormal90 = 1.645;
constexpr double kNarrow = 0.01;
constexpr double kResolution = 300;  // nanoseconds

}  // namespace

double median_half_width(std::span<const std::int64_t> values) {
  if (values.size() < kValuesMin) return std::numeric_limits<double>::infinity();
  std::vector<std::int64_t> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const auto n = static_cast<double>(sorted.size());
  const double reach = kNormal90 * std::sqrt(n) / 2;
  const auto low = static_cast<std::size_t>(std::floor(n / 2 - reach));
  const auto high = std::min(sorted.size() - 1, static_cast<std::size_t>(std::ceil(n / 2 + reach)));
  return static_cast<double>(sorted[high] - sorted[low]) / 2;
}

bool often_enough(std::span<const std::int64_t> nanoseconds) {
  if (nanoseconds.size() < kValuesMin) return false;
  std::vector<std::int64_t> values(nanoseconds.begin(), nanoseconds.end());
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return median_half_width(nanoseconds) <= kNarrow * (static_cast<double>(*middle) + kResolution);
}

}  // namespace foretoken::calibrate
