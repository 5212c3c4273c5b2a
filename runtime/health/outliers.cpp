#include "runtime/health/outliers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.hpp"

namespace foretoken::runtime {
namespace {

constexpr double kDeviationOfMad = 1.4826;  // of a normal distribution: 1 / its third quartile

double middle(std::vector<double> values) {
  const auto at = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

}  // namespace

Peers peers_of(std::span<const double> costs, const OutlierRule& rule) {
  FORETOKEN_CHECK(!costs.empty(), "costs of nothing");
  Peers peers;
  peers.typical = middle({costs.begin(), costs.end()});
  std::vector<double> distances;
  for (const double cost : costs) distances.push_back(std::abs(cost - peers.typical));
  peers.deviation = kDeviationOfMad * middle(std::move(distances));
  peers.limit = std::max(peers.typical * (1 + rule.tolerance), peers.typical + rule.deviations * peers.deviation);
  return peers;
}

std::vector<std::size_t> outliers(std::span<const double> costs, const OutlierRule& rule) {
  std::vector<std::size_t> found;
  if (costs.size() < 2) return found;
  const double limit = peers_of(costs, rule).limit;
  for (std::size_t i = 0; i < costs.size(); ++i)
    if (costs[i] > limit) found.push_back(i);
  return found;
}

std::string text_of(const OutlierRule& rule) {
  return fmt::format(
      "takes over {:.0f} % longer than the median of its peers, and longer by {:g} robust standard deviations "
      "(1.4826 x MAD); of an even number the better of the two middle ones is the median",
      100 * rule.tolerance, rule.deviations);
}

}  // namespace foretoken::runtime
