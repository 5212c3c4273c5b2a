// Reading a topology file and building the machine graph from it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "core/device_spec.hpp"
#include "core/units.hpp"
#include "plan/machine/machine.hpp"

namespace foretoken::plan {

/// Nodes of GPUs behind one NVSwitch fabric each, one NIC per GPU, and a non-blocking fabric between the NICs.
struct Topology {
  std::string name;
  std::string about;
  DeviceSpec device;
  std::filesystem::path calibration;  // the one that goes with this machine
  std::int64_t nodes = 0;
  std::int64_t gpus_per_node = 0;
  BytesPerSecond nvlink_bandwidth;  // per GPU and direction
  Seconds nvlink_latency;           // GPU to NVSwitch, and NVSwitch to GPU
  bool nvls = false;
  BytesPerSecond pcie_bandwidth;  // GPU to NIC, per direction
  Seconds pcie_latency;
  BytesPerSecond nic_bandwidth;  // per NIC and direction
  Seconds nic_latency;           // NIC to fabric, and fabric to NIC
};

/// What a scenario or a what-if changes in the file.
struct TopologyOverrides {
  std::optional<std::int64_t> nodes;
  std::optional<BytesPerSecond> nic_bandwidth;
};

/// @throws Error{invalid_input} naming file, pointer, what was found and what would be right
Topology read_topology(const std::filesystem::path& file, const TopologyOverrides& overrides = {});

/// Vertices, links and routes of the topology. Cost grows with GPUs; routes are found when first asked for.
Machine build_machine(const Topology& topology);

}  // namespace foretoken::plan
