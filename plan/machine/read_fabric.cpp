// The member `fabric` of a topology file.
#include <fmt/format.h>

#include <limits>
#include <set>

#include "core/json_reader.hpp"
#include "plan/machine/fabric_spec.hpp"
#include "plan/machine/limits.hpp"
#include "plan/machine/vertex_names.hpp"

namespace foretoken::plan {
namespace {

constexpr std::int64_t kSaltMax = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kNodesPerLeafMax = 16'384;
constexpr double kOversubscriptionMax = 1e3;

void read_clos(JsonObject& object, FabricSpec& fabric) {
  const bool rails = fabric.kind == FabricKind::rail_optimised;
  const JsonReader group = object.require(rails ? "nodes_per_pod" : "nodes_per_leaf");
  fabric.nodes_per_leaf = group.as_integer(1, kNodesPerLeafMax);
  // Rails without spines are joined by NVLink inside the nodes alone.
  fabric.spines = object.require("spines").as_integer(0, kSpinesMax);
  if (const auto spread = object.optional("spread")) fabric.spread = spread->as_enum(kSpreadNames);
  if (rails) {
    const auto pxn = object.optional("pxn");
    fabric.pxn = pxn ? pxn->as_bool() : true;
  }
  if (fabric.spines == 0 && !rails)
    object.require("spines").fail("leaves need a spine to reach one another", "write at least 1");
  if (fabric.spines == 0 && !fabric.pxn)
    object.require("pxn").fail("without spines only forwarding over NVLink reaches another rail",
                               "write \"pxn\": true, or give spines");

  const JsonReader place = object.require("uplink");
  JsonObject uplink(place);
  if (const auto cables = uplink.optional("cables"))
    fabric.cables_per_spine = cables->as_integer(1, kCablesPerSpineMax);
  fabric.uplink_latency = uplink.require("latency").as_duration(Seconds(0), kLatencyMax);
  const auto bandwidth = uplink.optional("bandwidth");
  const auto oversubscription = uplink.optional("oversubscription");
  if (bandwidth) fabric.uplink_bandwidth = bandwidth->as_bandwidth(kBandwidthMin, kBandwidthMax);
  if (oversubscription) fabric.oversubscription = oversubscription->as_number(1e-3, kOversubscriptionMax);
  if (bandwidth.has_value() == oversubscription.has_value())
    place.fail(bandwidth ? "both \"bandwidth\" and \"oversubscription\" say how fast a leaf's cables are"
                         : "nothing says how fast a leaf's cables are",
               "give \"bandwidth\", of one cable, or \"oversubscription\"");
  uplink.finish();
}

// One end of a cable: a switch of the list, or a NIC.
std::string read_end(const JsonReader& place, const FabricSurroundings& around, const std::set<std::string>& switches) {
  const std::string name = place.as_string();
  if (switches.contains(name)) return name;
  const auto nic = parse_node_part(name, "nic");
  if (!nic)
    place.fail(fmt::format("\"{}\" is neither a switch of this fabric nor a NIC", name),
               "name one of fabric.switches, or a NIC such as \"node0.nic1\"");
  if (nic->node >= around.nodes || nic->index >= around.nics_per_node)
    place.fail(fmt::format("there is no \"{}\"", name), fmt::format("nodes go from 0 to {}, their NICs from 0 to {}",
                                                                    around.nodes - 1, around.nics_per_node - 1));
  return name;
}

void read_list(JsonObject& object, const FabricSurroundings& around, FabricSpec& fabric) {
  if (const auto pxn = object.optional("pxn")) fabric.pxn = pxn->as_bool();
  std::set<std::string> switches;
  for (const JsonReader& element : object.require("switches").as_array(1, kSwitchesMax)) {
    fabric.switches.push_back(element.as_string());
    if (parse_node_part(fabric.switches.back(), ""))
      element.fail(fmt::format("{} reads like a part of a node", element.shown()), "choose another name");
    if (!switches.insert(fabric.switches.back()).second)
      element.fail(fmt::format("{} appears twice", element.shown()), "give every switch a name of its own");
  }
  std::int64_t cables = 0;
  for (const JsonReader& element : object.require("links").as_array(1, kSwitchCablesMax)) {
    JsonObject link(element);
    Cable cable;
    const auto ends = link.require("between").as_array(2, 2);
    cable.from = read_end(ends[0], around, switches);
    cable.to = read_end(ends[1], around, switches);
    const bool at_nic = !switches.contains(cable.from) || !switches.contains(cable.to);
    if (!switches.contains(cable.from) && !switches.contains(cable.to))
      element.fail("both ends are NICs", "put a switch between them");
    if (cable.from == cable.to) element.fail("both ends are the same switch", "name two");
    const auto bandwidth = at_nic ? link.optional("bandwidth") : link.require("bandwidth");
    const auto latency = at_nic ? link.optional("latency") : link.require("latency");
    cable.bandwidth = bandwidth ? bandwidth->as_bandwidth(kBandwidthMin, kBandwidthMax) : around.nic_bandwidth;
    cable.latency = latency ? latency->as_duration(Seconds(0), kLatencyMax) : around.nic_latency;
    if (const auto count = link.optional("count")) cable.count = count->as_integer(1, kCablesPerSpineMax);
    cables += cable.count;
    if (cables > kSwitchCablesMax)
      element.fail("there are too many cables", fmt::format("at most {} are possible", kSwitchCablesMax));
    link.finish();
    fabric.cables.push_back(std::move(cable));
  }
}

}  // namespace

FabricSpec read_fabric(const JsonReader& place, const FabricSurroundings& around) {
  JsonObject object(place);
  FabricSpec fabric;
  fabric.kind = object.require("kind").as_enum(kFabricKindNames);
  if (fabric.kind != FabricKind::non_blocking) {
    if (const auto salt = object.optional("salt"))
      fabric.salt = static_cast<std::uint64_t>(salt->as_integer(0, kSaltMax));
    if (fabric.kind == FabricKind::explicit_list) read_list(object, around, fabric);
    else read_clos(object, fabric);
  }
  object.finish();
  return fabric;
}

std::vector<std::string_view> sourced_numbers(const FabricSpec& fabric) {
  switch (fabric.kind) {
    case FabricKind::non_blocking: break;
    case FabricKind::explicit_list: return {"fabric.links"};
    case FabricKind::leaf_spine:
    case FabricKind::rail_optimised:
      return {fabric.oversubscription > 0 ? "fabric.uplink.oversubscription" : "fabric.uplink.bandwidth",
              "fabric.uplink.latency"};
  }
  return {};
}

std::int64_t leaves_of(const FabricSpec& fabric, std::int64_t nodes, std::int64_t nics_per_node) {
  if (fabric.nodes_per_leaf == 0) return 0;
  const std::int64_t groups = (nodes + fabric.nodes_per_leaf - 1) / fabric.nodes_per_leaf;
  return fabric.kind == FabricKind::rail_optimised ? groups * nics_per_node : groups;
}

}  // namespace foretoken::plan
