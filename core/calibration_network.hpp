// The network part of a calibration: what was fitted about links, collectives, messages and expert exchange.
//
// Parameters only; the equations that use them are in sim/cost/network_cost.hpp, the fit that finds them in
// calibrate/fit/network_fit.hpp. Latencies are fixed costs that hold no link; rates are payload bytes per second, one
// direction, seen by one rank. `source` is the id of an entry in the calibration's list of sources.
#pragma once

#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/collective_algorithm.hpp"
#include "core/json_reader.hpp"
#include "core/link_class.hpp"
#include "core/provenance.hpp"
#include "core/units.hpp"

namespace foretoken {

/// The box of shapes that a fit saw: ends included.
struct FittedRange {
  int ranks_min = 1;
  int ranks_max = 1;
  int nodes_min = 1;
  int nodes_max = 1;
  Bytes bytes_min;
  Bytes bytes_max;

  [[nodiscard]] constexpr bool holds(int ranks, int nodes, Bytes bytes) const {
    return ranks_min <= ranks && ranks <= ranks_max && nodes_min <= nodes && nodes <= nodes_max && bytes_min <= bytes &&
           bytes <= bytes_max;
  }
};

struct FittedCollective {
  CollectiveOp op = CollectiveOp::all_reduce;
  FittedRange range;
};

/// Capacity of a link for the max-min solver = its bandwidth in the topology x payload_efficiency.
struct LinkCalibration {
  BytesPerSecond nominal;  // of the link that was measured, one direction
  double payload_efficiency = 1.0;
  Provenance provenance = Provenance::assumed;
  std::string source;
};

/// Ring collectives: three wire protocols, the fastest of which is taken, as NCCL's tuner does.
struct RingCalibration {
  Seconds base_latency;              // launch to completion without any step
  Seconds step_latency;              // one neighbour step inside a node
  Seconds network_step_latency;      // one neighbour step that crosses nodes
  BytesPerSecond ll_rate;            // LL: flag in every 8 bytes; bytes handled by one rank's kernel
  Seconds ll128_latency;             // LL128 over LL
  BytesPerSecond ll128_rate;         // LL128: flag in every 128 bytes; bytes handled by one rank's kernel
  Seconds simple_latency;            // Simple over LL: filling the pipeline
  BytesPerSecond simple_wire_rate;   // Simple: bytes sent to the neighbour over NVLink
  BytesPerSecond simple_local_rate;  // Simple: the rank's own share, handled once more than it is sent
  std::vector<FittedCollective> fitted;
  std::string source;
};

/// Collectives inside the NVSwitch (NVLink SHARP).
struct NvlsCalibration {
  Seconds latency;
  BytesPerSecond wire_rate;  // bytes per direction on one GPU's NVLink
  std::vector<FittedCollective> fitted;
  std::string source;
};

/// All-reduce over trees between nodes, by the protocol of short messages (LL). Everything else of it is the ring's.
struct TreeCalibration {
  Seconds network_step_latency;  // one step between nodes
  BytesPerSecond ll_rate;        // bytes that one rank passes on, up and down together
  std::vector<FittedCollective> fitted;
  std::string source;
};

/// All-reduce over trees between nodes whose NVSwitches reduce and multicast.
struct NvlsTreeCalibration {
  Seconds latency;
  BytesPerSecond wire_rate;  // bytes per direction on one GPU's NVLink
  Seconds fill_latency;      // what one more chunk costs, times the stages that it passes
  std::vector<FittedCollective> fitted;
  std::string source;
};

/// Collectives in which every rank writes to every other at once.
struct DirectCalibration {
  Seconds base_latency;
  Seconds peer_latency;  // signalling one more peer
  BytesPerSecond one_shot_rate;
  Seconds second_shot_latency;  // the barrier between reduce-scatter and all-gather
  BytesPerSecond two_shot_rate;
  std::vector<FittedCollective> fitted;
  std::string source;
};

/// One message from one GPU to one other.
struct MessageCalibration {
  Seconds latency;
  BytesPerSecond rate;  // ceiling of a single message, whatever the links could carry
  FittedRange fitted;
  std::string source;
};

/// Thread blocks of an exchange kernel that has one for every expert, as far as there are SMs. Between them they work
/// through what their rank sends, each one thing after the other: tokens in a dispatch, rows in a combine.
struct ExchangeBlocks {
  Seconds unit_latency;  // of one of them, however short
  BytesPerSecond rate;   // of one block, counted in the bytes of one row per unit
  int sms = 1;           // of the device: there are no more blocks
};

/// Expert dispatch or combine with one message per (source, destination expert).
struct ExchangeCalibration {
  Seconds latency_one_node;
  Seconds latency_across_nodes;
  Seconds queue_latency;             // one more destination expert, whose count is sent even when no token goes there
  BytesPerSecond rate_in_node;       // ceiling of what one rank sends over NVLink
  BytesPerSecond rate_across_nodes;  // ceiling of what one rank sends over its NIC, which sets it
  // What the kernel moves across nodes however fast the NIC. Of no file: sim::with_hierarchical_exchange knows it.
  BytesPerSecond kernel_rate_across_nodes{std::numeric_limits<double>::infinity()};
  std::optional<ExchangeBlocks> blocks;  // without: as many as it takes
  int queues_min = 1;                    // destination experts that the fit saw
  int queues_max = 4096;
  std::vector<FittedRange> fitted;  // bytes: what one rank sends, its own share included
  std::string source;
};

/// Expert dispatch or combine with one message per token and node, passed on over NVLink; its kernel moves as much as
/// the SMs it is given.
struct HierarchicalCalibration {
  Seconds latency_one_node;
  Seconds latency_across_nodes;
  BytesPerSecond rate_in_node_per_sm;  // of what one rank sends over NVLink
  BytesPerSecond rate_in_node;         // ceiling, however many SMs
  BytesPerSecond rate_across_nodes_per_sm;
  int sms_min = 1;  // SMs that the fit saw
  int sms_max = 1;
  std::vector<FittedRange> fitted;  // bytes: what one rank sends over NVLink
  std::string source;
};

struct NetworkCalibration {
  Provenance at_best = Provenance::measured;  // of a derived calibration, in whose file it is: Calibration::derived
  LinkCalibration nvlink;
  LinkCalibration pcie;
  LinkCalibration infiniband;
  RingCalibration ring;
  NvlsCalibration nvls;
  DirectCalibration direct;
  MessageCalibration message_in_node;
  MessageCalibration message_across_nodes;
  ExchangeCalibration dispatch;
  ExchangeCalibration combine;
  // Not measured on every machine: without them the network estimate makes do with the others, and says so.
  std::optional<TreeCalibration> tree;
  std::optional<NvlsTreeCalibration> nvls_tree;
  std::optional<HierarchicalCalibration> hierarchical_dispatch;
  std::optional<HierarchicalCalibration> hierarchical_combine;

  [[nodiscard]] const LinkCalibration& link(LinkClass which) const;
};

/// Reads the object at `place`, which to_json wrote or a person did; every member is required but for
/// the optional sections, of which every member is if they are there.
/// @throws Error{invalid_input} on a missing or unknown key, a missing unit, a latency outside [0, 1 s], a rate outside
///         [1 kB/s, 1 PB/s], an efficiency outside (0, 1], or a range whose end lies before its start.
NetworkCalibration read_network_calibration(const JsonReader& place);

/// The form that read_network_calibration reads; six significant digits.
nlohmann::json to_json(const NetworkCalibration& network);

}  // namespace foretoken
