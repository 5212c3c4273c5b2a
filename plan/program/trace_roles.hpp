// A Program's ops as a Trace describes them: the same for whoever carries it out.
#pragma once

#include <vector>

#include "core/trace.hpp"
#include "plan/program/program.hpp"

namespace foretoken::plan {

/// [role][op], with who waits for whom.
std::vector<std::vector<TraceOp>> trace_roles(const Program& program);

}  // namespace foretoken::plan
