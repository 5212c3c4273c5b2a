// How the GPUs and NICs of a node hang together, and how much of it is drawn.
#pragma once

#include <cstdint>

#include "tools/topology/picture.hpp"

namespace foretoken::topology {

/// A unit is what hangs under one PCIe switch, or one NIC with its GPUs where there are no such switches.
struct NodeParts {
  bool pcie_switches = false;
  std::int64_t units = 0;
  std::int64_t gpus_per_unit = 0;
  std::int64_t nics_per_unit = 0;
  // Drawn: everything up to sixteen GPUs, else about eight.
  std::int64_t units_shown = 0;
  std::int64_t gpus_shown = 0;  // of a unit
  std::int64_t nics_shown = 0;
  std::int64_t gpus_hidden = 0;  // of the node
};

NodeParts parts_of(const Picture& picture);

}  // namespace foretoken::topology
