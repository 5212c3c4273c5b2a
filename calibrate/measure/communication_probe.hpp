// Timing the messages of a plan, as the runtime carries them but with no computing in between.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "calibrate/fit/host_samples.hpp"
#include "plan/plan.hpp"
#include "runtime/run.hpp"

namespace foretoken::calibrate {

/// Runs a plan: threads of this process, or this process's rank under MPI, which has a result at rank 0 alone.
using RunPlan = std::function<std::optional<runtime::RunResult>(const plan::Plan&)>;

/// What a rank's communication op is made of, in one routed step.
HostTerms communication_amounts(const plan::Plan& plan, RankId rank, const plan::Op& op, std::int64_t routed_step);

/// Runs communications_only(plan, steps).
///
/// @return where the run has a result: a sample per communication and routed step, of CPU time per rank. Its mean over
///         ranks and steps, because of the two ends of a message one copies it, now this and now that; the longest
///         2 % are left out
std::vector<HostSample> measure_communication(const std::string& name, const plan::Plan& plan, std::int64_t steps,
                                              HostLoad load, const RunPlan& run);

/// Steps that take about `time`, by what messages usually take: all processes of a launch must come to the same number.
/// A multiple of the routed steps, at least three of each.
std::int64_t communication_steps(const plan::Plan& plan, Seconds time);

}  // namespace foretoken::calibrate
