// One communication at a time on an otherwise idle machine: what nccl-tests measures, and flows that a user lists.
//
// Collectives are what the simulator makes of them (sim/communication/footprint.hpp); the others are flows that start
// after their latencies and share links by max-min fairness (sim/network/flow_set.hpp).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/calibration_network.hpp"
#include "sim/collective/traffic_matrix.hpp"
#include "sim/communication/fabric.hpp"
#include "sim/cost/token_exchange.hpp"
#include "sim/network/flow_set.hpp"

namespace foretoken::sim {

struct AloneOptions {
  bool zero_latency = false;                // transfers begin at once
  double accuracy = 0;                      // FlowSetOptions::accuracy
  double seconds_max = kSharingSecondsMax;  // and seconds_max, of one communication
};

struct AloneResult {
  Seconds time;  // from all ranks ready to the last byte
  Provenance provenance = Provenance::measured;
  std::int64_t flows = 0;    // activities
  std::int64_t classes = 0;  // of them solved for, see FlowTimes
  double error = 0;          // relative, that the accuracy asked for has cost
};

/// A flow as a user lists it.
struct RequestedFlow {
  RankId from;
  RankId to;
  Bytes bytes;
  Seconds start;
};

/// A calibration of links that carry their nominal bandwidth as payload, and of protocols, kernels and messages that
/// cost nothing: what is left is bytes over links, and the hops' own latencies.
/// What counts as the NIC's bandwidth is that of the fastest link of a NIC; links between switches may be faster.
/// Where an algorithm has the choice (direct in one shot or two), kernels are as fast as the fastest NVLink.
NetworkCalibration ideal_network(const plan::Machine& machine);

class Alone {
 public:
  /// Ranks 0 .. ranks-1 take part, on the GPUs of that number. Keeps a reference to the fabric.
  /// Precondition: 1 <= ranks, and the fabric has them.
  Alone(const Fabric& fabric, std::int32_t ranks, const AloneOptions& options = {});
  /// These take part: rank i of a benchmark is the i-th of them. Node by node, without repetition.
  Alone(const Fabric& fabric, std::vector<RankId> members, const AloneOptions& options = {});

  /// @param bytes as NetworkCost::collective
  [[nodiscard]] AloneResult collective(CollectiveOp op, CollectiveAlgorithm algorithm, Bytes bytes) const;

  /// direct: all messages at once. pairwise: one round after the other, each with its latency.
  /// A message's latency and ceiling are those of one that is alone in the calibration; that many do not slow each
  /// other down but on the links is assumed.
  [[nodiscard]] AloneResult all_to_all(AllToAllAlgorithm algorithm, const TrafficMatrix& matrix) const;

  /// Every rank sends to the next one and receives from the one before, all at once.
  [[nodiscard]] AloneResult send_recv(Bytes bytes) const;

  /// A dispatch or a combine of mean size (token_exchange_bytes).
  /// @param sms that the kernels have; hierarchical only
  /// Preconditions (checked): exchange.ranks and nodes are this benchmark's; evenly_spread().
  [[nodiscard]] AloneResult exchange(ExchangeOp op, ExchangeAlgorithm algorithm, const TokenExchange& exchange,
                                     int sms) const;

  /// Each flow joins the sharing at its start plus its message latency.
  [[nodiscard]] FlowTimes flows(std::span<const RequestedFlow> flows) const;

  [[nodiscard]] std::int32_t ranks() const { return static_cast<std::int32_t>(members_.size()); }
  /// That the ranks span.
  [[nodiscard]] int nodes() const { return group_.nodes; }
  /// Whether every node that they span has as many of them.
  [[nodiscard]] bool evenly_spread() const { return group_.evenly_spread(); }
  [[nodiscard]] const Fabric& fabric() const { return fabric_; }

 private:
  class Flows;
  [[nodiscard]] Seconds latency(Seconds calibrated, RankId from, RankId to) const;
  [[nodiscard]] AloneResult result_of(const Flows& flows, Provenance provenance) const;

  const Fabric& fabric_;
  std::vector<RankId> members_;
  CollectiveGroup group_;
  AloneOptions options_;
};

}  // namespace foretoken::sim
