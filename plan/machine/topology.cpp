// Reads a topology file. The format is described in topologies/README.md.
#include "plan/machine/topology.hpp"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "core/json_reader.hpp"
#include "core/schema_header.hpp"
#include "plan/machine/domain_limit.hpp"
#include "plan/machine/wiring.hpp"

namespace foretoken::plan {
namespace {

constexpr std::int64_t kTopologyVersion = 1;
// House rule: a number without a source is no number. Reports tell the assumed ones from the rest.
constexpr std::array<std::string_view, 6> kSourcedNumbers{"node.nvlink.bandwidth", "node.nvlink.latency",
                                                          "node.pcie.bandwidth",   "node.pcie.latency",
                                                          "node.nic.bandwidth",    "node.nic.latency"};

constexpr std::array<std::string_view, 2> kSourcedHostNumbers{"node.host.cores", "node.host.memory"};
constexpr std::array<std::string_view, 2> kSourcedHostNic{"node.nic.bandwidth", "node.nic.latency"};

struct Port {
  BytesPerSecond bandwidth;
  Seconds latency;
};

Port read_port(JsonObject& port) {
  return {port.require("bandwidth").as_bandwidth(kBandwidthMin, kBandwidthMax),
          port.require("latency").as_duration(Seconds(0), kLatencyMax)};
}

Port read_closed_port(const JsonReader& place) {
  JsonObject object(place);
  const Port port = read_port(object);
  object.finish();
  return port;
}

// Only netlab can see to it that a node gets no more.
void read_core_shares(const JsonReader& place, Topology& topology) {
  if (!topology.emulated)
    place.fail("the nodes are not emulated", "leave it out, or write \"emulated\": true before a lab is made of it");
  topology.core_shares = place.as_numbers(1, kNodesMax, kCoreShareMin, static_cast<double>(topology.cores_per_node));
  if (static_cast<std::int64_t>(topology.core_shares.size()) != topology.nodes)
    place.fail(fmt::format("{} shares for {} nodes", topology.core_shares.size(), topology.nodes),
               "write one for each node");
}

// The device of a host is its CPU, about which a datasheet says nothing that a calibration would need.
void read_host(const JsonReader& place, Topology& topology) {
  JsonObject host(place);
  topology.device.name = host.require("cpu").as_string();
  topology.device.memory = host.require("memory").as_bytes(Bytes(1), Bytes(std::int64_t{1} << 50));
  topology.cores_per_node = host.require("cores").as_integer(1, kCoresPerNodeMax);
  topology.gpus_per_node = host.require("ranks").as_integer(1, kRanksPerHostMax);
  if (const auto emulated = host.optional("emulated")) topology.emulated = emulated->as_bool();
  if (const auto shares = host.optional("core_shares")) read_core_shares(*shares, topology);
  host.finish();
}

void read_node(const JsonReader& place, Topology& topology) {
  JsonObject node(place);
  topology.gpus_per_node = node.require("gpus").as_integer(1, kGpusPerDomainMax);
  if (const auto nics = node.optional("nics")) {
    topology.nics_per_node = nics->as_integer(1, kGpusPerDomainMax);
    if (topology.gpus_per_node % topology.nics_per_node != 0)
      nics->fail(fmt::format("{} does not divide the {} GPUs", topology.nics_per_node, topology.gpus_per_node),
                 "every NIC serves as many GPUs: write a divisor of node.gpus");
  }

  JsonObject nvlink(node.require("nvlink"));
  const Port nvlink_port = read_port(nvlink);
  topology.nvlink_bandwidth = nvlink_port.bandwidth;
  topology.nvlink_latency = nvlink_port.latency;
  topology.nvls = nvlink.require("nvls").as_bool();
  nvlink.finish();

  JsonObject pcie(node.require("pcie"));
  const Port pcie_port = read_port(pcie);
  topology.pcie_bandwidth = pcie_port.bandwidth;
  topology.pcie_latency = pcie_port.latency;
  if (const auto switches = pcie.optional("switches")) {
    topology.pcie_switches = switches->as_integer(1, kGpusPerDomainMax);
    if (nics_of_a_node(topology) % topology.pcie_switches != 0)
      switches->fail(fmt::format("{} does not divide the {} NICs", topology.pcie_switches, nics_of_a_node(topology)),
                     "every switch has as many GPUs and NICs under it: write a divisor of node.nics");
  }
  pcie.finish();

  const Port nic = read_closed_port(node.require("nic"));
  topology.nic_bandwidth = nic.bandwidth;
  topology.nic_latency = nic.latency;
  node.finish();
}

// The device file named by `place`, relative to the topology file.
DeviceSpec read_device(const JsonReader& place) {
  const std::filesystem::path file = place.directory() / place.as_string();
  std::error_code status;
  if (!std::filesystem::is_regular_file(file, status))
    place.fail(fmt::format("there is no regular file {}", file.string()),
               "name a device file, with a path that starts from the directory of this file");
  return read_device_spec(file);
}

void check_nic(const std::string& file, BytesPerSecond bandwidth) {
  // Written so that a NaN fails as well.
  if (bandwidth >= kBandwidthMin && bandwidth <= kBandwidthMax) return;
  throw input_error(file, "/node/nic/bandwidth", fmt::format("the override {} B/s is out of range", bandwidth.value()),
                    "give for example \"400 Gb/s\"");
}

void check_size(const std::string& file, const Topology& topology) {
  if (topology.nodes < 1 || topology.nodes > kNodesMax)
    throw input_error(file, "/nodes", fmt::format("the override {} is out of range", topology.nodes),
                      fmt::format("give a whole number from 1 to {}", kNodesMax));
  const std::int64_t gpus = topology.nodes * topology.gpus_per_node;
  if (gpus > kGpusMax)
    throw input_error(
        file, "/nodes", fmt::format("{} nodes of {} GPUs are {} GPUs", topology.nodes, topology.gpus_per_node, gpus),
        fmt::format("at most {} are supported: {} such nodes", kGpusMax, kGpusMax / topology.gpus_per_node));
}

void read_sources(JsonObject& root, std::span<const std::string_view> numbers, const FabricSpec& fabric,
                  Topology& topology) {
  JsonObject sources(root.require("sources"));
  const auto read = [&](std::string_view number) {
    topology.sources.push_back({std::string(number), sources.require(number).as_string()});
  };
  for (const std::string_view number : numbers) read(number);
  for (const std::string_view number : sourced_numbers(fabric)) read(number);
  sources.finish();
}

// The fabric goes with the number of nodes that there will be.
void check_fabric(const std::string& file, std::int64_t nodes_of_file, const Topology& topology) {
  const FabricSpec& fabric = topology.fabric;
  if (fabric.kind == FabricKind::non_blocking) return;
  if (fabric.kind == FabricKind::explicit_list) {
    if (topology.nodes != nodes_of_file)
      throw input_error(file, "/nodes",
                        fmt::format("the override {} is not the {} nodes", topology.nodes, nodes_of_file),
                        "the fabric lists the cables of that many nodes: leave cluster.nodes out");
    const NodePair parted = find_parted_nodes(wire(topology));
    if (parted.a >= 0)
      throw input_error(file, "/fabric/links", fmt::format("no cables lead from node{} to node{}", parted.a, parted.b),
                        "join a NIC of each to switches that reach one another");
    return;
  }
  const std::int64_t nics = nics_of_a_node(topology);
  const std::int64_t leaves = leaves_of(fabric, topology.nodes, nics);
  const std::int64_t per_group = fabric.kind == FabricKind::rail_optimised ? nics : 1;
  if (fabric.spines == 0 && leaves > per_group)
    throw input_error(file, "/fabric/spines",
                      fmt::format("{} nodes are {} pods, and no spine joins them", topology.nodes, leaves / per_group),
                      "write at least 1, or make one pod of all nodes");
  const std::int64_t cables = leaves * fabric.spines * fabric.cables_per_spine;
  if (fabric.spread == Spread::hash && cables > kSwitchCablesMax)
    throw input_error(file, "/fabric/spines",
                      fmt::format("{} leaves x {} spines x {} cables are {} cables", leaves, fabric.spines,
                                  fabric.cables_per_spine, cables),
                      fmt::format("at most {} are possible", kSwitchCablesMax));
}

// What only nodes of GPUs have: ports, a fabric, a device file.
void read_gpu_machine(JsonObject& root, const JsonReader& node, const std::filesystem::path& directory,
                      const TopologyOverrides& overrides, const std::string& file, Topology& topology) {
  read_node(node, topology);
  if (overrides.nic_bandwidth) {
    topology.nic_bandwidth = *overrides.nic_bandwidth;
    check_nic(file, topology.nic_bandwidth);
  }
  topology.fabric = read_fabric(
      root.require("fabric"), {topology.nodes, nics_of_a_node(topology), topology.nic_bandwidth, topology.nic_latency});
  read_sources(root, kSourcedNumbers, topology.fabric, topology);
  const JsonReader device = root.require("device");
  topology.calibration = directory / root.require("calibration").as_string();
  topology.device = read_device(device);
}

void read_host_machine(JsonObject& root, JsonObject& node, const std::filesystem::path& directory,
                       const TopologyOverrides& overrides, const std::string& file, Topology& topology) {
  read_host(node.require("host"), topology);
  std::vector<std::string_view> numbers(kSourcedHostNumbers.begin(), kSourcedHostNumbers.end());
  if (!topology.core_shares.empty()) {
    numbers.emplace_back("node.host.core_shares");
    if (overrides.nodes.value_or(topology.nodes) != topology.nodes)
      throw input_error(file, "/node/host/core_shares",
                        fmt::format("are of {} nodes, and the override is {}", topology.nodes, *overrides.nodes),
                        "leave cluster.nodes out");
  }
  if (const auto nic = node.optional("nic")) {
    numbers.insert(numbers.end(), kSourcedHostNic.begin(), kSourcedHostNic.end());
    const Port port = read_closed_port(*nic);
    topology.nics_per_node = 1;
    topology.nic_bandwidth = overrides.nic_bandwidth.value_or(port.bandwidth);
    check_nic(file, topology.nic_bandwidth);
    topology.nic_latency = port.latency;
    topology.fabric =
        read_fabric(root.require("fabric"), {topology.nodes, 1, topology.nic_bandwidth, topology.nic_latency});
  } else if (topology.nodes != 1 || overrides.nodes.value_or(1) != 1) {
    throw input_error(file, "/nodes", "hosts without NICs are one computer",
                      "write 1, or give \"node\": {\"nic\": …} and \"fabric\"");
  } else if (overrides.nic_bandwidth) {
    throw input_error(file, "/node/host", "this host has no NIC", "leave cluster.nic out");
  }
  read_sources(root, numbers, topology.fabric, topology);
  if (const auto calibration = root.optional("calibration"))
    topology.calibration = directory / calibration->as_string();
}

}  // namespace

Topology read_topology(const std::filesystem::path& file, const TopologyOverrides& overrides) {
  const JsonDocument document = JsonDocument::from_file(file);
  JsonObject root(document.root());
  static_cast<void>(read_schema_header(root, "topology", kTopologyVersion));

  Topology topology;
  topology.name = root.require("name").as_string();
  if (const auto about = root.optional("about")) topology.about = about->as_string(true);
  topology.nodes = root.require("nodes").as_integer(1, kNodesMax);
  const JsonReader node = root.require("node");
  if (node.is_object() && node.json().contains("host")) {
    JsonObject only(node);
    read_host_machine(root, only, document.directory(), overrides, document.name(), topology);
    only.finish();
  } else {
    read_gpu_machine(root, node, document.directory(), overrides, document.name(), topology);
  }
  root.finish();
  const std::int64_t nodes_of_file = topology.nodes;
  if (overrides.nodes) topology.nodes = *overrides.nodes;
  check_size(document.name(), topology);
  check_fabric(document.name(), nodes_of_file, topology);
  return topology;
}

}  // namespace foretoken::plan
