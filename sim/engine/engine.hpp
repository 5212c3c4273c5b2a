// The discrete-event engine: unrolls a Program over ranks and steps and finds when every op is posted, begins and ends.
//
// A rank's streams take up their ops in order. An op is posted when its stream has reached it and what it depends on
// has ended (steps before the first count as ended), and, where launching is modelled, the host has launched it. A
// compute op begins at once and lasts its duration, or longer where it shares its core, or its GPU with communication
// (sim/engine/kernel_sharing.hpp); a communication op is the Communicator's from there on. A stream goes on when its op
// has ended: these are the rules of CUDA streams and events.
//
// Time is integer picoseconds. At one instant: first what the network finishes, then events in the order (kind, rank,
// op, step), faults last of them, then streams, in order of rank and stream; what that posts may end at the same
// instant, and so on until nothing more happens. Blocks of an arrival set are therefore compared when everything that
// arrives at an instant has arrived.
//
// Steps that recur are copied (sim/engine/steady_state.hpp).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "core/trace.hpp"
#include "plan/program/program.hpp"
#include "sim/communication/communicator.hpp"
#include "sim/communication/transport.hpp"
#include "sim/cost/estimate.hpp"
#include "sim/engine/kernel_sharing.hpp"
#include "sim/engine/launches.hpp"

namespace foretoken::sim {

/// Duration of a compute op, when nothing is shared. Asked at most once per execution.
using DurationOf = std::function<Estimate(RankId, OpId, std::int64_t routed_step)>;

struct EngineInput {
  const plan::Program& program;
  const Transport& transport;
  DurationOf duration;
  RowsOf rows;
  std::int64_t warmup_steps = 0;
  std::int64_t steps = 1;         // counted, after the warm-up
  std::int64_t routed_steps = 1;  // step s uses routed step s mod routed_steps
  // Of GPUs. Null: kernels that compute take their duration, whatever communicates beside them.
  const KernelInterference* interference = nullptr;
  // Of GPUs. Nothing: whatever is ready is launched, and at once.
  std::optional<LaunchModel> launches = std::nullopt;
  FaultTimeline* faults = nullptr;  // whose effects on durations are `duration`'s to know; null: none
  double accuracy = 0;              // of sharing, as FlowNetwork's; 0: exact
  std::size_t link_samples = 0;     // at how many instants, about, the trace says what links carried; 0: at none
  bool every_step = false;          // simulates also steps that are known to recur: slower, and the same trace
};

/// Everything of the trace but its outputs. Events are ordered by (rank, step, op). Same input, same trace.
/// @throws Error{rank_failed} naming what is dead, time, op and step if faults leave two ranks no way to one another
/// Fails a check, naming rank, op and step, if the program waits for itself for ever.
Trace run_engine(const EngineInput& input);

}  // namespace foretoken::sim
