// foretoken topology FILE and foretoken topology show FILE: what a topology file comes to, for people and for programs.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <ostream>

#include "plan/machine/topology.hpp"
#include "tools/cli/load.hpp"
#include "tools/cli/topology_commands.hpp"
#include "tools/cli/write_file.hpp"
#include "tools/topology/picture.hpp"
#include "tools/topology/svg_drawing.hpp"
#include "tools/topology/text_drawing.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::ordered_json;

// A link and its way back are one after the other; both are shown.
Json links_json(const plan::Machine& machine) {
  Json links = Json::array();
  for (const plan::Link& link : machine.links())
    if (!machine.is_host() || link.link_class == LinkClass::infiniband)
      links.push_back({{"from", machine.vertex_name(link.from)},
                       {"to", machine.vertex_name(link.to)},
                       {"bytes_per_second", link.bandwidth.value()},
                       {"latency_us", link.latency.value() * 1e6}});
  return links;
}

Json machine_json(const plan::Topology& topology, const plan::Machine& machine) {
  Json json{{"schema_version", 1},         {"name", machine.name()},
            {"nodes", machine.nodes()},    {"ranks_per_node", machine.gpus() / machine.nodes()},
            {"host", machine.is_host()},   {"emulated", topology.emulated},
            {"links", links_json(machine)}};
  if (machine.has_core_shares()) json["core_shares"] = topology.core_shares;
  return json;
}

std::string head_text(const plan::Topology& topology, const plan::Machine& machine) {
  std::string text = fmt::format("topology {}\nnodes {}\nranks_per_node {}\nemulated {}\n", machine.name(),
                                 machine.nodes(), machine.gpus() / machine.nodes(), topology.emulated ? "yes" : "no");
  for (std::size_t node = 0; node < topology.core_shares.size(); ++node)
    text += fmt::format("share node{} {:g} cores\n", node, topology.core_shares[node]);
  return text;
}

void print_links(const plan::Machine& machine, std::ostream& out) {
  for (const plan::Link& link : machine.links())
    if (!machine.is_host() || link.link_class == LinkClass::infiniband)
      out << fmt::format("link {} {} {:.0f} B/s {:g} us\n", machine.vertex_name(link.from),
                         machine.vertex_name(link.to), link.bandwidth.value(), link.latency.value() * 1e6);
}

// What the drawings show, for those who draw it themselves.
Json drawing_json(const topology::Picture& picture, const plan::Machine& machine) {
  const auto names = [&](const std::vector<VertexId>& vertices) {
    Json list = Json::array();
    for (const VertexId vertex : vertices) list.push_back(machine.vertex_name(vertex));
    return list;
  };
  Json json{{"device", picture.device},
            {"nics_per_node", picture.nics_per_node},
            {"pcie_switches_per_node", picture.pcie_switches},
            {"nvls", picture.nvls},
            {"rails", picture.rails},
            {"tiers", Json::array()},
            {"groups", Json::array()},
            {"cables", Json::array()}};
  for (const topology::Tier& tier : picture.tiers)
    json["tiers"].push_back({{"kind", tier.kind}, {"switches", names(tier.switches)}});
  for (const topology::NodeGroup& group : picture.groups)
    json["groups"].push_back({{"nodes", group.nodes}, {"leaves", names(group.leaves)}});
  for (const topology::LinkKind& kind : picture.links)
    json["cables"].push_back({{"from", kind.from},
                              {"to", kind.to},
                              {"class", name_of(kind.link_class)},
                              {"bytes_per_second", kind.bandwidth.value()},
                              {"latency_us", kind.latency.value() * 1e6},
                              {"count", kind.count},
                              {"bandwidth_assumed", kind.bandwidth_assumed},
                              {"latency_assumed", kind.latency_assumed}});
  if (picture.oversubscription)
    json["oversubscription"] = {{"min", picture.oversubscription->min}, {"max", picture.oversubscription->max}};
  return json;
}

void print(const Json& json, std::ostream& out) {
  out << json.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
}

}  // namespace

void run_topology(const TopologyOptions& options, std::ostream& out) {
  const plan::Topology topology = plan::read_topology(options.topology);
  const plan::Machine machine = plan::build_machine(topology);
  if (options.json) {
    print(machine_json(topology, machine), out);
    return;
  }
  out << head_text(topology, machine);
  print_links(machine, out);
}

void run_topology_show(const TopologyShowOptions& options, std::ostream& out) {
  if (!options.svg.empty()) {
    refuse_to_replace(options.svg, options.topology, "--svg");
    require_writable(options.svg);
  }
  const plan::Topology topology = plan::read_topology(options.topology);
  const plan::Machine machine = plan::build_machine(topology);
  const topology::Picture picture = topology::picture_of(topology, machine);
  if (!options.svg.empty()) write_file(options.svg, topology::svg_drawing(picture, machine));
  if (options.json) {
    Json json = machine_json(topology, machine);
    json["drawing"] = drawing_json(picture, machine);
    if (!options.links) json.erase("links");
    print(json, out);
    return;
  }
  out << head_text(topology, machine) << "\n" << topology::text_drawing(picture, machine);
  if (!options.links) return;
  out << "\n";
  print_links(machine, out);
}

}  // namespace foretoken::cli
