// A run as a timeline that ui.perfetto.dev and chrome://tracing open: JSON in the Trace Event Format.
//
// A process per rank, a thread per stream, a slice per op from begun to ended and one, "wait", from posted to begun.
// Arrows go from a send to its recv, from the message of an exchange that ended last to the rank that it ended, and
// along the critical path from rank to rank. The critical path is a process of its own, and so are counters of what the
// links of each class carry, if the trace has them. Times are microseconds with six decimals: whole picoseconds.
//
// Not shown: ops that take no time, other than the ends of steps.
#pragma once

#include <string>

#include "core/trace.hpp"
#include "tools/explain/critical_path.hpp"

namespace foretoken::explain {

/// Of the shown ranks (tools/explain/shown_ranks.hpp); the critical path is whole.
/// The same trace gives the same bytes.
/// @param title  what was run, for whoever opens the file
/// Example: an op of 1.5 us at 3 us on rank 2 becomes
///   {"ph":"X","pid":3,"tid":1,"ts":3.000000,"dur":1.500000,"name":"l0.qkv","cat":"gemm",…}
std::string timeline_json(const Trace& trace, const CriticalPath& path, const std::string& title);

/// Two runs in one file, as two groups of processes: "A rank 0" …, "B rank 0" …. B is moved in time so that the first
/// counted step of both begins at one instant: at the last step_end of the warm-up on the slowest rank of each.
std::string timelines_json(const Trace& a, const CriticalPath& path_a, const Trace& b, const CriticalPath& path_b,
                           const std::string& title);

/// The ops of both runs, one line each, with a head line: side, rank, step, name, kind, stream, layer, posted_ps,
/// begun_ps, ended_ps, provenance. Steps count from the first counted one (the warm-up is negative), and times from the
/// begin of the counted steps, as in timelines_json().
std::string ops_csv(const Trace& a, const Trace& b);

}  // namespace foretoken::explain
