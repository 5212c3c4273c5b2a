// Which ranks' events are written out: all of a small run, some of a large one.
#pragma once

#include <cstdint>
#include <set>

#include "core/trace.hpp"

namespace foretoken::explain {

/// Every rank up to 64; else the slowest and the first of each role.
std::set<std::int32_t> shown_ranks(const Trace& trace, std::int32_t slowest);

}  // namespace foretoken::explain
