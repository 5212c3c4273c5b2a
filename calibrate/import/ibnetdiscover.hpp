// An InfiniBand fabric as `ibnetdiscover` found it: switches, adapters, and who is cabled to whom at what speed.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "calibrate/import/imported.hpp"
#include "calibrate/import/node_shape.hpp"
#include "core/units.hpp"

namespace foretoken::calibrate {

enum class IbKind : std::uint8_t { channel_adapter, ib_switch, router };

/// What has ports, by the GUID that is its own.
struct IbDevice {
  IbKind kind = IbKind::channel_adapter;
  std::uint64_t guid = 0;
  auto operator<=>(const IbDevice&) const = default;
};

struct IbEnd {
  IbDevice device;
  std::int64_t port = 0;
  auto operator<=>(const IbEnd&) const = default;
};

struct IbCable {
  IbEnd a;  // the lesser
  IbEnd b;
  BytesPerSecond bandwidth;  // data, per direction
  std::string speed;         // "4xNDR"
};

struct IbFabric {
  std::map<IbDevice, std::string> descriptions;
  std::vector<IbCable> cables;  // each once, though both ends list it
};

/// Reads what `ibnetdiscover` prints, with or without -f and -g, or its list of ports, `ibnetdiscover -p`.
/// @throws Error{invalid_input} naming file and line for lines of another form, ports or devices that appear twice, a
///         speed that is not known, and ends that contradict one another: cut files and failed discoveries
IbFabric read_ibnetdiscover(const LogPlace& log);

/// The fabric as a topology file says it, and the nodes on it.
struct FabricShape {
  std::int64_t nodes = 0;
  std::int64_t nics = 0;           // of each node
  BytesPerSecond nic_bandwidth;    // of the fastest cable
  std::string speed;               // of that: "4xNDR"
  nlohmann::ordered_json fabric;   // the member `fabric`
  nlohmann::ordered_json sources;  // of its numbers
  std::string nodes_are;           // "node0 is gpu001, ... node31 is gpu032"
  std::set<std::string> notes;     // what was left out or taken for granted
};

/// Hosts are the first words of adapters' descriptions, NICs their adapters in the order of their names. Adapters that
/// are slow on every host are left out (storage), and so are hosts with less than half as many as others, and what
/// switches have inside for in-network reduction. Leaves and spines that follow a rule become `rail_optimised`,
/// `leaf_spine` or `non_blocking`, with nodes in the order of their leaves; all else a list.
///
/// Settings: hosts (a prefix of their names), hcas (adapters by name, in the order of the NICs; of two-ported ones
/// "mlx5_0/1"), switch_latency.
/// @throws Error{invalid_input} if there are no hosts, or their adapters have no names
FabricShape shape_of(const IbFabric& fabric, const LogPlace& log, ImportSettings& settings);

/// What one of the nodes has inside, from another file.
struct NodeFile {
  LogFormat format = LogFormat::nccl_topology;
  LogPlace log;
};

/// A topology file of the fabric in `log`, as topology_of() of one node. Without a node file, the settings gpus, sm,
/// nvlink and pcie say what is in a node.
/// @param notes  for the user: added to
/// @throws Error{invalid_input} as read_ibnetdiscover(), shape_of() and topology_of(), and if the fabric's NICs are not
///         to be shared out among the GPUs of a node
nlohmann::ordered_json fabric_topology_of(const LogPlace& log, const std::optional<NodeFile>& node,
                                          const TopologyFiles& files, ImportSettings& settings,
                                          std::set<std::string>& notes);

}  // namespace foretoken::calibrate
