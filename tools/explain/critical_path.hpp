// The critical path of a run: what the last step end waited for, back to the beginning of the counted steps, across
// ranks and layers.
//
// Works on any Trace that says who waits for whom (TraceOp::after, TraceOp::meets), simulated or live. A live trace
// needs one clock for all its ranks, which ranks of one computer have.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/breakdown.hpp"
#include "core/trace.hpp"
#include "core/units.hpp"
#include "tools/explain/event_index.hpp"
#include "tools/explain/waits.hpp"

namespace foretoken::explain {

/// What passes on a segment of the path.
enum class PathWork : std::uint8_t {
  compute,
  communication,  // latency and transfer, from when the last that had to be there was there
  gap,            // the op could have been posted, or was posted and could have begun: launch and scheduling
};

/// What the segment's op had waited for last, so that it could not begin earlier.
enum class PathCause : std::uint8_t {
  dependency,  // an op that it depends on
  stream,      // the op before it on its stream
  peer,        // another rank, which posted its side last: the path goes on there
  start,       // nothing: the run, or the window, begins here
};

constexpr std::array<std::pair<PathWork, std::string_view>, 3> kPathWorkNames{
    {{PathWork::compute, "compute"}, {PathWork::communication, "communication"}, {PathWork::gap, "gap"}}};
constexpr std::array<std::pair<PathCause, std::string_view>, 4> kPathCauseNames{{{PathCause::dependency, "dependency"},
                                                                                 {PathCause::stream, "stream"},
                                                                                 {PathCause::peer, "peer"},
                                                                                 {PathCause::start, "start"}}};
constexpr std::string_view name_of(PathWork work) { return kPathWorkNames[static_cast<std::size_t>(work)].second; }
constexpr std::string_view name_of(PathCause cause) { return kPathCauseNames[static_cast<std::size_t>(cause)].second; }

struct PathSegment {
  SimTime begin;
  SimTime end;
  std::size_t event = 0;  // of the trace: rank, step and op
  PathWork work = PathWork::compute;
  PathCause cause = PathCause::start;

  [[nodiscard]] SimTime time() const { return end - begin; }
};

/// The window is that of the slowest rank, as in a Breakdown. Segments are in order of time, longer than nothing, each
/// begins where the one before it ends, the first at `begin` and the last at `end`:
///
///   window = sum of the segments,   exactly, in picoseconds
struct CriticalPath {
  std::int32_t rank = -1;  // where it ends
  std::int64_t steps = 0;  // counted
  SimTime begin;
  SimTime end;
  std::vector<PathSegment> segments;
  std::int64_t rank_changes = 0;  // from one segment to the next

  [[nodiscard]] SimTime window() const { return end - begin; }
  [[nodiscard]] Seconds per_step(SimTime time) const { return to_seconds(time) / static_cast<double>(steps); }
};

/// Walks back from the last step_end of the slowest rank. Of a compute op the time from begun to ended is on the path.
/// Of a communication op, the time from the last posting that it needed: a collective and a transfer need all sides, a
/// dispatch or combine the side of the message that ended last, or, where the trace does not know it
/// (Trace::last_peer), all sides that were posted before it ended. If that was another rank's, the path goes on there.
/// Before an op was posted the path goes on with what ended last of its dependencies and the op before it on its
/// stream. Of several at one instant: itself before others, a dependency before the stream, then the later op.
///
/// Cost: O(events) to find them, then O(segments x participants of an op).
///
/// @throws Error{invalid_input} if ops of the trace wait for one another in a circle
/// @throws Error{internal} as break_down(), and if the trace does not say who waits for whom
/// Example: rank 0 computes 3 us, rank 1 5 us, then both all_reduce for 2 us. The path of 7 us: compute on rank 1 (5
/// us), communication (2 us), held by a peer if it is followed from rank 0.
CriticalPath find_critical_path(const Trace& trace);

/// The same for other ranks than the slowest one: replicas that never meet have critical paths of their own.
class CriticalPaths {
 public:
  /// The trace is kept by reference.
  explicit CriticalPaths(const Trace& trace);

  /// @param window  of a rank, as step_windows() gives it
  [[nodiscard]] CriticalPath to(const StepWindow& window) const;

 private:
  const Trace& trace_;
  EventIndex index_;
  Waits waits_;
};

/// Whether the trace says who waits for whom: results stored by earlier programs do not.
bool says_who_waits(const Trace& trace);

/// Time on the path by some name of its segments.
struct PathShare {
  std::string name;
  SimTime time;
  std::int64_t segments = 0;
};

enum class PathBy : std::uint8_t { kind, layer, rank, cause };

/// Shares add up to the window. kind: "compute gemm", "communication all_reduce", "gap gemm"; layer: "layer 3",
/// "no layer"; rank: "rank 0"; cause: what the ops had waited for. Largest first, then by name.
std::vector<PathShare> shares_of(const CriticalPath& path, const Trace& trace, PathBy by);

}  // namespace foretoken::explain
