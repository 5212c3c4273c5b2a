// Ranks as threads or processes of computers: bytes are moved by the ranks' own cores and, from node to node, by links.
//
// Resources are numbered: first the thread of each rank, which does one thing at a time (capacity 1, in seconds of work
// per second); then the cores of each
// computer (capacity: their number), then links (capacity: the bytes per second of payload that they carry), and where
// a lab limits its nodes, what each gets of the cores' time (capacity: its share, in cores).
//
//   work of one rank for t seconds alone   demand t, ceiling 1, its thread 1, its node's cores `crowding`, and its
//   node's
//                                          share 1: shares are for labs that leave cores idle, where nobody crowds
//
// so that n ranks at work on c cores all advance at min(1, c / (n x crowding)): with as many ranks as cores each takes
// `crowding` times as long as alone, which is what was measured, and more ranks than cores take turns.
//
// A collective is one activity on all its members' threads; a message one on both ends', half of its work on each; what
// a wait for somebody else's message costs beyond that is a latency that uses no core.
//
// What crosses nodes uses links beside all that. Its unit of advance is a second at the rate of the machine's fastest
// link (or of its cores' work, if that takes longer), so that max-min shares of a link are shares in bytes:
//
//   demand d = max(work w, bytes / fastest rate), ceiling 1, threads and cores w / d of the above, each link bytes / d
//
// What a message puts on links is its payload, its headers and, on the way back, acknowledgements; its work at either
// end is that of messages between nodes, which is measured apart from that of messages in memory.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "plan/machine/machine.hpp"
#include "sim/communication/transport.hpp"
#include "sim/cost/host_cost.hpp"

namespace foretoken::sim {

/// How many of the first `ranks` ranks share a computer: those of a node, or all where one emulates all nodes.
std::int64_t ranks_on_computer(const plan::Machine& machine, std::int64_t ranks);

class HostTransport final : public Transport {
 public:
  /// Machine and cost are kept by reference. Precondition: machine.is_host(), ranks <= machine.gpus().
  /// @param network  needed where ranks are on several nodes
  /// @throws Error{invalid_input} if it is not there then
  HostTransport(const plan::Machine& machine, const HostCost& cost, std::int64_t ranks,
                const std::optional<HostNetwork>& network = std::nullopt);

  [[nodiscard]] std::vector<double> capacities() const override;
  [[nodiscard]] std::vector<LinkResource> link_resources() const override;
  [[nodiscard]] Footprint collective(CollectiveOp op, CollectiveAlgorithm algorithm, std::span<const RankId> members,
                                     Bytes bytes) const override;
  [[nodiscard]] Footprint transfer(RankId from, RankId to, Bytes bytes) const override;
  [[nodiscard]] ExchangeTraits exchange(ExchangeOp op, std::span<const RankId> participants,
                                        std::span<const ExchangeMessage> messages, std::int64_t experts,
                                        Bytes sent_max) const override;
  [[nodiscard]] Seconds next_round(std::span<const RankId> participants,
                                   std::span<const ExchangeMessage> messages) const override;
  [[nodiscard]] MessageLoad message(ExchangeOp op, RankId from, RankId to, Bytes bytes,
                                    std::vector<ResourceUse>& uses) const override;

  [[nodiscard]] bool copies_in_place() const override { return true; }
  double compute_uses(RankId rank, const Estimate& estimate, std::vector<ResourceUse>& uses) const override;
  [[nodiscard]] Seconds compute_cpu(const Estimate& estimate) const override;
  [[nodiscard]] Seconds exchange_cpu(std::int64_t rounds, std::int64_t messages, Bytes bytes,
                                     Bytes copied) const override;
  [[nodiscard]] bool has_cpu_times() const override { return true; }

 private:
  [[nodiscard]] std::int32_t thread_of(RankId rank) const { return rank.value(); }
  [[nodiscard]] std::int32_t cores_of(RankId rank) const {
    return static_cast<std::int32_t>(ranks_) + (machine_.computers() > 1 ? machine_.node_of(rank) : 0);
  }
  [[nodiscard]] std::int32_t resource_of(LinkId link) const {
    return static_cast<std::int32_t>(ranks_ + machine_.computers()) + link.value();
  }
  [[nodiscard]] std::int32_t share_of(RankId rank) const {
    return static_cast<std::int32_t>(ranks_ + machine_.computers()) +
           static_cast<std::int32_t>(machine_.links().size()) + machine_.node_of(rank);
  }
  /// A rank's work takes its node's share of the cores, where it has one.
  void put_on_share(RankId rank, double amount, std::vector<ResourceUse>& uses) const;
  [[nodiscard]] double rate_of(const plan::Link& link) const;
  [[nodiscard]] bool crosses(RankId from, RankId to) const { return machine_.node_of(from) != machine_.node_of(to); }
  /// A round of an exchange and `ops` ops: how long until their messages move, whatever those are.
  [[nodiscard]] ExchangeTraits round(std::span<const RankId> participants, std::span<const ExchangeMessage> messages,
                                     double ops) const;
  /// From the end of a message until its receiver goes on.
  [[nodiscard]] Seconds wait_for(RankId from, RankId to) const;
  using LinkLoads = std::map<std::int32_t, double>;  // resource -> bytes
  void add_load(RankId from, RankId to, double messages, double bytes, LinkLoads& loads) const;
  /// What messages from one to another take each end, in memory or between nodes, beyond ops and rounds.
  struct Ends {
    double sender = 0;
    double receiver = 0;
    Provenance provenance = Provenance::interpolated;
  };
  [[nodiscard]] Ends ends_of(RankId from, RankId to, double messages, double bytes) const;
  /// An activity of this many seconds of work on each of these threads: as long as the busiest one's.
  [[nodiscard]] double put_on_threads(const std::map<std::int32_t, double>& work_of_rank, double crowding,
                                      std::vector<ResourceUse>& uses) const;
  void add_ends(RankId from, RankId to, double sender, double receiver, double crowding, double& demand,
                std::vector<ResourceUse>& uses) const;
  /// Turns an activity of `demand` seconds of work into one that also puts these loads on links.
  void put_on_links(const LinkLoads& loads, double& demand, std::vector<ResourceUse>& uses) const;
  [[nodiscard]] Seconds cpu_of(const HostEstimate& estimate) const;

  const plan::Machine& machine_;
  const HostCost& cost_;
  std::int64_t ranks_;
  HostNetwork network_;
  double fastest_ = 0;  // link, bytes of payload per second
};

}  // namespace foretoken::sim
