#include "plan/machine/wiring.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/graph/adjacency_list.hpp>
#include <boost/graph/connected_components.hpp>
#include <iterator>
#include <map>
#include <set>
#include <unordered_map>

#include "core/error.hpp"
#include "plan/machine/vertex_names.hpp"

namespace foretoken::plan {
namespace {

class Wirer {
 public:
  explicit Wirer(const Topology& topology) : topology_(topology) {
    wiring_.nodes = topology.nodes;
    wiring_.gpus_per_node = topology.gpus_per_node;
    wiring_.nics_per_node = nics_of_a_node(topology);
    wiring_.pcie_per_node = topology.pcie_switches;
    wiring_.fabric = topology.fabric;
    const FabricSpec& fabric = topology.fabric;
    wiring_.leaves = leaves_of(fabric, topology.nodes, wiring_.nics_per_node);
    switch (fabric.kind) {
      case FabricKind::non_blocking: wiring_.switches = 1; break;
      case FabricKind::leaf_spine:
      case FabricKind::rail_optimised: wiring_.switches = wiring_.leaves + spines(); break;
      case FabricKind::explicit_list: wiring_.switches = static_cast<std::int64_t>(fabric.switches.size()); break;
    }
  }

  Wiring wire() {
    if (is_host() && topology_.nics_per_node == 0) return std::move(wiring_);  // ranks meet in memory alone
    wiring_.links.reserve(static_cast<std::size_t>(6 * wiring_.gpus()));
    for (std::int64_t node = 0; node < wiring_.nodes; ++node) {
      wire_node(node);
      if (node == 0) wiring_.links_per_node = static_cast<std::int64_t>(wiring_.links.size());
    }
    if (wiring_.leaves > 0) wire_leaves();
    if (wiring_.fabric.kind == FabricKind::explicit_list) wire_list();
    return std::move(wiring_);
  }

 private:
  static VertexId vertex(std::int64_t index) { return VertexId(static_cast<std::size_t>(index)); }

  [[nodiscard]] bool is_host() const { return topology_.cores_per_node > 0; }

  // Of the fabric: sprayed over evenly, all of them are one.
  [[nodiscard]] std::int64_t spines() const {
    const FabricSpec& fabric = topology_.fabric;
    return fabric.spread == Spread::ideal ? std::min<std::int64_t>(fabric.spines, 1) : fabric.spines;
  }

  void connect(VertexId a, VertexId b, LinkClass link_class, BytesPerSecond bandwidth, Seconds latency) {
    wiring_.links.push_back({a, b, link_class, bandwidth, latency});
    wiring_.links.push_back({b, a, link_class, bandwidth, latency});
  }

  void wire_node(std::int64_t node) {
    const std::int64_t gpus = wiring_.gpus_per_node;
    const std::int64_t nics = wiring_.nics_per_node;
    const std::int64_t pcie = wiring_.pcie_per_node;
    const std::int64_t gpus_per_nic = gpus / nics;
    const VertexId nvswitch = vertex(wiring_.first_nvswitch() + node);
    const auto pcie_switch = [&](std::int64_t part, std::int64_t parts) {
      return vertex(wiring_.first_pcie_switch() + node * pcie + part * pcie / parts);
    };
    for (std::int64_t g = 0; g < gpus; ++g) {
      const VertexId gpu = vertex(node * gpus + g);
      const std::int64_t m = g / gpus_per_nic;
      const VertexId nic = vertex(wiring_.gpus() + node * nics + m);
      // A host's ranks meet in memory, and their way to its NIC is never what limits it.
      if (is_host()) {
        connect(gpu, nic, LinkClass::pcie, kBandwidthMax, Seconds(0));
      } else {
        connect(gpu, nvswitch, LinkClass::nvlink, topology_.nvlink_bandwidth, topology_.nvlink_latency);
        connect(gpu, pcie > 0 ? pcie_switch(g, gpus) : nic, LinkClass::pcie, topology_.pcie_bandwidth,
                topology_.pcie_latency);
      }
      if (g % gpus_per_nic != 0) continue;
      if (pcie > 0)
        connect(nic, pcie_switch(m, nics), LinkClass::pcie, topology_.pcie_bandwidth, topology_.pcie_latency);
      if (wiring_.fabric.kind == FabricKind::explicit_list) continue;
      connect(nic, vertex(wiring_.first_switch() + leaf_of(node, m)), LinkClass::infiniband, topology_.nic_bandwidth,
              topology_.nic_latency);
    }
  }

  [[nodiscard]] std::int64_t leaf_of(std::int64_t node, std::int64_t nic) const {
    if (wiring_.leaves == 0) return 0;
    const std::int64_t group = node / wiring_.fabric.nodes_per_leaf;
    return wiring_.fabric.kind == FabricKind::rail_optimised ? group * wiring_.nics_per_node + nic : group;
  }

  void wire_leaves() {
    const FabricSpec& fabric = wiring_.fabric;
    if (fabric.spines == 0) return;
    const std::int64_t nics =
        fabric.nodes_per_leaf * (fabric.kind == FabricKind::rail_optimised ? 1 : wiring_.nics_per_node);
    const auto cables = static_cast<double>(fabric.spines * fabric.cables_per_spine);
    const BytesPerSecond trunk = fabric.oversubscription > 0
                                     ? topology_.nic_bandwidth * (static_cast<double>(nics) / fabric.oversubscription)
                                     : fabric.uplink_bandwidth * cables;
    const bool one_trunk = fabric.spread == Spread::ideal;
    const BytesPerSecond each = one_trunk ? trunk : trunk / cables;
    for (std::int64_t leaf = 0; leaf < wiring_.leaves; ++leaf) {
      for (std::int64_t spine = 0; spine < spines(); ++spine) {
        for (std::int64_t cable = 0; cable < (one_trunk ? 1 : fabric.cables_per_spine); ++cable) {
          connect(vertex(wiring_.first_switch() + leaf), vertex(wiring_.first_switch() + wiring_.leaves + spine),
                  LinkClass::infiniband, each, fabric.uplink_latency);
        }
      }
    }
  }

  void wire_list() {
    std::unordered_map<std::string, std::int64_t> index;
    for (const std::string& name : wiring_.fabric.switches)
      index.emplace(name, static_cast<std::int64_t>(index.size()));
    const auto end_of = [&](const std::string& name) {
      const auto found = index.find(name);
      if (found != index.end()) return vertex(wiring_.first_switch() + found->second);
      const auto nic = parse_node_part(name, "nic");
      FORETOKEN_CHECK(nic.has_value(), "a cable to nowhere");
      return vertex(wiring_.gpus() + nic->node * wiring_.nics_per_node + nic->index);
    };
    for (const Cable& cable : wiring_.fabric.cables) {
      for (std::int64_t i = 0; i < cable.count; ++i)
        connect(end_of(cable.from), end_of(cable.to), LinkClass::infiniband, cable.bandwidth, cable.latency);
    }
  }

  const Topology& topology_;
  Wiring wiring_;
};

}  // namespace

Wiring wire(const Topology& topology) { return Wirer(topology).wire(); }

VertexKind Wiring::kind_of(VertexId vertex) const {
  const std::int64_t id = vertex.value();
  if (id < gpus()) return VertexKind::gpu;
  if (id < first_nvswitch()) return VertexKind::nic;
  if (id < first_pcie_switch()) return VertexKind::nvswitch;
  return id < first_switch() ? VertexKind::pcie_switch : VertexKind::fabric_switch;
}

std::string Wiring::name_of(VertexId vertex) const {
  const std::int64_t id = vertex.value();
  const auto of_node = [](const char* part, std::int64_t index, std::int64_t per_node) {
    return fmt::format("node{}.{}{}", index / per_node, part, index % per_node);
  };
  switch (kind_of(vertex)) {
    case VertexKind::gpu: return of_node("gpu", id, gpus_per_node);
    case VertexKind::nic: return of_node("nic", id - gpus(), nics_per_node);
    case VertexKind::nvswitch: return fmt::format("node{}.nvswitch", id - first_nvswitch());
    case VertexKind::pcie_switch: return of_node("pcie", id - first_pcie_switch(), pcie_per_node);
    case VertexKind::fabric_switch: break;
  }
  return switch_name(id - first_switch());
}

std::string Wiring::switch_name(std::int64_t index) const {
  if (fabric.kind == FabricKind::non_blocking) return "fabric";
  if (fabric.kind == FabricKind::explicit_list) return fabric.switches[static_cast<std::size_t>(index)];
  if (index >= leaves)
    return fabric.spread == Spread::ideal ? std::string("spine") : fmt::format("spine{}", index - leaves);
  if (fabric.kind == FabricKind::leaf_spine) return fmt::format("leaf{}", index);
  return fmt::format("pod{}.leaf{}", index / nics_per_node, index % nics_per_node);
}

VertexId Wiring::find(const std::string& name) const {
  const auto candidate = [&](std::int64_t id) {
    const VertexId vertex(static_cast<std::size_t>(id));
    return id < vertices() && name_of(vertex) == name ? vertex : VertexId();
  };
  if (const auto part = parse_node_part(name, "")) {
    if (part->node >= nodes) return {};
    if (const auto gpu = parse_node_part(name, "gpu"); gpu && gpu->index < gpus_per_node)
      return candidate(gpu->node * gpus_per_node + gpu->index);
    if (const auto nic = parse_node_part(name, "nic"); nic && nic->index < nics_per_node)
      return candidate(gpus() + nic->node * nics_per_node + nic->index);
    if (const auto pcie = parse_node_part(name, "pcie"); pcie && pcie->index < pcie_per_node)
      return candidate(first_pcie_switch() + pcie->node * pcie_per_node + pcie->index);
    return candidate(first_nvswitch() + part->node);
  }
  for (std::int64_t index = 0; index < switches; ++index) {
    if (switch_name(index) == name) return VertexId(static_cast<std::size_t>(first_switch() + index));
  }
  return {};
}

// A message crosses from node to node once: no third node forwards it. So two nodes reach one another if the cables
// join a NIC of each, and it is enough to look at one node for each set of parts of the fabric that nodes are joined
// to.
NodePair find_parted_nodes(const Wiring& wiring) {
  boost::adjacency_list<boost::vecS, boost::vecS, boost::undirectedS> graph(
      static_cast<std::size_t>(wiring.vertices()));
  for (std::size_t link = 0; link < wiring.links.size(); link += 2) {
    const Link& cable = wiring.links[link];
    if (cable.link_class == LinkClass::infiniband) boost::add_edge(cable.from.index(), cable.to.index(), graph);
  }
  std::vector<std::int32_t> part(static_cast<std::size_t>(wiring.vertices()));
  boost::connected_components(graph, part.data());

  std::map<std::set<std::int32_t>, std::int64_t> kinds;  // the parts that a node is joined to -> the first such node
  for (std::int64_t node = 0; node < wiring.nodes; ++node) {
    std::set<std::int32_t> parts;
    for (std::int64_t nic = 0; nic < wiring.nics_per_node; ++nic)
      parts.insert(part[static_cast<std::size_t>(wiring.gpus() + node * wiring.nics_per_node + nic)]);
    kinds.try_emplace(std::move(parts), node);
  }
  for (auto a = kinds.begin(); a != kinds.end(); ++a) {
    for (auto b = std::next(a); b != kinds.end(); ++b) {
      std::vector<std::int32_t> common;
      std::set_intersection(a->first.begin(), a->first.end(), b->first.begin(), b->first.end(),
                            std::back_inserter(common));
      if (common.empty()) return {std::min(a->second, b->second), std::max(a->second, b->second)};
    }
  }
  return {};
}

}  // namespace foretoken::plan
