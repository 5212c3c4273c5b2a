// The discrete-event engine: unrolls a Program over ranks and steps and finds when every op is posted, begins and ends.
//
// A rank's streams take up their ops in order. An op is posted when its stream has reached it and what it depends on
// has ended (steps before the first count as ended). A compute op begins at once and lasts its duration, or
// longer where it shares its core; a communication op is the Communicator's from there on. A stream goes on when its op
// has ended.
//
// Time is integer picoseconds. At one instant: first what the network finishes, then events in the order (kind, rank,
// op, step), then streams, in order of rank and stream; what that posts may end at the same instant, and so on until
// nothing more happens. Blocks of an arrival set are therefore compared when everything that arrives at an instant has
// arrived.
#pragma once

#include <cstdint>
#include <functional>

#include "core/trace.hpp"
#include "plan/program/program.hpp"
#include "sim/communication/communicator.hpp"
#include "sim/communication/transport.hpp"
#include "sim/cost/estimate.hpp"

namespace foretoken::sim {

/// Duration of a compute op. Asked once per execution.
using DurationOf = std::function<Estimate(RankId, OpId, std::int64_t step)>;

struct EngineInput {
  const plan::Program& program;
  const Transport& transport;
  DurationOf duration;
  RowsOf rows;
  std::int64_t warmup_steps = 0;
  std::int64_t steps = 1;         // counted, after the warm-up
  std::int64_t routed_steps = 1;  // step s uses routed step s mod routed_steps
  std::size_t link_samples = 0;   // at how many instants, about, the trace says what links carried; 0: at none
};

/// Everything of the trace but its outputs. Events are ordered by (rank, step, op). Same input, same trace.
/// Fails a check, naming rank, op and step, if the program waits for itself for ever.
Trace run_engine(const EngineInput& input);

}  // namespace foretoken::sim
