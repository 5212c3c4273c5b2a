// The oracle of the network's solvers: max-min shares and completion times, written from their definition. Plain loops
// over everything in long double, event by event; nothing is kept from one event to the next.
#pragma once

#include <span>
#include <vector>

#include "sim/network/flow_set.hpp"

namespace foretoken::sim {

inline std::span<const ResourceUse> uses_of(const FlowSet& set, std::size_t flow) {
  const TimedFlow& f = set.flows[flow];
  return std::span(set.uses).subspan(static_cast<std::size_t>(f.uses_begin),
                                     static_cast<std::size_t>(f.uses_end - f.uses_begin));
}

/// Shares of the active flows by progressive filling (sim/network/max_min.hpp states it); 0 for the others.
/// Cost: rounds x uses, where a round freezes one flow at least.
std::vector<long double> shares_by_definition(const FlowSet& set, const std::vector<char>& active);

/// When each flow ends. Flows that end together are ended one by one. Requires that every flow ends.
std::vector<double> completions_by_definition(const FlowSet& set);

}  // namespace foretoken::sim
