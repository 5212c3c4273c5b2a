// What planning keeps of one simulation: small, so that thousands of them can be held side by side.
#pragma once

#include <cstdint>
#include <vector>

#include "core/metrics.hpp"
#include "core/units.hpp"

namespace foretoken::planning {

struct Sample {
  Metrics metrics;
  std::int64_t ranks = 0;
  Seconds exposed;  // communication on the slowest rank per step: while nothing computes
  Seconds hidden;   // while something does
  /// [row of ModelErrors] share of the critical path; empty if nobody asked for intervals.
  std::vector<double> path_shares;
};

}  // namespace foretoken::planning
