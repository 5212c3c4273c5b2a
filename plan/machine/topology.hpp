// Reading a topology file and building the machine graph from it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/device_spec.hpp"
#include "core/units.hpp"
#include "plan/machine/fabric_spec.hpp"
#include "plan/machine/limits.hpp"
#include "plan/machine/machine.hpp"

namespace foretoken::plan {

/// Nodes of GPUs behind one NVSwitch fabric each, NICs, and a fabric between them; or hosts, whose cores are the ranks:
/// one computer, or several with a NIC each and a fabric between them, which tools/netlab emulates on one.
struct Topology {
  std::string name;
  std::string about;
  DeviceSpec device;
  std::filesystem::path calibration;  // the one that goes with this machine; a host may have none yet
  std::int64_t nodes = 0;
  std::int64_t gpus_per_node = 0;   // of a host: ranks that it takes
  std::int64_t cores_per_node = 0;  // of a host; 0: nodes of GPUs, and all that follows
  bool emulated = false;            // hosts on one computer, which share its cores and memory
  std::vector<double> core_shares;  // [node] of an emulated host: cores whose time its ranks get at most; empty: all
  std::int64_t nics_per_node = 0;   // divides gpus_per_node; 0: one per GPU
  std::int64_t pcie_switches = 0;   // of a node, GPUs and NICs evenly under them; 0: each GPU has its NIC to itself
  BytesPerSecond nvlink_bandwidth;  // per GPU and direction
  Seconds nvlink_latency;           // GPU to NVSwitch, and NVSwitch to GPU
  bool nvls = false;
  BytesPerSecond pcie_bandwidth;  // per direction: GPU to NIC, or GPU to PCIe switch and PCIe switch to NIC
  Seconds pcie_latency;
  BytesPerSecond nic_bandwidth;  // per NIC and direction
  Seconds nic_latency;           // NIC to fabric, and fabric to NIC
  FabricSpec fabric;
  std::vector<DeviceSpec::Source> sources;  // of the numbers above; those that begin with "assumed" are guesses
};

/// NICs of one node.
inline std::int64_t nics_of_a_node(const Topology& topology) {
  return topology.nics_per_node > 0 ? topology.nics_per_node : topology.gpus_per_node;
}

/// What a scenario or a what-if changes in the file.
struct TopologyOverrides {
  std::optional<std::int64_t> nodes;
  std::optional<BytesPerSecond> nic_bandwidth;
};

/// Reads the format that topologies/README.md describes. Does not open the calibration: planning needs none.
/// @throws Error{invalid_input} naming file, pointer, what was found and what would be right
Topology read_topology(const std::filesystem::path& file, const TopologyOverrides& overrides = {});

/// Vertices, links and routes of the topology. Cost grows with GPUs and cables; routes are found when first asked for.
/// @param topology at most kNodesMax nodes, kGpusPerDomainMax GPUs each and kGpusMax GPUs in all; read_topology() or
///        whoever else made it has seen that its fabric joins all nodes
Machine build_machine(const Topology& topology);

}  // namespace foretoken::plan
