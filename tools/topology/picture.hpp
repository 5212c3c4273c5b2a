// What a topology comes to, told so that it can be drawn: tiers of switches, nodes that are cabled alike, kinds of
// link.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/link_class.hpp"
#include "core/units.hpp"
#include "plan/machine/machine.hpp"
#include "plan/machine/topology.hpp"

namespace foretoken::topology {

/// Links between the same two kinds of vertex, of one rate and one latency.
struct LinkKind {
  std::string from;  // "GPU", "NIC", "leaf": the lower end
  std::string to;
  LinkClass link_class = LinkClass::nvlink;
  BytesPerSecond bandwidth;  // nominal, of one, per direction
  Seconds latency;
  std::int64_t count = 0;  // cables; each is a link either way
  bool bandwidth_assumed = false;
  bool latency_assumed = false;
};

/// All cables between two switches, or between a NIC and a switch.
struct Bundle {
  VertexId lower;
  VertexId upper;
  std::int64_t cables = 0;
  BytesPerSecond bandwidth;  // of all together, per direction
};

/// Nodes whose NICs are cabled to the same switches in the same way.
struct NodeGroup {
  std::vector<std::int64_t> nodes;
  std::vector<VertexId> leaves;  // in the order of the NICs
};

struct Tier {
  std::string
      kind;  // "leaf", "spine", "core"; "switch" where there is one tier alone, "fabric" of no switch in particular
  std::vector<VertexId> switches;
  std::vector<Bundle> down;  // to the tier below; of the first tier to NICs
};

/// From how much to how much a leaf's NICs have over its cables upwards.
struct Oversubscription {
  double min = 0;
  double max = 0;
};

struct Picture {
  std::string name;
  std::int64_t nodes = 0;
  std::int64_t ranks_per_node = 0;  // GPUs, or a host's ranks
  std::int64_t nics_per_node = 0;   // 0: one computer by itself
  std::int64_t pcie_switches = 0;   // of a node
  bool host = false;
  bool emulated = false;
  bool nvls = false;
  bool rails = false;               // every leaf has NICs of one number only, and a node has several
  std::int64_t sprayed_spines = 0;  // that one spine of the machine stands for; 0: each stands for itself
  std::string device;
  Bytes memory{};
  std::int64_t cores = 0;
  std::vector<LinkKind> links;  // inside out: NVLink, PCIe, NIC, uplinks
  std::vector<Tier> tiers;      // from the NICs up; empty for one computer
  std::vector<NodeGroup> groups;
  std::optional<Oversubscription> oversubscription;  // none: nothing above the leaves
};

Picture picture_of(const plan::Topology& topology, const plan::Machine& machine);

}  // namespace foretoken::topology
