// Reads a topology file. The format is described in topologies/README.md.
#include "plan/machine/topology.hpp"

#include <fmt/format.h>

#include <array>
#include <string_view>
#include <system_error>
#include <utility>

#include "core/json_reader.hpp"
#include "core/schema_header.hpp"

namespace foretoken::plan {
namespace {

constexpr std::int64_t kTopologyVersion = 1;
constexpr BytesPerSecond kBandwidthMin{1e3};
constexpr BytesPerSecond kBandwidthMax{1e15};
constexpr Seconds kLatencyMax{1.0};

enum class FabricKind { non_blocking };
constexpr std::array<std::pair<FabricKind, std::string_view>, 1> kFabricKindNames{
    {{FabricKind::non_blocking, "non_blocking"}}};

// House rule: a number without a source is no number. Reports tell the assumed ones from the rest.
constexpr std::array<std::string_view, 6> kSourcedNumbers{"node.nvlink.bandwidth", "node.nvlink.latency",
                                                          "node.pcie.bandwidth",   "node.pcie.latency",
                                                          "node.nic.bandwidth",    "node.nic.latency"};

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

void read_node(const JsonReader& place, Topology& topology) {
  JsonObject node(place);
  topology.gpus_per_node = node.require("gpus").as_integer(1, kGpusPerNodeMax);

  JsonObject nvlink(node.require("nvlink"));
  const Port nvlink_port = read_port(nvlink);
  topology.nvlink_bandwidth = nvlink_port.bandwidth;
  topology.nvlink_latency = nvlink_port.latency;
  topology.nvls = nvlink.require("nvls").as_bool();
  nvlink.finish();

  const Port pcie = read_closed_port(node.require("pcie"));
  topology.pcie_bandwidth = pcie.bandwidth;
  topology.pcie_latency = pcie.latency;

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

}  // namespace

Topology read_topology(const std::filesystem::path& file, const TopologyOverrides& overrides) {
  const JsonDocument document = JsonDocument::from_file(file);
  JsonObject root(document.root());
  static_cast<void>(read_schema_header(root, "topology", kTopologyVersion));

  Topology topology;
  topology.name = root.require("name").as_string();
  if (const auto about = root.optional("about")) topology.about = about->as_string(true);
  topology.nodes = root.require("nodes").as_integer(1, kNodesMax);
  read_node(root.require("node"), topology);

  JsonObject fabric(root.require("fabric"));
  static_cast<void>(fabric.require("kind").as_enum(kFabricKindNames));
  fabric.finish();

  JsonObject sources(root.require("sources"));
  for (const std::string_view number : kSourcedNumbers)
    topology.sources.push_back({std::string(number), sources.require(number).as_string()});
  sources.finish();

  const JsonReader device = root.require("device");
  topology.calibration = document.directory() / root.require("calibration").as_string();
  root.finish();

  if (overrides.nodes) topology.nodes = *overrides.nodes;
  if (overrides.nic_bandwidth) {
    topology.nic_bandwidth = *overrides.nic_bandwidth;
    check_nic(document.name(), topology.nic_bandwidth);
  }
  check_size(document.name(), topology);
  topology.device = read_device(device);
  return topology;
}

}  // namespace foretoken::plan
