// Reading a topology file and building the machine graph from it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/device_spec.hpp"
#include "core/units.hpp"
#include "plan/machine/machine.hpp"

namespace foretoken::plan {

inline constexpr std::int64_t kNodesMax = 16'384;
inline constexpr std::int64_t kGpusPerNodeMax = 64;
inline constexpr std::int64_t kGpusMax = 131'072;
inline constexpr std::int64_t kCoresPerNodeMax = 4'096;
inline constexpr std::int64_t kRanksPerHostMax = 256;

/// Nodes of GPUs behind one NVSwitch fabric each, one NIC per GPU, and a non-blocking fabric between the NICs; or a
/// host, one computer whose cores are the ranks.
struct Topology {
  std::string name;
  std::string about;
  DeviceSpec device;
  std::filesystem::path calibration;  // the one that goes with this machine; a host may have none yet
  std::int64_t nodes = 0;
  std::int64_t gpus_per_node = 0;   // of a host: ranks that it takes
  std::int64_t cores_per_node = 0;  // of a host; 0: nodes of GPUs, and all that follows
  BytesPerSecond nvlink_bandwidth;  // per GPU and direction
  Seconds nvlink_latency;           // GPU to NVSwitch, and NVSwitch to GPU
  bool nvls = false;
  BytesPerSecond pcie_bandwidth;  // GPU to NIC, per direction
  Seconds pcie_latency;
  BytesPerSecond nic_bandwidth;             // per NIC and direction
  Seconds nic_latency;                      // NIC to fabric, and fabric to NIC
  std::vector<DeviceSpec::Source> sources;  // of the numbers above; those that begin with "assumed" are guesses
};

/// What a scenario or a what-if changes in the file.
struct TopologyOverrides {
  std::optional<std::int64_t> nodes;
  std::optional<BytesPerSecond> nic_bandwidth;
};

/// Reads the format that topologies/README.md describes. Does not open the calibration: planning needs none.
/// @throws Error{invalid_input} naming file, pointer, what was found and what would be right
Topology read_topology(const std::filesystem::path& file, const TopologyOverrides& overrides = {});

/// Vertices, links and routes of the topology. Cost grows with GPUs; routes are found when first asked for.
/// @param topology at most kNodesMax nodes, kGpusPerNodeMax GPUs each and kGpusMax GPUs in all
Machine build_machine(const Topology& topology);

}  // namespace foretoken::plan
