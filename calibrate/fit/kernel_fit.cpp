#include "calibrate/fit/kernel_fit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace foretoken::calibrate {

LatticeAxis axis_within(std::string name, std::span<const double> knots, double low, double high) {
  if (!(low < high))
    throw input_error("", "", fmt::format("all samples have {} = {}", name, low),
                      "a fit needs at least two values of it");
  LatticeAxis axis{std::move(name), {low}};
  for (const double knot : knots)
    if (knot > low && knot < high) axis.knots.push_back(knot);
  axis.knots.push_back(high);
  return axis;
}

Seconds kernel_floor(std::vector<double> times) { return Seconds(quantile_of(std::move(times), 0.01)); }

double quantile_of(std::vector<double> values, double q) {
  FORETOKEN_CHECK(!values.empty() && q >= 0 && q <= 1, "a quantile is taken of something");
  const auto rank = static_cast<std::ptrdiff_t>(q * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + rank, values.end());
  return values[static_cast<std::size_t>(rank)];
}

}  // namespace foretoken::calibrate
