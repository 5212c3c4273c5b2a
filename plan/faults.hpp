// A scenario's faults on a machine: which links lose bandwidth or die, which GPU becomes slower, and when.
#pragma once

#include <string>
#include <vector>

#include "core/ids.hpp"
#include "core/units.hpp"
#include "plan/machine/machine.hpp"
#include "plan/scenario/scenario.hpp"

namespace foretoken::plan {

struct Fault {
  SimTime from;
  std::vector<LinkId> links;  // in both directions
  RankId gpu;                 // invalid unless it is a GPU's; rank r is on GPU r
  double share = 0;           // of the nominal bandwidth or speed that is left; 0: dead
  std::string what;           // "NIC node0.nic3"
};

/// In order of time, and among equals in that of the scenario.
///
///   link    all cables between the two ends
///   nic     bandwidth: its cables to switches; dead: its PCIe too
///   switch  all its cables, whether it is one of the fabric, a PCIe switch or an NVSwitch
///
/// A later fault replaces an earlier one of the same link or GPU, so "100 %" mends; what is dead stays dead.
///
/// @throws Error{invalid_input} if the machine has no such part, or is a host
std::vector<Fault> resolve_faults(const Scenario& scenario, const Machine& machine);

}  // namespace foretoken::plan
