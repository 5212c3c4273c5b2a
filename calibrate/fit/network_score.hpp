// How well the fitted network predicts, family by family: fitted to one half of the published rows, scored on the
// other.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "calibrate/fit/network_measurements.hpp"
#include "core/calibration_network.hpp"

namespace foretoken::calibrate {

/// Median of |predicted / measured - 1| over rows that the fit did not see.
struct NetworkScore {
  std::string family;
  std::string scored_on;
  double small_median = 0;  // below 1 MiB
  std::int64_t small_rows = 0;
  double large_median = 0;  // from 1 MiB on
  std::int64_t large_rows = 0;
};

/// Fits, from `links` on, to
///   nccl-tests:  sizes that are odd powers of two
///   DeepEP:      in one node every other (hidden, top-k, experts) in ascending order, on two every other row
/// and scores the rest, each collective by the algorithm that NCCL takes for it. Size of an exchange: what one rank
/// sends, its own share included. Other machines' rows are all scored, and fitted to nothing.
std::vector<NetworkScore> score_network(const NetworkMeasurements& all, const NetworkCalibration& links);

}  // namespace foretoken::calibrate
