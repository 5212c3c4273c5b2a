#include "tools/topology/fabric_lint.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "plan/machine/vertex_names.hpp"
#include "tools/topology/picture.hpp"
#include "tools/topology/wording.hpp"

namespace foretoken::topology {
namespace {

constexpr std::size_t kShownMax = 8;  // of one kind of finding

// Ports of the largest single switch by the rate of one. Source: NVIDIA's datasheets: SN5600 has 64 ports of 800 GbE,
// or 128 of 400; Quantum-X800 Q3400 has 144 of 800 Gb/s.
std::int64_t ports_max(BytesPerSecond port) {
  const double gbits = port.value() * 8 / 1e9;
  if (gbits > 440) return 144;
  return gbits > 220 ? 128 : 256;
}

// The first few, and how many more there are.
void add_some(std::vector<Finding> found, std::vector<Finding>& findings) {
  if (found.size() > kShownMax) {
    const std::size_t more = found.size() - kShownMax;
    found.resize(kShownMax);
    found.back().what += fmt::format("; and {} more like this", more);
  }
  findings.insert(findings.end(), found.begin(), found.end());
}

// ---- leaves and spines by rule -------------------------------------------------------------------------------------

void check_clos(const plan::Topology& topology, std::vector<Finding>& findings) {
  const plan::FabricSpec& fabric = topology.fabric;
  const bool rails = fabric.kind == plan::FabricKind::rail_optimised;
  const std::int64_t nics = nics_of_a_node(topology);
  const std::int64_t down = fabric.nodes_per_leaf * (rails ? 1 : nics);
  const std::string group = rails ? "/fabric/nodes_per_pod" : "/fabric/nodes_per_leaf";
  const bool by_rate = fabric.uplink_bandwidth.value() > 0;
  const std::int64_t up = by_rate ? fabric.spines * fabric.cables_per_spine : 0;
  const std::int64_t ports = ports_max(topology.nic_bandwidth);
  if (down + up > ports)
    findings.push_back({"", group, fmt::format("a leaf has {} cables down and {} up", down, up),
                        fmt::format("no switch has more than {} ports of that rate", ports)});
  const std::int64_t leaves = plan::leaves_of(fabric, topology.nodes, nics);
  if (by_rate && leaves * fabric.cables_per_spine > ports_max(fabric.uplink_bandwidth))
    findings.push_back(
        {"", "/fabric/spines",
         fmt::format("a spine has {} cables, from {} leaves", leaves * fabric.cables_per_spine, leaves),
         fmt::format("no switch has more than {} ports of that rate", ports_max(fabric.uplink_bandwidth))});
  if (topology.nodes < fabric.nodes_per_leaf)
    findings.push_back({"", group,
                        fmt::format("{} nodes do not fill one group of {}", topology.nodes, fabric.nodes_per_leaf),
                        "uplinks are those of a full leaf, so that traffic over them is predicted too fast"});
  if (!by_rate || fabric.spines == 0) return;
  const double ratio = static_cast<double>(down) * topology.nic_bandwidth.value() /
                       (static_cast<double>(up) * fabric.uplink_bandwidth.value());
  if (ratio > 1.01)
    findings.push_back({"", "/fabric/uplink/bandwidth",
                        fmt::format("a leaf's NICs have {:.3g} times the rate of its uplinks", ratio),
                        fmt::format("\"oversubscription\": {:.3g} states it, if that is meant", ratio)});
  if (ratio < 0.5)
    findings.push_back({"", "/fabric/uplink/bandwidth",
                        fmt::format("a leaf's uplinks have {:.3g} times the rate of its NICs", 1 / ratio),
                        "cables that nothing can fill"});
}

// ---- a list of cables ----------------------------------------------------------------------------------------------

class ListLint {
 public:
  ListLint(const plan::Topology& topology, const plan::Machine& machine, std::vector<Finding>& findings)
      : topology_(topology), machine_(machine), findings_(findings) {}

  void check() {
    gather();
    check_bare_nics();
    check_rates();
    check_rails();
    check_ports();
    check_leaves();
  }

 private:
  struct NicCable {
    std::size_t index = 0;  // in the list
    plan::NodePart nic;
    std::string leaf;
  };

  void gather() {
    const auto& cables = topology_.fabric.cables;
    for (std::size_t i = 0; i < cables.size(); ++i) {
      ports_[cables[i].from] += cables[i].count;
      ports_[cables[i].to] += cables[i].count;
      const auto from = plan::parse_node_part(cables[i].from, "nic");
      const auto to = plan::parse_node_part(cables[i].to, "nic");
      if (from) nic_cables_.push_back({i, *from, cables[i].to});
      if (to) nic_cables_.push_back({i, *to, cables[i].from});
    }
  }

  void check_bare_nics() {
    std::set<std::pair<std::int64_t, std::int64_t>> cabled;
    for (const NicCable& cable : nic_cables_) cabled.insert({cable.nic.node, cable.nic.index});
    std::vector<Finding> found;
    for (std::int64_t node = 0; node < topology_.nodes; ++node)
      for (std::int64_t nic = 0; nic < nics_of_a_node(topology_); ++nic)
        if (!cabled.contains({node, nic}))
          found.push_back({"", "/fabric/links", fmt::format("node{}.nic{} has no cable", node, nic),
                           "its GPUs take their neighbours' NICs"});
    add_some(std::move(found), findings_);
  }

  void check_rates() {
    std::vector<Finding> found;
    for (const NicCable& cable : nic_cables_) {
      const BytesPerSecond rate = topology_.fabric.cables[cable.index].bandwidth;
      if (rate == topology_.nic_bandwidth) continue;
      found.push_back({"", fmt::format("/fabric/links/{}/bandwidth", cable.index),
                       fmt::format("node{}.nic{} has a cable of {}, and the NIC {}", cable.nic.node, cable.nic.index,
                                   rate_text(LinkClass::infiniband, rate),
                                   rate_text(LinkClass::infiniband, topology_.nic_bandwidth)),
                       "a cable that came up slower, or another NIC"});
    }
    add_some(std::move(found), findings_);
  }

  // Where the most of a leaf's NICs have one number, it is that rail's, and another number is a cable in the wrong
  // place.
  void check_rails() {
    std::map<std::string, std::map<std::int64_t, std::int64_t>> numbers;
    for (const NicCable& cable : nic_cables_) ++numbers[cable.leaf][cable.nic.index];
    std::vector<Finding> found;
    for (const NicCable& cable : nic_cables_) {
      const auto& of_leaf = numbers[cable.leaf];
      std::int64_t all = 0;
      for (const auto& [number, count] : of_leaf) all += count;
      const auto rail = std::max_element(of_leaf.begin(), of_leaf.end(),
                                         [](const auto& a, const auto& b) { return a.second < b.second; });
      if (rail->first == cable.nic.index || 4 * rail->second < 3 * all) continue;
      found.push_back({"", fmt::format("/fabric/links/{}", cable.index),
                       fmt::format("node{}.nic{} is on {}, where {} of {} are nic{}", cable.nic.node, cable.nic.index,
                                   cable.leaf, rail->second, all, rail->first),
                       "a rail has NICs of one number: a cable in the wrong port"});
    }
    add_some(std::move(found), findings_);
  }

  void check_ports() {
    std::vector<Finding> found;
    for (const std::string& name : topology_.fabric.switches) {
      const std::int64_t ports = ports_max(topology_.nic_bandwidth);
      if (ports_[name] == 0) found.push_back({"", "/fabric/switches", name + " has no cable", "it is of no use here"});
      if (ports_[name] > ports)
        found.push_back({"", "/fabric/switches", fmt::format("{} has {} cables", name, ports_[name]),
                         fmt::format("no switch has more than {} ports of that rate", ports)});
    }
    add_some(std::move(found), findings_);
  }

  void check_leaves() {
    const auto ratio = picture_of(topology_, machine_).oversubscription;
    if (ratio && ratio->max > 1.01)
      findings_.push_back({"", "/fabric/links", "oversubscription of the leaves is " + oversubscription_text(*ratio),
                           "a list states none: say in `about` whether that is meant"});
    else if (ratio && ratio->max > 1.2 * ratio->min)
      findings_.push_back({"", "/fabric/links",
                           "oversubscription of the leaves differs: " + oversubscription_text(*ratio),
                           "cables are missing, or some leaves are not full"});
  }

  const plan::Topology& topology_;
  const plan::Machine& machine_;
  std::vector<Finding>& findings_;
  std::vector<NicCable> nic_cables_;
  std::map<std::string, std::int64_t> ports_;  // in use, by name
};

}  // namespace

void check_fabric(const plan::Topology& topology, const plan::Machine& machine, std::vector<Finding>& findings) {
  switch (topology.fabric.kind) {
    case plan::FabricKind::non_blocking: break;
    case plan::FabricKind::leaf_spine:
    case plan::FabricKind::rail_optimised: check_clos(topology, findings); break;
    case plan::FabricKind::explicit_list: ListLint(topology, machine, findings).check(); break;
  }
}

}  // namespace foretoken::topology
