// Timing the compute ops of one rank, as the runtime runs them but without messages.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "calibrate/fit/host_samples.hpp"
#include "core/calibration_host.hpp"
#include "plan/plan.hpp"

namespace foretoken::calibrate {

/// A rank whose compute ops are timed.
struct ComputeProbe {
  std::string name;
  plan::Plan plan;
  RankId rank;
};

struct ComputeProbeOptions {
  std::int64_t cores = 1;
  Seconds time{};    ///< for both loads together at most, without drawing the weights; see stopping.hpp
  Seconds limit{};   ///< that three repetitions may take where `time` is too short for them
  Seconds budget{};  ///< of the whole measurement: what the user can raise if `time` is too short
};

/// Runs the rank's compute ops in program order, step after step, on one thread (alone) and then, each thread with
/// tensors of its own, on all cores at once (crowded). So operands are as warm or cold as in a real step. Nothing is
/// received: what messages would have brought is filled with numbers once.
///
/// @param caches  of this computer: says how far from the core an op's operands are
/// @return a sample per load, routed step and compute op: the median of at least three
/// @throws Error{unhealthy} if three take longer than the limit, naming the budget that is enough
/// @throws Error{infeasible} if the memory is not there for as many copies as there are cores
std::vector<HostSample> measure_compute(const ComputeProbe& probe, const HostCalibration& caches,
                                        const ComputeProbeOptions& options);

/// Roughly what a step of the probe takes on one core: to deal out the time that there is.
Seconds expected_step(const ComputeProbe& probe);

}  // namespace foretoken::calibrate
