// Proof that a Program can be executed: by whom does not matter.
#pragma once

#include "plan/placement.hpp"
#include "plan/program/program.hpp"

namespace foretoken::plan {

/// Checks that
///  - every activation is written exactly once, and before it is read, in program order;
///  - op names are unique within a role, streams and dependencies are in range;
///  - every collective is entered by all members of every group instance, with the same rows and columns;
///  - every dispatch and combine has its sources and hosts where the placement says they are;
///  - every send has its recv on the peer, with the same size, and the other way round;
///  - stream order, dependencies and meetings of ranks together form no cycle, so that no execution can deadlock.
/// Cost grows with roles and distinct meetings of roles, not with ranks x ops.
///
/// @throws Error{internal}: lowering has a defect, since scenarios are checked before
void validate(const Program& program, const Placement& placement);

}  // namespace foretoken::plan
