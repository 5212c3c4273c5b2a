// The trace of a stored result, read back from its columns.
#pragma once

#include <cstdint>

#include "core/json_reader.hpp"
#include "core/trace.hpp"

namespace foretoken::explain {

/// Reads `trace` of a result that --out stored. What break_down() needs holds of what is returned: there is a rank with
/// a step_end, and every such rank has one in the last warm-up step and a later one in the last counted step.
///
/// The trace holds every rank up to 64, else the slowest and the first of each role. Outputs are not stored, so the
/// metrics of a result are read from the result itself.
/// @param place  the member `trace`
/// @param ranks  of the result
/// @param clock  of the result
/// @throws Error{invalid_input} naming the value: columns of unequal length, an id out of range, posted <= begun <=
///         ended not kept, a missing step_end
Trace read_trace(const JsonReader& place, std::int64_t ranks, const std::string& clock);

/// Whether the trace has the events of every rank.
bool has_all_ranks(const Trace& trace);

}  // namespace foretoken::explain
