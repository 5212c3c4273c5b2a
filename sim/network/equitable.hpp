// Whether flows and resources that are said to be alike are.
#pragma once

#include "sim/network/symmetry.hpp"

namespace foretoken::sim {

/// Whether a partition has what sim/network/symmetry.hpp says of classes: it is *equitable*.
///
/// Exact; it compares and counts, all flows with the first of their class and all resources with the first of theirs.
/// Cost: flows + uses + resources.
bool is_equitable(const FlowSet& set, const FlowPartition& partition);

}  // namespace foretoken::sim
