// How long each communication of a plan takes each group of ranks that carries it out.
#pragma once

#include <string>
#include <vector>

#include "core/ids.hpp"
#include "core/trace.hpp"
#include "core/units.hpp"
#include "plan/plan.hpp"

namespace foretoken::collective {

/// One kind of communication of one group: of `all_reduce, ring, 16384 bytes, tp of 8` all layers and micro-batches
/// together.
struct GroupTime {
  std::string what;
  std::vector<RankId> ranks;  // ascending; of a transfer sender and receiver
  Seconds time{};             // median over executions: from when the last rank was there until the last was through
};

/// @param plan   whose trace it is, with every op's times: of a run or of a simulation
/// @return by what, then by ranks; counted steps alone
std::vector<GroupTime> group_times(const plan::Plan& plan, const Trace& trace);

}  // namespace foretoken::collective
