// Ranks as threads of one computer: bytes are moved by the ranks' own cores.
//
// Resources are numbered: first the thread of each rank, which does one thing at a time (capacity 1, in seconds of work
// per second); then the cores of each node (capacity: their number).
//
//   work of one rank for t seconds alone   demand t, ceiling 1, its thread 1, its node's cores `crowding`
//
// so that n ranks at work on c cores all advance at min(1, c / (n x crowding)): with as many ranks as cores each takes
// `crowding` times as long as alone, which is what was measured, and more ranks than cores take turns.
//
// A collective is one activity on all its members' threads; a message one on both ends', half of its work on each; what
// a wait for somebody else's message costs beyond that is a latency that uses no core.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "plan/machine/machine.hpp"
#include "sim/communication/transport.hpp"
#include "sim/cost/host_cost.hpp"

namespace foretoken::sim {

class HostTransport final : public Transport {
 public:
  /// Both are kept by reference. Precondition: machine.is_host(), ranks <= machine.gpus().
  HostTransport(const plan::Machine& machine, const HostCost& cost, std::int64_t ranks);

  [[nodiscard]] std::vector<double> capacities() const override;
  [[nodiscard]] Footprint collective(CollectiveOp op, CollectiveAlgorithm algorithm, std::span<const RankId> members,
                                     Bytes bytes) const override;
  [[nodiscard]] Footprint transfer(RankId from, RankId to, Bytes bytes) const override;
  [[nodiscard]] ExchangeTraits exchange(ExchangeOp op, std::span<const RankId> participants,
                                        std::span<const ExchangeMessage> messages, std::int64_t experts,
                                        Bytes sent_max) const override;
  [[nodiscard]] MessageLoad message(ExchangeOp op, RankId from, RankId to, Bytes bytes,
                                    std::vector<ResourceUse>& uses) const override;

  [[nodiscard]] bool copies_in_place() const override { return true; }
  double compute_uses(RankId rank, const Estimate& estimate, std::vector<ResourceUse>& uses) const override;
  [[nodiscard]] Seconds compute_cpu(const Estimate& estimate) const override;
  [[nodiscard]] Seconds exchange_cpu(std::int64_t messages, Bytes bytes, Bytes copied) const override;
  [[nodiscard]] bool has_cpu_times() const override { return true; }

 private:
  [[nodiscard]] std::int32_t thread_of(RankId rank) const { return rank.value(); }
  [[nodiscard]] std::int32_t cores_of(RankId rank) const {
    return static_cast<std::int32_t>(ranks_) + machine_.node_of(rank);
  }
  [[nodiscard]] Seconds cpu_of(const HostEstimate& estimate) const;

  const plan::Machine& machine_;
  const HostCost& cost_;
  std::int64_t ranks_;
};

}  // namespace foretoken::sim
