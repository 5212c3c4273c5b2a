// The two clocks of a measurement, and what reading them takes.
#pragma once

#include <cstdint>

#include "core/units.hpp"

namespace foretoken::calibrate {

/// One reading, in nanoseconds; differences alone mean something.
struct ClockReading {
  std::int64_t cpu = 0;   ///< time that this thread has run
  std::int64_t wall = 0;  ///< steady
};

ClockReading read_clocks();

/// CPU time between two readings with nothing in between: the median of many. Differences are too long by it.
Seconds reading_cost();

}  // namespace foretoken::calibrate
