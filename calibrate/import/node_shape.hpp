// What NCCL's topology file or `nvidia-smi topo -m` tells of a cluster, and the topology file that is made of it.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <string>

#include "calibrate/import/imported.hpp"
#include "calibrate/import/log_formats.hpp"
#include "core/units.hpp"

namespace foretoken::calibrate {

/// Nodes that are all the same. What a source does not tell is zero.
struct NodeShape {
  std::string tool;  // "NCCL topology file"
  std::int64_t nodes = 0;
  std::int64_t gpus = 0;  // of a node
  std::int64_t nics = 0;
  std::int64_t pcie_switches = 0;  // with as many GPUs and NICs under each; 0: none, or one for each GPU
  std::int64_t nvlinks = 0;        // of each GPU, to the NVSwitches
  std::int64_t sm = 0;             // 90 is Hopper
  BytesPerSecond nic_bandwidth;    // per direction
  BytesPerSecond pcie_bandwidth;
  std::string pcie_source;      // how that number comes about
  std::set<std::string> notes;  // for the user: what the topology leaves out
};

/// What hangs under one PCIe switch, or under one root port.
struct PcieGroup {
  std::int64_t gpus = 0;
  std::int64_t nics = 0;
};

/// Sets the PCIe switches: as many as groups, where all hold as many GPUs and NICs and some hold several GPUs. What no
/// topology can say, NICs unevenly spread or apart from the GPUs, becomes a note.
/// Preconditions: gpus and nics are set.
void set_pcie_switches(NodeShape& shape, std::span<const PcieGroup> groups);

/// Files that a topology has to name, for the GPUs that are known: compute capability 9.0.
struct TopologyFiles {
  std::string device;  // relative to where the topology will be
  std::string calibration;
};

/// Reads an NCCL topology file, one host or several.
/// @throws Error{invalid_input} naming file and line for what is no XML, no topology of version 1, damaged, or not what
///         topologies can say: nodes that differ, GPUs with different numbers of NVLinks, NICs that do not divide them
NodeShape read_nccl_topology(const LogPlace& log);

/// Reads the matrix that `nvidia-smi topo -m` prints, of one node. It tells numbers of NVLinks and what hangs under one
/// PCIe switch, and no bandwidth at all.
/// @throws Error{invalid_input} naming file and line for a damaged matrix, and for pairs of GPUs that are not all
/// joined
///         by as many NVLinks
NodeShape read_nvidia_smi_topology(const LogPlace& log);

NodeShape read_node_shape(LogFormat format, const LogPlace& log);

/// A topology file, as topologies/README.md describes. Numbers that the source does not have come from the settings
/// nic, pcie, sm, nodes, device, calibration and name; latencies, which no such file has, are assumed to be those of
/// the shipped topologies, and say so in `sources`.
/// @throws Error{invalid_input} for a setting that is missing, out of range or not wanted
nlohmann::ordered_json topology_of(const NodeShape& shape, const LogPlace& log, const TopologyFiles& files,
                                   ImportSettings& settings);

}  // namespace foretoken::calibrate
