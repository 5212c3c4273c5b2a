// What the time on a critical path was bound by: the datasheet's limits, and what is lost to them.
#pragma once

#include <vector>

#include "plan/machine/machine.hpp"
#include "plan/plan.hpp"
#include "tools/explain/critical_path.hpp"

namespace foretoken::explain {

/// Shares of a simulated path on GPUs, which add up to the window exactly; largest first, then by name:
///
///   memory bandwidth   of a compute op whose traffic takes longer at the datasheet's rate than its FLOPs do: that time
///   peak FLOP/s        of the others: what their FLOPs take at the datasheet's peak
///   kernels            what compute ops take beyond that: launch floors, and rates that kernels do not reach
///   in the node        of communication whose path (last message, or the whole group) stays on one node
///   across nodes       of the others
///   gaps               nothing of the plan
///
/// An op without a datasheet peak for its dtype counts as bound by memory. An op that runs faster than the datasheet
/// allows, because its operands were still in L2, has all of its time under the limit, and nothing under `kernels`.
/// @param trace  a simulation of this plan; step s uses routed step s mod routed_steps
/// Precondition: the machine is no host.
/// Example: a GEMM that reads 3.35 GB on an H100 (3.35 TB/s) in 1.4 ms: 1 ms memory bandwidth, 0.4 ms kernels.
std::vector<PathShare> bounds_of(const CriticalPath& path, const Trace& trace, const plan::Plan& plan,
                                 const plan::Machine& machine);

}  // namespace foretoken::explain
