#include "calibrate/import/node_shape.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "core/quantity_text.hpp"
#include "plan/machine/limits.hpp"

namespace foretoken::calibrate {
namespace {

using Json = nlohmann::ordered_json;

// GB/s of one NVLink in one direction, by compute capability; nothing where generations differ within one,
// or where no links are known.
// Source: NVIDIA's datasheets: NVLink 2 and 3 (V100, A100) and 4 (H100) 25 GB/s, NVLink 5 (B200) 50 GB/s.
std::optional<double> nvlink_gb_per_s(std::int64_t sm, std::int64_t nvlinks) {
  if (nvlinks == 0) return std::nullopt;
  if (sm == 70 || sm == 80 || sm == 90) return 25;
  if (sm == 100 || sm == 103) return 50;
  return std::nullopt;
}

BytesPerSecond bandwidth_setting(ImportSettings& settings, std::string_view key, const std::string& log,
                                 std::string_view example) {
  const std::string text = settings.require_text(key, log, example);
  const auto rate = parse_bandwidth(text);
  if (!rate || *rate < plan::kBandwidthMin || *rate > plan::kBandwidthMax)
    throw input_error(fmt::format("--set {}={}", key, text), "", "is no bandwidth",
                      fmt::format("write for example {}", example));
  return *rate;
}

std::string gb_per_s(BytesPerSecond rate) { return fmt::format("{:.4g} GB/s", rate.value() / 1e9); }
std::string gbits_per_s(BytesPerSecond rate) { return fmt::format("{:.6g} Gb/s", rate.value() * 8 / 1e9); }

std::string file_setting(ImportSettings& settings, std::string_view key, const std::string& log, std::int64_t sm,
                         const std::string& known) {
  if (sm == 90 && !known.empty()) return settings.text(key).value_or(known);
  return settings.require_text(key, log, fmt::format("FILE, a {} for compute capability {}.{}", key, sm / 10, sm % 10));
}

}  // namespace

NodeShape read_node_shape(LogFormat format, const LogPlace& log) {
  FORETOKEN_CHECK(is_topology(format) && !is_fabric(format), "measurements and fabrics are no nodes");
  return format == LogFormat::nccl_topology ? read_nccl_topology(log) : read_nvidia_smi_topology(log);
}

void set_pcie_switches(NodeShape& shape, std::span<const PcieGroup> groups) {
  std::int64_t with_gpus = 0;
  bool even = true;
  const PcieGroup* first = nullptr;
  for (const PcieGroup& group : groups) {
    if (group.gpus == 0) continue;
    ++with_gpus;
    if (first == nullptr) first = &group;
    even = even && group.gpus == first->gpus && group.nics == first->nics;
  }
  even = even && first != nullptr && first->gpus * with_gpus == shape.gpus && first->nics * with_gpus == shape.nics;
  if (!even) {
    shape.notes.insert(
        "NICs do not hang evenly under the GPUs' PCIe switches; in the topology each GPU has a way of its "
        "own to its NIC");
    return;
  }
  if (first->gpus > 1) shape.pcie_switches = with_gpus;
}

Json topology_of(const NodeShape& shape, const LogPlace& log, const TopologyFiles& files, ImportSettings& settings) {
  const std::int64_t sm = shape.sm > 0 ? shape.sm : settings.require_integer("sm", 10, 999, log.name, "90");
  const std::optional<double> per_link = nvlink_gb_per_s(sm, shape.nvlinks);
  BytesPerSecond nvlink = per_link ? BytesPerSecond(*per_link * 1e9 * static_cast<double>(shape.nvlinks))
                                   : bandwidth_setting(settings, "nvlink", log.name, "'450 GB/s'");
  const bool nic_known = shape.nic_bandwidth.value() > 0;
  const bool pcie_known = shape.pcie_bandwidth.value() > 0;
  const BytesPerSecond nic =
      nic_known ? shape.nic_bandwidth : bandwidth_setting(settings, "nic", log.name, "'400 Gb/s'");
  const BytesPerSecond pcie =
      pcie_known ? shape.pcie_bandwidth : bandwidth_setting(settings, "pcie", log.name, "'63 GB/s'");
  const std::int64_t nodes = settings.integer("nodes", 1, plan::kNodesMax).value_or(shape.nodes);
  if (nodes * shape.gpus > plan::kGpusMax)
    throw input_error(fmt::format("--set nodes={}", nodes), "", fmt::format("{} GPUs in all", nodes * shape.gpus),
                      fmt::format("{} at most", plan::kGpusMax));
  const std::string from = fmt::format("{}, {}", shape.tool, std::filesystem::path(log.name).filename().string());
  const std::string by_user = "as given at the import of " + from;

  Json json{{"kind", "topology"}, {"schema_version", 1}};
  const std::string stem = std::filesystem::path(log.name).stem().string();
  json["name"] = settings.text("name").value_or(stem.empty() ? "imported" : stem);
  json["about"] = fmt::format(
      "Imported from {}; the device file is taken for compute capability {}.{}, and the fabric "
      "beyond the NICs, which no node knows, for non-blocking",
      from, sm / 10, sm % 10);
  json["device"] = file_setting(settings, "device", log.name, sm, files.device);
  json["calibration"] = file_setting(settings, "calibration", log.name, sm, files.calibration);
  json["nodes"] = nodes;
  Json node{{"gpus", shape.gpus}};
  if (shape.nics != shape.gpus) node["nics"] = shape.nics;
  node["nvlink"] = {{"bandwidth", gb_per_s(nvlink)}, {"latency", "100 ns"}, {"nvls", sm >= 90}};
  node["pcie"] = {{"bandwidth", gb_per_s(pcie)}, {"latency", "115 ns"}};
  if (shape.pcie_switches > 0) node["pcie"]["switches"] = shape.pcie_switches;
  node["nic"] = {{"bandwidth", gbits_per_s(nic)}, {"latency", "150 ns"}};
  json["node"] = std::move(node);
  json["fabric"] = {{"kind", "non_blocking"}};
  const char* assumed = "assumed: that of the shipped HGX H100 topologies; the source has none";
  json["sources"] = {{"node.nvlink.bandwidth",
                      per_link ? fmt::format("{}: {} NVLinks of {:g} GB/s each way (compute capability {}.{})", from,
                                             shape.nvlinks, *per_link, sm / 10, sm % 10)
                               : by_user},
                     {"node.nvlink.latency", assumed},
                     {"node.pcie.bandwidth", pcie_known ? fmt::format("{}: {}", from, shape.pcie_source) : by_user},
                     {"node.pcie.latency", assumed},
                     {"node.nic.bandwidth", nic_known ? fmt::format("{}: speed of its NICs", from) : by_user},
                     {"node.nic.latency", assumed}};
  settings.finish();
  return json;
}

}  // namespace foretoken::calibrate
