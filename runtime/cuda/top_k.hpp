// Selection of the largest scores of a row, with ties broken by index: what the router's kernel does per lane.
//
// All scores have one total order, so the k-th best is simply the first after the (k-1)-th: lanes need to remember
// nothing but the last one taken, and any number of lanes in any order comes to the same experts.
#pragma once

#include <cstdint>

#include "runtime/cuda/host_device.hpp"

namespace foretoken::runtime::cuda {

struct Scored {
  float value = 0;
  std::int32_t index = -1;  // -1: none
};

/// Whether a comes before b: larger values first, then smaller indices. A score that is no number comes after all that
/// are; none comes last.
FORETOKEN_HOST_DEVICE inline bool before(Scored a, Scored b) {
  if (a.index < 0 || b.index < 0) return a.index >= 0 && b.index < 0;
  const bool a_is_number = a.value == a.value;
  const bool b_is_number = b.value == b.value;
  if (a_is_number != b_is_number) return a_is_number;
  if (a_is_number && a.value != b.value) return a.value > b.value;
  return a.index < b.index;
}

FORETOKEN_HOST_DEVICE inline Scored first_of(Scored a, Scored b) { return before(b, a) ? b : a; }

/// Of the scores that lane `lane` of `lanes` looks at (lane, lane + lanes, …), the first that comes after `last`.
/// @param last  none: the first of all
FORETOKEN_HOST_DEVICE inline Scored best_after(const float* scores, std::int32_t count, std::int32_t lane,
                                               std::int32_t lanes, Scored last) {
  Scored best;
  for (std::int32_t i = lane; i < count; i += lanes) {
    const Scored candidate{scores[i], i};
    if (last.index < 0 || before(last, candidate)) best = first_of(best, candidate);
  }
  return best;
}

}  // namespace foretoken::runtime::cuda
