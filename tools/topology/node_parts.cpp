#include "tools/topology/node_parts.hpp"

#include <algorithm>

namespace foretoken::topology {

NodeParts parts_of(const Picture& picture) {
  constexpr std::int64_t all_up_to = 16;
  constexpr std::int64_t shown_else = 8;
  NodeParts parts;
  parts.pcie_switches = picture.pcie_switches > 0;
  parts.units = parts.pcie_switches ? picture.pcie_switches : std::max<std::int64_t>(picture.nics_per_node, 1);
  parts.gpus_per_unit = picture.ranks_per_node / parts.units;
  parts.nics_per_unit = picture.nics_per_node / parts.units;
  const auto shown = [](std::int64_t count) { return count <= all_up_to ? count : shown_else; };
  parts.gpus_shown = shown(parts.gpus_per_unit);
  parts.nics_shown = shown(parts.nics_per_unit);
  const std::int64_t fitting = std::max<std::int64_t>(shown_else / parts.gpus_shown, 1);
  parts.units_shown = picture.ranks_per_node <= all_up_to ? parts.units : std::min(parts.units, fitting);
  parts.gpus_hidden = picture.ranks_per_node - parts.units_shown * parts.gpus_shown;
  return parts;
}

}  // namespace foretoken::topology
