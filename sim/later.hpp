// Simulated time that moves on without ever wrapping around.
#pragma once

#include <limits>

#include "core/error.hpp"
#include "core/units.hpp"

namespace foretoken::sim {

/// `now` + `delay`. @throws Error{invalid_input} past the 106 days that picoseconds in 64 bits can count: some number
/// of the scenario, its topology or its calibration is absurd.
inline SimTime later(SimTime now, Seconds delay) {
  const SimTime step = to_sim_time(delay);
  if (step.value() >= std::numeric_limits<std::int64_t>::max() - now.value())
    throw Error(
        ErrorCode::invalid_input,
        "simulated time passes 106 days: a bandwidth, latency or size of the scenario or its topology is absurd");
  return now + step;
}

}  // namespace foretoken::sim
