// What joins the NICs of a cluster, as its topology file says it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/json_reader.hpp"
#include "core/units.hpp"

namespace foretoken::plan {

/// non_blocking    one vertex: NICs wait for one another at their own ports only
/// leaf_spine      the NICs of some nodes on one leaf switch; every leaf cabled to every spine
/// rail_optimised  NIC r of every node of a pod on the pod's leaf r; every leaf cabled to every spine
/// explicit_list   switches and cables one by one
enum class FabricKind : std::uint8_t { non_blocking, leaf_spine, rail_optimised, explicit_list };
inline constexpr std::array<std::pair<FabricKind, std::string_view>, 4> kFabricKindNames{
    {{FabricKind::non_blocking, "non_blocking"},
     {FabricKind::leaf_spine, "leaf_spine"},
     {FabricKind::rail_optimised, "rail_optimised"},
     {FabricKind::explicit_list, "explicit"}}};

/// How the transport spreads messages over paths of equal length.
///
/// hash   one path per pair of GPUs, by a hash at every switch (ECMP): some cables get more than their share
/// ideal  every message over all of them evenly (spraying): the cables of a leaf are one trunk of their summed capacity
enum class Spread : std::uint8_t { hash, ideal };
inline constexpr std::array<std::pair<Spread, std::string_view>, 2> kSpreadNames{
    {{Spread::hash, "hash"}, {Spread::ideal, "ideal"}}};

/// Some equal cables between two vertices; each is a link of its own in each direction.
struct Cable {
  std::string from;  // "node2.nic5", or the name of a switch
  std::string to;
  BytesPerSecond bandwidth;  // of each, per direction
  Seconds latency;
  std::int64_t count = 1;
};

struct FabricSpec {
  FabricKind kind = FabricKind::non_blocking;
  Spread spread = Spread::hash;
  std::uint64_t salt = 0;  // of the hash
  /// Whether a message may be forwarded over NVLink to the GPU of another NIC that is nearer to its destination.
  bool pxn = false;

  // leaf_spine, rail_optimised
  std::int64_t nodes_per_leaf = 0;  // rail_optimised: nodes of a pod
  std::int64_t spines = 0;
  std::int64_t cables_per_spine = 1;  // from each leaf
  BytesPerSecond uplink_bandwidth;    // of one cable; 0: by oversubscription
  double oversubscription = 0;        // capacity of a full leaf's NICs over that of its cables; 0: by uplink_bandwidth
  Seconds uplink_latency;             // leaf to spine, and spine to leaf

  // explicit_list
  std::vector<std::string> switches;
  std::vector<Cable> cables;
};

inline constexpr std::int64_t kSpinesMax = 16'384;
inline constexpr std::int64_t kCablesPerSpineMax = 1'024;
inline constexpr std::int64_t kSwitchesMax = 65'536;
inline constexpr std::int64_t kSwitchCablesMax = 1 << 21;  // between switches, in all

/// What read_fabric needs to know of the rest of the file.
struct FabricSurroundings {
  std::int64_t nodes = 0;          // as the file says
  std::int64_t nics_per_node = 0;  // of each
  BytesPerSecond nic_bandwidth;    // of a cable that does not say
  Seconds nic_latency;
};

/// Reads the member `fabric`; see topologies/README.md.
/// @throws Error{invalid_input} naming file, pointer, what was found and what would be right
FabricSpec read_fabric(const JsonReader& place, const FabricSurroundings& around);

/// Keys that `sources` needs for the numbers of this fabric, beside those of the node.
std::vector<std::string_view> sourced_numbers(const FabricSpec& fabric);

/// Leaves that a cluster of this size has: leaf_spine one per nodes_per_leaf, rail_optimised one per pod and NIC.
std::int64_t leaves_of(const FabricSpec& fabric, std::int64_t nodes, std::int64_t nics_per_node);

}  // namespace foretoken::plan
