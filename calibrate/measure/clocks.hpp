// The two clocks of a measurement, what reading them takes, and how fast the cores are clocked.
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

/// Mean over the computer's cores of the clock rate that the system tells, in MHz; 0 where it tells none.
double core_clock_mhz();

}  // namespace foretoken::calibrate
