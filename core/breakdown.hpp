// Where the time of a run went: the timeline of its slowest rank, tiled without gaps or overlaps.
//
// Works on any Trace, simulated or live, and needs no clock but that rank's own.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/provenance.hpp"
#include "core/trace.hpp"
#include "core/units.hpp"

namespace foretoken {

/// Time that one kind of op took, summed over the window.
struct BreakdownPart {
  std::string kind;  // "gemm", "all_reduce"
  SimTime time;
};

/// The slowest rank is the one whose last step_end is the last of all; of several, the lowest. Its window runs from the
/// last step_end of its last warm-up step to that of its last counted step.
///
/// Every instant of the window belongs to one part:
///
///   compute   a compute op is running
///   exposed   none is, and a communication op is between begun and ended
///   waiting   nor that, and a communication op is posted: its peers are not there yet
///   idle      nor that: a bubble
///
/// Of several ops of one class the one that began (waiting: was posted) first has the instant; of those the first in
/// program order. So
///
///   window = sum of compute + sum of exposed + sum of waiting + idle,   exactly, in picoseconds
///
/// Hidden communication lies beside the tiling: instants of `compute` at which communication is also under way.
struct Breakdown {
  std::int32_t rank = -1;
  std::int64_t steps = 0;  // counted
  SimTime begin;
  SimTime end;
  std::vector<BreakdownPart> compute;  // kinds in order of name; parts without time left out
  std::vector<BreakdownPart> exposed;
  std::vector<BreakdownPart> waiting;
  SimTime idle;
  std::vector<BreakdownPart> hidden;
  std::array<SimTime, kProvenanceNames.size()> busy{};  // compute and exposed, by what the durations rest on

  [[nodiscard]] SimTime window() const { return end - begin; }
  /// Mean per counted step.
  [[nodiscard]] Seconds per_step(SimTime time) const { return to_seconds(time) / static_cast<double>(steps); }
  /// Share of the busy time that rests on this; 0 if nothing was busy.
  [[nodiscard]] double share(Provenance provenance) const;
};

/// From the last step_end of a rank's last warm-up step to that of its last counted step.
struct StepWindow {
  std::int32_t rank = -1;
  SimTime begin{-1};
  SimTime end{-1};
};

/// Of all ranks that have step_ends, by rank.
/// @throws Error{internal} if there is none, or one lacks a step_end of a step
std::map<std::int32_t, StepWindow> step_windows(const Trace& trace);

/// The one that ends last; of several, the lowest rank's. Precondition: not empty
StepWindow slowest_of(const std::map<std::int32_t, StepWindow>& windows);

SimTime total(const std::vector<BreakdownPart>& parts);

/// @throws Error{internal} if the trace has no step_end, no warm-up step or no counted step
Breakdown break_down(const Trace& trace);

}  // namespace foretoken
