// Who was late to meet the others, and how long that kept them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/trace.hpp"
#include "core/units.hpp"

namespace foretoken::explain {

/// Of all communication ops of one kind in the counted steps, of all ranks. When the op's sides were posted at p_1 ..
/// p_n, the last at P, it made the others wait for
///
///   sum over sides of (P - p_i)
///
/// whatever they did meanwhile: ops on other streams may have run, and messages of a dispatch between sides that were
/// there already may have gone.
struct StragglerWait {
  std::string kind;
  std::int64_t meetings = 0;
  std::int64_t sides = 0;       // that waited or could have: all but the last one of each meeting
  SimTime waited;               // sum
  SimTime longest;              // of one side
  std::int32_t late_rank = -1;  // the rank that made others wait longest in all; the lowest of several; -1: none did
  SimTime made_wait;            // by it

  [[nodiscard]] Seconds mean() const {
    return sides == 0 ? Seconds(0) : to_seconds(waited) / static_cast<double>(sides);
  }
};

/// Largest sum first, then by name; kinds that meet nobody are left out. A trace with some of its ranks alone gives
/// what they did to one another. Precondition: says_who_waits(trace).
std::vector<StragglerWait> straggler_waits(const Trace& trace);

}  // namespace foretoken::explain
