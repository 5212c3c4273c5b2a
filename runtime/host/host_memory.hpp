// Whether this machine can hold the tensors of the ranks that would run on it.
#pragma once

#include <span>

#include "plan/plan.hpp"

namespace foretoken::runtime::host {

/// Compares what the ranks' tensors need at least with what the system says is available. The host keeps one buffer per
/// tensor, so this is more than plan/memory.hpp counts; rows that routing decides are left out.
///
/// @throws Error{infeasible} if it is not there: better than to be killed half-way
void check_host_memory(const plan::Plan& plan, std::span<const RankId> ranks_here);

}  // namespace foretoken::runtime::host
