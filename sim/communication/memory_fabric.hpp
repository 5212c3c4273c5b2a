// A Fabric on which kernels that move bytes and kernels that compute share the memory bandwidth of their GPU.
//
// Used where a plan lets the two run at one time; where they take turns, the Fabric alone says the same for less.
#pragma once

#include <span>
#include <vector>

#include "core/calibration_interference.hpp"
#include "sim/communication/fabric.hpp"

namespace foretoken::sim {

/// Resources are numbered: first the Fabric's; then the memory of each rank's GPU (capacity: bytes per second).
///
///   a message        per byte: memory_bytes_sent of the sender's memory, memory_bytes_received of the receiver's
///   a collective     of each member, per unit of advance: what it sends and receives in all, times the same, / demand
///   a compute op     of t seconds and b bytes of traffic: m = min(b / t, capacity) per second of its own time,
///                    weight 1 / m
///
/// The weight makes fair shares of ops and messages those of bytes per second, whatever unit an activity advances in:
/// where memory is the bottleneck, a kernel that asks for little gets it, and the one that asks for most has what is
/// left. A collective has as many shares as it moves bytes through a memory for each on its busiest link, about two:
/// it counts as the messages that it consists of, one that leaves and one that arrives. An op that moves bytes faster
/// than the capacity when alone, out of caches or by reading only, counts as one that fills it.
///
/// Example: capacity 1,000 GB/s; a GEMM that is bound by reading weights for 10 us, and beside it a message of 100 GB/s
/// that arrives: the GEMM has 900 GB/s and takes 10 / 0.9 = 11.1 us.
class MemoryFabric final : public Transport {
 public:
  /// All are kept by reference. @param bandwidth of a GPU's memory, reads and writes together, > 0
  MemoryFabric(const Fabric& fabric, const InterferenceCalibration& interference, BytesPerSecond bandwidth,
               std::int64_t ranks);

  [[nodiscard]] std::vector<double> capacities() const override;
  [[nodiscard]] std::vector<LinkResource> link_resources() const override { return fabric_.link_resources(); }
  [[nodiscard]] Footprint collective(CollectiveOp op, CollectiveAlgorithm algorithm, std::span<const RankId> members,
                                     Bytes bytes) const override;
  [[nodiscard]] Footprint transfer(RankId from, RankId to, Bytes bytes) const override;
  [[nodiscard]] ExchangeTraits exchange(ExchangeOp op, std::span<const RankId> participants,
                                        std::span<const ExchangeMessage> messages, std::int64_t experts, Bytes sent_max,
                                        ExchangeUnits units) const override;
  [[nodiscard]] MessageLoad message(ExchangeOp op, RankId from, RankId to, Bytes bytes,
                                    std::vector<ResourceUse>& uses) const override;
  double compute_uses(RankId rank, const Estimate& estimate, std::vector<ResourceUse>& uses) const override;

  [[nodiscard]] std::int32_t memory_of(RankId rank) const { return first_ + rank.value(); }

 private:
  void add_message(RankId from, RankId to, std::vector<ResourceUse>& uses) const;

  const Fabric& fabric_;
  const InterferenceCalibration& interference_;
  BytesPerSecond bandwidth_;
  std::int64_t ranks_;
  std::int32_t first_;  // resource: memory of rank 0
};

}  // namespace foretoken::sim
