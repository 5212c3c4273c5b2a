// What is suspicious about a fabric. Part of tools/topology/lint.hpp.
#pragma once

#include <vector>

#include "tools/topology/lint.hpp"

namespace foretoken::topology {

/// Adds what it finds: oversubscription that the file does not state, switches with more ports than there are, rails
/// that are not cabled as rails, NICs without a cable, cables of another rate than their NIC's.
void check_fabric(const plan::Topology& topology, const plan::Machine& machine, std::vector<Finding>& findings);

}  // namespace foretoken::topology
