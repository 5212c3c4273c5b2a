// Judging a fit on groups that it did not see.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/calibration_compute.hpp"

namespace foretoken::calibrate {

struct FoldOptions {
  std::int64_t folds = 5;  ///< capped by the number of groups
  std::int64_t seed = 1;
};

/// Which fold each sample is held out in. Whole groups go together: samples of one (n, k) pair or head shape share
/// their kernel, and one of them would give the others away.
///
/// @param groups one group number per sample, from 0 without gaps
/// @return one fold per sample, in [0, folds); the groups are shuffled by the seed and dealt out in turn
std::vector<std::int64_t> deal_folds(std::span<const std::int64_t> groups, const FoldOptions& options);

/// Statistics of predicted / measured - 1; p90 is the nearest rank from above.
HeldOut held_out_statistics(std::vector<double> relative_errors);

}  // namespace foretoken::calibrate
