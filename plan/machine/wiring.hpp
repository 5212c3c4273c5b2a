// Every vertex and link of a machine, as flat arrays. Private to plan/machine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan/machine/machine.hpp"
#include "plan/machine/topology.hpp"

namespace foretoken::plan {

/// Vertices are numbered: GPUs, NICs, NVSwitches (one per node), PCIe switches, then the switches of the fabric.
///
/// Links come in pairs: link 2 i goes one way, link 2 i + 1 the other way between the same two vertices. Those of a
/// node come first, node by node and in the same order in each, the way from a NIC to its switch among them where a
/// rule says which switch that is. So what is known about the first node's links holds for every node.
struct Wiring {
  std::int64_t nodes = 0;
  std::int64_t gpus_per_node = 0;
  std::int64_t nics_per_node = 0;
  std::int64_t pcie_per_node = 0;
  std::int64_t switches = 0;  // of the fabric
  FabricSpec fabric;
  std::int64_t leaves = 0;          // of a fabric that has them; its first switches
  std::int64_t links_per_node = 0;  // of a node's block
  std::vector<Link> links;

  [[nodiscard]] std::int64_t gpus() const { return nodes * gpus_per_node; }
  [[nodiscard]] std::int64_t nics() const { return nodes * nics_per_node; }
  [[nodiscard]] std::int64_t first_nvswitch() const { return gpus() + nics(); }
  [[nodiscard]] std::int64_t first_pcie_switch() const { return first_nvswitch() + nodes; }
  [[nodiscard]] std::int64_t first_switch() const { return first_pcie_switch() + nodes * pcie_per_node; }
  [[nodiscard]] std::int64_t vertices() const { return first_switch() + switches; }

  [[nodiscard]] VertexKind kind_of(VertexId vertex) const;
  [[nodiscard]] std::string name_of(VertexId vertex) const;
  /// Invalid if there is none of that name.
  [[nodiscard]] VertexId find(const std::string& name) const;
  [[nodiscard]] static LinkId opposite(LinkId link) { return LinkId(link.value() ^ 1); }

 private:
  [[nodiscard]] std::string switch_name(std::int64_t index) const;
};

Wiring wire(const Topology& topology);

/// Two nodes that the fabric does not join: no switch reaches a NIC of each. {-1, -1} if there are none such.
struct NodePair {
  std::int64_t a = -1;
  std::int64_t b = -1;
};
NodePair find_parted_nodes(const Wiring& wiring);

}  // namespace foretoken::plan
