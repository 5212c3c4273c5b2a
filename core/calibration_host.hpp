// The calibration of one computer's CPUs: what the runtime's verbs cost a core, alone and with all cores busy.
//
// Made by calibrate/measure, used by sim/cost/host_cost.hpp.
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/held_out.hpp"
#include "core/host_terms.hpp"
#include "core/json_reader.hpp"
#include "core/units.hpp"

namespace foretoken {

/// Of compute ops: one rank at work on the computer, or one on every core at once. Of messages: ranks that have a core
/// each, or ranks that take turns.
enum class HostLoad : std::uint8_t { alone, crowded };

/// Time per byte of reading a block over and over, by the size of what all cores read together: the caches' steps.
struct HostCachePoint {
  Bytes footprint;
  Seconds per_byte;
};

/// What one communicator's messages cost the ranks that send and receive them.
struct HostCommunication {
  std::string communicator;  ///< "threads", "mpi"
  std::string source;
  std::array<HostTerms, 2> unit_costs;  ///< [HostLoad] seconds per unit; the family's own terms only
  std::array<bool, 2> measured{};       ///< [HostLoad] else the other load's costs stand for it
  Seconds wake{};                       ///< from a message's end until the rank that waits for it goes on
  HeldOut held_out;
};

/// CPU time of one end of messages between nodes: per message, and per byte.
struct HostNetworkWork {
  Seconds message{};
  Seconds byte{};
};

/// Messages between nodes: one that has its links to itself takes
///
///   latency + (bytes + overhead) / (payload x rate)
///
/// and puts acknowledged x (bytes + overhead) on the links of the way back meanwhile.
struct HostNetwork {
  std::string source;
  double payload = 1;       ///< of a link's nominal rate in one direction, in (0, 1]
  double acknowledged = 0;  ///< of the bytes of payload, in [0, 1): what the receiver sends back
  Seconds latency{};        ///< beyond the topology's, until the receiver goes on; holds no link
  Bytes overhead{};         ///< that a message adds to its bytes, whatever its size: headers
  HostNetworkWork send;     ///< of its sender, waits left out
  HostNetworkWork receive;  ///< of its receiver
};

struct HostCalibration {
  std::int64_t cores = 1;
  std::string source;
  std::array<std::vector<HostCachePoint>, 2> cache;  ///< [HostLoad] footprints ascending
  std::array<HostTerms, 2> unit_costs;               ///< [HostLoad] seconds per unit
  struct Family {
    HeldOut held_out;    ///< errors on probes that the fit did not see
    Seconds shortest{};  ///< measured range of what an op of the family takes alone; zero: none was measured
    Seconds longest{};
  };
  std::array<Family, kHostFamilyNames.size()> families;
  std::vector<HostCommunication> communication;  ///< at least one
  std::optional<HostNetwork> network;            ///< where nodes were measured

  [[nodiscard]] const HostTerms& costs(HostLoad load) const { return unit_costs[static_cast<std::size_t>(load)]; }

  /// Time per byte of streaming from what a footprint of this size is kept in, beyond streaming from the nearest
  /// cache. Linear in the logarithm of the footprint between points, constant outside.
  [[nodiscard]] Seconds streaming_beyond_cache(HostLoad load, Bytes footprint) const;

  /// @param communicator  empty: the first one
  /// @throws Error{invalid_input} naming those that were measured
  [[nodiscard]] const HostCommunication& communicator(const std::string& communicator) const;
};

/// Reads the object at `place`, which to_json wrote; every member is required.
/// @throws Error{invalid_input} on a missing or unknown key or term, a cost outside [0, 1 s], points out of order
HostCalibration read_host_calibration(const JsonReader& place);

/// The form that read_host_calibration reads; six significant digits.
nlohmann::json to_json(const HostCalibration& calibration);

}  // namespace foretoken
