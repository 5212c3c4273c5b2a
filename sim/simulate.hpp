// The simulator: Plan x Machine x Calibration -> Trace. Start reading here.
//
// Puts together what the folders below provide: durations of compute ops (sim/op_duration.hpp, sim/cost), communication
// over the machine's links (sim/communication, sim/network), and the engine that runs both in simulated time
// (sim/engine).
#pragma once

#include <cstdint>
#include <string>

#include "core/calibration.hpp"
#include "core/trace.hpp"
#include "plan/machine/machine.hpp"
#include "plan/plan.hpp"
#include "sim/network/sharing_time.hpp"
#include "sim/time_factor.hpp"

namespace foretoken::sim {

struct SimulateOptions {
  std::string framework;     // of a GPU: whose compute kernels; empty for the calibration's default
  std::string communicator;  // of a host: who carries messages, "threads" or "mpi"; empty for the calibration's first
  /// Of GPUs: whether communication takes SMs and memory bandwidth from what computes beside it. Without, compute ops
  /// take what they take alone, to see what the interference costs.
  bool interference = true;
  /// Most op executions (ops x ranks x steps) that may be simulated: 40 bytes of trace each.
  std::int64_t executions_max = 50'000'000;
  /// Most expert draws (tokens x top_k x layers x routed steps): about 60 ns each.
  double draws_max = 5e8;
  /// Longest that sharing links among the messages of expert exchanges may take, by a rough estimate.
  double exchange_seconds_max = kSharingSecondsMax;
  /// 0: what shares links is shared exactly; else as FlowNetwork's, for exchanges of many thousand messages.
  double accuracy = 0;
  /// At how many instants, about, Trace::links says what links of GPUs have carried; 0: at none, and there is no
  /// `links`.
  std::size_t link_samples = 0;
  /// Simulates also steps that are known to recur, rather than copying them: slower, and the same trace.
  bool every_step = false;
  /// Ops take so many times what they are predicted to take; empty: what is predicted.
  TimeFactor time_factor;
};

/// Simulates scenario.measure's warm-up and counted steps. Same arguments, same trace, to the bit.
///
/// An output is a (replica, micro-batch)'s tokens of a step: out when the step_end of the last of its ranks in the last
/// stage has ended; batch = replica x micro_batches + micro_batch.
///
/// @throws Error{invalid_input} if the calibration was made for another device than the machine's, if the plan has more
///         ranks than the machine has GPUs, if there would be more op executions than executions_max, or if the
///         calibration cannot say how long an op takes
Trace simulate(const plan::Plan& plan, const plan::Machine& machine, const Calibration& calibration,
               const SimulateOptions& options = {});

}  // namespace foretoken::sim
