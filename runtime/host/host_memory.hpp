// Whether this machine can hold the tensors of the ranks that would run on it.
#pragma once

#include <span>
#include <vector>

#include "plan/plan.hpp"

namespace foretoken::runtime::host {

/// Bytes of rows that each rank keeps on their way where a token is sent once per node: those that leave it, those that
/// come to it, for its experts or for others of its node, and those that it passes on. Schedules are made before the
/// run, and keep their rows to its end: so of all dispatches and combines and all routed steps together.
/// @return [rank]; zeros where tokens go to each of their experts by themselves
std::vector<double> rows_on_their_way_bytes(const plan::Plan& plan);

/// Compares what the ranks' tensors need at least with what the system says is available. The host keeps one buffer per
/// tensor, so this is more than plan/memory.hpp counts. Rows that routing decides are left out, but for those that are
/// on their way.
///
/// @throws Error{infeasible} if it is not there: better than to be killed half-way
void check_host_memory(const plan::Plan& plan, std::span<const RankId> ranks_here);

}  // namespace foretoken::runtime::host
