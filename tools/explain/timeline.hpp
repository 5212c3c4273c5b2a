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

}  // namespace foretoken::explain
