// A topology file of a fabric and of what one of its nodes has inside.
#include <fmt/format.h>

#include <filesystem>

#include "calibrate/import/ibnetdiscover.hpp"
#include "plan/machine/limits.hpp"

namespace foretoken::calibrate {
namespace {

NodeShape node_of(const LogPlace& log, const std::optional<NodeFile>& node, const FabricShape& fabric,
                  ImportSettings& settings) {
  NodeShape shape;
  if (node) {
    shape = read_node_shape(node->format, node->log);
  } else {
    shape.tool = "ibnetdiscover";
    shape.gpus = settings.require_integer("gpus", 1, plan::kGpusPerNodeMax, log.name, "8");
  }
  if (fabric.nics < 1 || shape.gpus % fabric.nics != 0)
    throw log.error(1, fmt::format("hosts have {} adapters for {} GPUs", fabric.nics, shape.gpus),
                    "topologies have one for each GPU, or for 2, 4, ... of them: name those that serve GPUs, --set "
                    "hcas=mlx5_0,mlx5_1,...");
  if (node && shape.nics != fabric.nics)
    shape.notes.insert(fmt::format("{} has {} NICs, and hosts of the fabric {}: the fabric's are taken", node->log.name,
                                   shape.nics, fabric.nics));
  if (shape.pcie_switches > 0 && fabric.nics % shape.pcie_switches != 0) {
    shape.pcie_switches = 0;
    shape.notes.insert("the fabric's NICs are not to be shared out among the PCIe switches, which are left out");
  }
  shape.nodes = fabric.nodes;
  shape.nics = fabric.nics;
  shape.nic_bandwidth = fabric.nic_bandwidth;
  return shape;
}

}  // namespace

nlohmann::ordered_json fabric_topology_of(const LogPlace& log, const std::optional<NodeFile>& node,
                                          const TopologyFiles& files, ImportSettings& settings,
                                          std::set<std::string>& notes) {
  const FabricShape fabric = shape_of(read_ibnetdiscover(log), log, settings);
  if (settings.text("nodes"))
    throw input_error("--set nodes", "", "the fabric says itself how many hosts it has", "leave it out");
  const NodeShape shape = node_of(log, node, fabric, settings);
  const std::string file = std::filesystem::path(log.name).filename().string();
  auto json = topology_of(shape, node ? node->log : log, files, settings);
  if (!settings.text("name")) {
    const std::string stem = std::filesystem::path(log.name).stem().string();
    json["name"] = stem.empty() ? "imported" : stem;
  }
  const std::string inside =
      node ? fmt::format("{}, {}", shape.tool, std::filesystem::path(node->log.name).filename().string())
           : std::string("as given at the import");
  json["about"] =
      fmt::format("Fabric imported from ibnetdiscover, {}: {}. Inside of a node: {}", file, fabric.nodes_are, inside);
  json["fabric"] = fabric.fabric;
  json["sources"]["node.nic.bandwidth"] = fmt::format("ibnetdiscover, {}: {}", file, fabric.speed);
  for (const auto& [number, source] : fabric.sources.items()) json["sources"][number] = source;
  notes.insert(fabric.notes.begin(), fabric.notes.end());
  notes.insert(shape.notes.begin(), shape.notes.end());
  return json;
}

}  // namespace foretoken::calibrate
