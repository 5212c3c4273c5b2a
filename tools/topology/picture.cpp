#include "tools/topology/picture.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

namespace foretoken::topology {
namespace {

using plan::VertexKind;

class Painter {
 public:
  Painter(const plan::Topology& topology, const plan::Machine& machine) : topology_(topology), machine_(machine) {}

  Picture paint() {
    picture_.name = machine_.name();
    picture_.nodes = machine_.nodes();
    picture_.ranks_per_node = machine_.gpus() / machine_.nodes();
    picture_.host = machine_.is_host();
    picture_.emulated = topology_.emulated;
    picture_.nvls = !picture_.host && topology_.nvls;
    picture_.device = topology_.device.name;
    picture_.memory = topology_.device.memory;
    picture_.cores = topology_.cores_per_node;
    picture_.pcie_switches = topology_.pcie_switches;
    if (topology_.fabric.spread == plan::Spread::ideal) picture_.sprayed_spines = topology_.fabric.spines;
    if (machine_.links().empty()) return std::move(picture_);
    picture_.nics_per_node = machine_.nics_per_node();
    gather_bundles();
    find_tiers();
    group_nodes();
    find_rails();
    weigh_leaves();
    count_links();
    return std::move(picture_);
  }

 private:
  [[nodiscard]] bool is_nic(VertexId vertex) const { return machine_.kind_of(vertex) == VertexKind::nic; }

  // Cables of the network, by their two ends; a link and its way back are one cable.
  void gather_bundles() {
    const auto links = machine_.links();
    for (std::size_t l = 0; l < links.size(); l += 2) {
      const plan::Link& link = links[l];
      if (link.link_class != LinkClass::infiniband) continue;
      Bundle& bundle = bundles_[{link.from, link.to}];
      bundle.lower = link.from;
      bundle.upper = link.to;
      ++bundle.cables;
      bundle.bandwidth += link.bandwidth;
    }
  }

  // A switch is as high as its shortest way down to a NIC is long.
  void find_tiers() {
    std::map<VertexId, std::vector<VertexId>> neighbours;
    std::vector<VertexId> reached;
    for (const auto& [ends, bundle] : bundles_) {
      const auto& [a, b] = ends;
      if (is_nic(a) || is_nic(b)) {
        const VertexId leaf = is_nic(a) ? b : a;
        if (tier_.emplace(leaf, 0).second) reached.push_back(leaf);
      } else {
        neighbours[a].push_back(b);
        neighbours[b].push_back(a);
      }
    }
    for (std::size_t next = 0; next < reached.size(); ++next)
      for (const VertexId other : neighbours[reached[next]])
        if (tier_.emplace(other, tier_[reached[next]] + 1).second) reached.push_back(other);

    for (const auto& [vertex, tier] : tier_) {
      if (picture_.tiers.size() <= tier) picture_.tiers.resize(tier + 1);
      picture_.tiers[tier].switches.push_back(vertex);
    }
    constexpr std::array<std::string_view, 3> kinds{"leaf", "spine", "core"};
    for (std::size_t tier = 0; tier < picture_.tiers.size(); ++tier)
      picture_.tiers[tier].kind =
          picture_.tiers.size() == 1 ? "switch" : std::string(kinds[std::min<std::size_t>(tier, 2)]);
    if (topology_.fabric.kind == plan::FabricKind::non_blocking) picture_.tiers.front().kind = "fabric";
    for (auto& [ends, bundle] : bundles_) {
      if (height(bundle.lower) > height(bundle.upper)) std::swap(bundle.lower, bundle.upper);
      const auto above = static_cast<std::size_t>(height(bundle.upper));
      picture_.tiers[above].down.push_back(bundle);
    }
  }

  // -1 for a NIC.
  [[nodiscard]] int height(VertexId vertex) const {
    const auto found = tier_.find(vertex);
    return found == tier_.end() ? -1 : static_cast<int>(found->second);
  }

  void group_nodes() {
    const std::int64_t nics = picture_.nics_per_node;
    const std::int64_t first_nic = machine_.gpus();
    std::vector<std::vector<std::tuple<std::int64_t, VertexId, std::int64_t>>> cabling(
        static_cast<std::size_t>(picture_.nodes));
    for (const Bundle& bundle : picture_.tiers.front().down) {
      if (!is_nic(bundle.lower)) continue;
      const std::int64_t nic = bundle.lower.value() - first_nic;
      cabling[static_cast<std::size_t>(nic / nics)].emplace_back(nic % nics, bundle.upper, bundle.cables);
    }
    std::map<std::vector<std::tuple<std::int64_t, VertexId, std::int64_t>>, std::size_t> known;
    for (std::int64_t node = 0; node < picture_.nodes; ++node) {
      auto& cables = cabling[static_cast<std::size_t>(node)];
      std::sort(cables.begin(), cables.end());
      const auto [found, is_new] = known.emplace(cables, picture_.groups.size());
      if (is_new) {
        NodeGroup group;
        for (const auto& [nic, leaf, count] : cables)
          if (std::find(group.leaves.begin(), group.leaves.end(), leaf) == group.leaves.end())
            group.leaves.push_back(leaf);
        picture_.groups.push_back(std::move(group));
      }
      picture_.groups[found->second].nodes.push_back(node);
    }
  }

  void find_rails() {
    std::map<VertexId, std::set<std::int64_t>> numbers;
    for (const Bundle& bundle : picture_.tiers.front().down)
      if (is_nic(bundle.lower))
        numbers[bundle.upper].insert((bundle.lower.value() - machine_.gpus()) % picture_.nics_per_node);
    picture_.rails = picture_.nics_per_node > 1 && std::all_of(numbers.begin(), numbers.end(), [](const auto& leaf) {
                       return leaf.second.size() == 1;
                     });
  }

  void weigh_leaves() {
    if (picture_.tiers.size() < 2) return;
    std::map<VertexId, double> up;
    std::map<VertexId, double> down;
    for (const Bundle& bundle : picture_.tiers[0].down)
      if (is_nic(bundle.lower)) down[bundle.upper] += bundle.bandwidth.value();
    for (const Bundle& bundle : picture_.tiers[1].down)
      if (height(bundle.lower) == 0) up[bundle.lower] += bundle.bandwidth.value();
    for (const auto& [leaf, rate] : up) {
      const double of_leaf = down[leaf] / rate;
      auto& all = picture_.oversubscription;
      if (!all) all = Oversubscription{of_leaf, of_leaf};
      all->min = std::min(all->min, of_leaf);
      all->max = std::max(all->max, of_leaf);
    }
  }

  [[nodiscard]] std::string kind_name(VertexId vertex) const {
    switch (machine_.kind_of(vertex)) {
      case VertexKind::gpu: return picture_.host ? "rank" : "GPU";
      case VertexKind::nic: return "NIC";
      case VertexKind::nvswitch: return "NVSwitch";
      case VertexKind::pcie_switch: return "PCIe switch";
      case VertexKind::fabric_switch: break;
    }
    return picture_.tiers[static_cast<std::size_t>(height(vertex))].kind;
  }

  [[nodiscard]] bool assumed(const std::string& number) const {
    return std::any_of(topology_.sources.begin(), topology_.sources.end(), [&](const auto& source) {
      return source.quantity == number && source.source.starts_with("assumed");
    });
  }

  void count_links() {
    std::map<std::tuple<std::string, std::string, LinkClass, double, double>, std::size_t> known;
    const auto links = machine_.links();
    for (std::size_t l = 0; l < links.size(); l += 2) {
      const plan::Link& link = links[l];
      if (picture_.host && link.link_class != LinkClass::infiniband) continue;  // a rank's way to its NIC is no cable
      VertexId lower = link.from;
      VertexId upper = link.to;
      if (height(lower) > height(upper)) std::swap(lower, upper);
      const auto key = std::make_tuple(kind_name(lower), kind_name(upper), link.link_class, link.bandwidth.value(),
                                       link.latency.value());
      const auto [found, is_new] = known.emplace(key, picture_.links.size());
      if (is_new) {
        const std::string source = source_of(link, is_nic(lower));
        picture_.links.push_back({std::get<0>(key), std::get<1>(key), link.link_class, link.bandwidth, link.latency, 0,
                                  assumed(bandwidth_key(source)), assumed(latency_key(source))});
      }
      ++picture_.links[found->second].count;
    }
    std::stable_sort(picture_.links.begin(), picture_.links.end(),
                     [](const LinkKind& a, const LinkKind& b) { return a.link_class < b.link_class; });
  }

  [[nodiscard]] std::string source_of(const plan::Link& link, bool at_nic) const {
    if (link.link_class == LinkClass::nvlink) return "node.nvlink";
    if (link.link_class == LinkClass::pcie) return "node.pcie";
    if (topology_.fabric.kind == plan::FabricKind::explicit_list) return "fabric.links";
    return at_nic ? "node.nic" : "fabric.uplink";
  }
  [[nodiscard]] std::string bandwidth_key(const std::string& source) const {
    if (source == "fabric.links") return source;
    const bool by_share = source == "fabric.uplink" && topology_.fabric.oversubscription > 0;
    return source + (by_share ? ".oversubscription" : ".bandwidth");
  }
  [[nodiscard]] static std::string latency_key(const std::string& source) {
    return source == "fabric.links" ? source : source + ".latency";
  }

  const plan::Topology& topology_;
  const plan::Machine& machine_;
  Picture picture_;
  std::map<std::pair<VertexId, VertexId>, Bundle> bundles_;
  std::map<VertexId, std::size_t> tier_;  // of switches that reach a NIC
};

}  // namespace

Picture picture_of(const plan::Topology& topology, const plan::Machine& machine) {
  return Painter(topology, machine).paint();
}

}  // namespace foretoken::topology
