#include "calibrate/fit/held_out.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "core/error.hpp"

namespace foretoken::calibrate {

std::vector<std::int64_t> deal_folds(std::span<const std::int64_t> groups, const FoldOptions& options) {
  FORETOKEN_CHECK(!groups.empty() && options.folds >= 2, "folds are dealt to samples, two at least");
  const auto count = static_cast<std::size_t>(*std::max_element(groups.begin(), groups.end()) + 1);
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  // Fisher-Yates by hand: std::shuffle and the distributions may differ between standard libraries.
  std::mt19937_64 random(static_cast<std::uint64_t>(options.seed));
  for (std::size_t i = count; i > 1; --i) std::swap(order[i - 1], order[random() % i]);
  const auto folds = std::min<std::size_t>(static_cast<std::size_t>(options.folds), count);
  std::vector<std::int64_t> fold_of_group(count);
  for (std::size_t i = 0; i < count; ++i) fold_of_group[order[i]] = static_cast<std::int64_t>(i % folds);
  std::vector<std::int64_t> folds_of_samples;
  folds_of_samples.reserve(groups.size());
  for (const std::int64_t group : groups) folds_of_samples.push_back(fold_of_group[static_cast<std::size_t>(group)]);
  return folds_of_samples;
}

HeldOut held_out_statistics(std::vector<double> relative_errors) {
  HeldOut out;
  out.rows = static_cast<std::int64_t>(relative_errors.size());
  if (relative_errors.empty()) return out;
  out.signed_mean =
      std::accumulate(relative_errors.begin(), relative_errors.end(), 0.0) / static_cast<double>(out.rows);
  for (double& error : relative_errors) error = std::abs(error);
  std::sort(relative_errors.begin(), relative_errors.end());
  const auto quantile = [&](double q) {
    const auto rank = static_cast<std::size_t>(std::ceil(q * static_cast<double>(out.rows)));
    return relative_errors[std::max<std::size_t>(rank, 1) - 1];
  };
  out.median = quantile(0.5);
  out.p90 = quantile(0.9);
  return out;
}

}  // namespace foretoken::calibrate
