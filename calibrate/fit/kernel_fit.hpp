// What the fits of all kernels share: axes cut to the measured range, the kernel floor, held-out groups.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "calibrate/fit/coverage.hpp"
#include "calibrate/fit/held_out.hpp"
#include "core/error.hpp"
#include "core/lattice.hpp"
#include "core/units.hpp"
#include "sim/cost/estimate.hpp"

namespace foretoken::calibrate {

/// `knots` inside (low, high), with low and high added as the ends.
/// @throws Error{invalid_input} if low = high: one value does not make an axis
LatticeAxis axis_within(std::string name, std::span<const double> knots, double low, double high);

/// The shortest kernel of a sweep: the first percentile of its times, so that one lucky sample does not set it.
/// @param times at least one
Seconds kernel_floor(std::vector<double> times);

/// Nearest rank from below: quantile_of(values, 0.5) is the median. @param values at least one @param q in [0, 1]
double quantile_of(std::vector<double> values, double q);

/// A fit, and its errors on rows that a fit to the other folds did not see.
template <class Fit>
struct JudgedFit {
  Fit fit;
  HeldOutErrors held_out;
};

struct CrossValidation {
  HeldOut statistics;
  HeldOutErrors errors;
};

/// Fits on all folds but one, predicts that one, for every fold.
///
/// @param fit     samples -> a model; called once per fold with the samples that it may see
/// @param predict model, sample -> seconds
template <class Sample, class Fit, class Predict>
CrossValidation cross_validate(std::span<const Sample> samples, std::span<const std::int64_t> groups,
                               const FoldOptions& options, const Fit& fit, const Predict& predict) {
  const std::vector<std::int64_t> fold_of = deal_folds(groups, options);
  std::int64_t folds = 0, group_count = 0;
  for (const std::int64_t fold : fold_of) folds = std::max(folds, fold + 1);
  for (const std::int64_t group : groups) group_count = std::max(group_count, group + 1);
  if (folds < 2)
    throw input_error("", "", "all samples belong to one group",
                      "a fit is judged on groups that it did not see: two are needed");
  CrossValidation out;
  for (std::int64_t fold = 0; fold < folds; ++fold) {
    std::vector<Sample> seen;
    for (std::size_t i = 0; i < samples.size(); ++i)
      if (fold_of[i] != fold) seen.push_back(samples[i]);
    const auto model = fit(std::span<const Sample>(seen));
    for (std::size_t i = 0; i < samples.size(); ++i)
      if (fold_of[i] == fold) out.errors.add(ratio(predict(model, samples[i]), samples[i].time) - 1, fold);
  }
  out.statistics = held_out_statistics(out.errors.errors);
  out.statistics.groups = group_count;
  out.statistics.folds = folds;
  out.statistics.seed = options.seed;
  return out;
}

}  // namespace foretoken::calibrate
