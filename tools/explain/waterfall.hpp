// A difference of two times as a signed sum of its causes, exact to the last digit.
//
// Each side is tiled by core/breakdown.hpp on its own slowest rank, so no clock needs to agree with another. To stay in
// integers although the sides may count different numbers of steps, all times here are picoseconds over a common number
// of steps, the least common multiple of both: a side's time of S steps times (common / S).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/breakdown.hpp"
#include "core/trace.hpp"
#include "core/units.hpp"

namespace foretoken::explain {

/// What an instant, or a difference, belongs to; the first four as in a Breakdown.
enum class Cause : std::uint8_t {
  compute,
  exposed,
  waiting,
  idle,
  instrumentation,  // headline step - instrumented step: the ops were timed in a second, slower run
  edges,     // TPOT - headline step, and instrumented step - slowest rank's window: batches of another pace, or a
             // slowest rank that was not the slowest when the window opened
  cpu,       // CPU time of ops, of all ranks
  untraced,  // CPU time that the trace does not have
};

constexpr std::array<std::pair<Cause, std::string_view>, 8> kCauseNames{{{Cause::compute, "compute"},
                                                                         {Cause::exposed, "exposed"},
                                                                         {Cause::waiting, "waiting"},
                                                                         {Cause::idle, "idle"},
                                                                         {Cause::instrumentation, "instrumentation"},
                                                                         {Cause::edges, "edges"},
                                                                         {Cause::cpu, "cpu"},
                                                                         {Cause::untraced, "untraced"}}};

constexpr std::string_view name_of(Cause cause) { return kCauseNames[static_cast<std::size_t>(cause)].second; }

/// One cause on both sides.
struct Part {
  Cause cause = Cause::idle;
  std::string of;  // kind of op ("gemm") or layer ("layer 3", "no layer"); empty from idle on
  SimTime a;
  SimTime b;

  [[nodiscard]] SimTime difference() const { return a - b; }
};

/// a - b = sum over parts of (part.a - part.b), and a = sum of part.a, b = sum of part.b: exactly.
struct Waterfall {
  std::int64_t steps = 1;  // all times are picoseconds over so many steps
  SimTime a;
  SimTime b;
  std::vector<Part> parts;  // largest |difference| first, then by cause and name

  [[nodiscard]] SimTime difference() const { return a - b; }
  [[nodiscard]] Seconds per_step(SimTime time) const { return to_seconds(time) / static_cast<double>(steps); }
  /// Sum of the positive differences (A took longer), and of the negative ones: <= 0.
  [[nodiscard]] SimTime longer() const;
  [[nodiscard]] SimTime shorter() const;
  /// The parts are over three times the difference, and matter (1 % of b): a small error is no sign of a good model.
  [[nodiscard]] bool errors_cancel() const;
};

/// One side of a comparison.
struct Side {
  Seconds tpot;                    // mean, of the headline run
  Seconds step;                    // mean, of the headline run
  std::optional<double> overhead;  // of instrumentation, as in StoredHeadline
  const Trace* trace = nullptr;    // of the instrumented run; what break_down() needs
};

enum class GroupBy : std::uint8_t { kind, layer };

/// TPOT(A) - TPOT(B) by cause. With S steps, the window of the slowest rank and the overhead o of instrumentation:
///
///   TPOT = window / S (compute + exposed + waiting + idle) + instrumentation + edges
///   instrumentation = step - step x (1 + o) = - step x o
///   edges           = (TPOT - step) + (step x (1 + o) - window / S)
///
/// The two are the only ones that come from floating-point figures: TPOT x steps and step x o x steps are rounded once,
/// to the picosecond, and edges is the rest.
/// @throws Error{invalid_input} if times over the common number of steps would exceed 6 days
/// Source: the definitions of core/metrics.hpp and core/breakdown.hpp.
/// Example: one batch in flight, simulated: instrumentation and edges are 0.
Waterfall explain_tpot(const Side& a, const Side& b, GroupBy by);

/// One side of a comparison of CPU time.
struct CpuSide {
  std::optional<Seconds> step;   // CPU time of all ranks per counted step; what the trace has if not given
  const Trace* trace = nullptr;  // with the column `cpu`, of all ranks
};

/// CPU time per counted step of all ranks together, by kind of op or by layer; what `step` has beyond the trace's
/// events is `untraced`.
/// @throws Error{invalid_input} as explain_tpot
Waterfall explain_cpu(const CpuSide& a, const CpuSide& b, GroupBy by);

}  // namespace foretoken::explain
