// Scenario -> Program: which ops every role runs, in which order, on which stream.
//
// Start reading at layer_lowering.cpp for what a transformer layer becomes, here and in lower.cpp for roles, pipeline
// stages and the interleaving of micro-batches.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/machine/machine.hpp"
#include "plan/placement.hpp"
#include "plan/program/program.hpp"
#include "plan/scenario/scenario.hpp"

namespace foretoken::plan {

/// @param layers  of the model that the program has, ascending
/// @throws Error{invalid_input} if the ranks do not fit the machine or the program would exceed kProgramOpsMax ops
Program lower(const Scenario& scenario, const Placement& placement, const Machine& machine,
              const std::vector<std::int64_t>& layers);

}  // namespace foretoken::plan
