// What a scenario's faults do to a machine. Part of tools/topology/lint.hpp.
#pragma once

#include <vector>

#include "tools/topology/lint.hpp"

namespace foretoken::topology {

/// Adds faults that name nothing of the machine, and GPUs that reach one another no more once all are in force.
void check_faults(const plan::Scenario& scenario, const plan::Machine& machine, std::vector<Finding>& findings);

}  // namespace foretoken::topology
