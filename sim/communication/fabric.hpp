// The machine's links and the ranks' own limits as resources of the flow network.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/ids.hpp"
#include "core/provenance.hpp"
#include "plan/faults.hpp"
#include "plan/machine/machine.hpp"
#include "sim/communication/transport.hpp"

namespace foretoken::sim {

enum class Direction : std::uint8_t { out, in };

struct CapacityChange {
  std::int32_t resource = 0;
  double capacity = 0;  // from now on
};

/// Resources are numbered: first the links of the machine; then, for each rank, what its expert-exchange kernels can
/// move, by (dispatch or combine) x (in the node or across nodes) x (out or in).
///
///   capacity of a link = nominal bandwidth x payload efficiency of its class
///
/// What exchange kernels with a message per token and expert move across nodes was measured within 4 % of what the NIC
/// itself carries: it is the NIC's limit, and grows with a faster NIC. Those that send a token once per node move no
/// more than their SMs do (ExchangeEstimate::rate_across_nodes). Whatever runs over links of another nominal bandwidth
/// than the calibrated is extrapolated.
///
/// Links in series, such as GPU to NIC and NIC to fabric, carry the same flows: the tighter one stands for all of them,
/// and the solver has fewer resources to look at.
///
/// Whatever is asked about a route throws Unreachable if faults have left none.
///
/// Rank r runs on GPU r.
class Fabric final : public Transport {
 public:
  /// `cost` is kept by reference. Precondition: ranks <= machine.gpus().
  Fabric(const plan::Machine& machine, const NetworkCost& cost, std::int64_t ranks);

  /// In bytes per second.
  [[nodiscard]] std::vector<double> capacities() const override;
  /// Of the nodes that have ranks, and between them. Named by where links in series begin and end. Classes: nvlink, nic
  /// (to or from a NIC), pcie (between GPUs and PCIe switches), trunk (between switches of the fabric).
  [[nodiscard]] std::vector<LinkResource> link_resources() const override;
  /// See collective_footprint and transfer_footprint.
  [[nodiscard]] Footprint collective(CollectiveOp op, CollectiveAlgorithm algorithm, std::span<const RankId> members,
                                     Bytes bytes) const override;
  [[nodiscard]] Footprint transfer(RankId from, RankId to, Bytes bytes) const override;
  /// Latency: the calibrated one, or that of the longest route if it is longer.
  [[nodiscard]] ExchangeTraits exchange(ExchangeOp op, std::span<const RankId> participants,
                                        std::span<const ExchangeMessage> messages, std::int64_t experts, Bytes sent_max,
                                        ExchangeUnits units) const override;
  /// A flow of `bytes` over its route, under the ceilings of both ranks' kernels.
  [[nodiscard]] MessageLoad message(ExchangeOp op, RankId from, RankId to, Bytes bytes,
                                    std::vector<ResourceUse>& uses) const override;

  [[nodiscard]] std::int32_t exchange_resource(RankId rank, ExchangeOp op, Span span, Direction direction) const {
    return links_ + ((rank.value() * 2 + static_cast<std::int32_t>(op)) * 2 + static_cast<std::int32_t>(span)) * 2 +
           static_cast<std::int32_t>(direction);
  }

  /// What one rank's kernels move across nodes, with the NICs of this machine.
  [[nodiscard]] BytesPerSecond rate_across_nodes(const ExchangeEstimate& exchange) const {
    return exchange.rate_across_nodes(nic_speed_up_);
  }

  /// in_node if both ranks are on one node.
  [[nodiscard]] Span span(RankId from, RankId to) const {
    return machine_.node_of(from) == machine_.node_of(to) ? Span::in_node : Span::across_nodes;
  }
  /// `extrapolated` if the links of this span are not those that the calibration measured, else `measured`.
  [[nodiscard]] Provenance span_provenance(Span span) const {
    return span == Span::in_node ? nvlink_provenance_ : worst(nvlink_provenance_, nic_provenance_);
  }
  /// Where the members are. @param members  ranks, >= 1, in any order
  [[nodiscard]] CollectiveGroup group(std::span<const RankId> members) const;
  /// @throws Unreachable if faults have left some of these ranks of one node without its link to their NVSwitch
  void require_nvswitch(std::span<const RankId> members) const;
  [[nodiscard]] Seconds route_latency(RankId from, RankId to) const;
  /// What the capacity of the route's tightest link rests on. The others do not matter: it is the one that limits.
  [[nodiscard]] Provenance route_provenance(RankId from, RankId to) const;
  /// Calls `each(resource)` for the links of the route in order of travel, once for links in series.
  template <class Each>
  void for_each_resource(RankId from, RankId to, Each each) const {
    std::int32_t last = -1;
    for (const LinkId link : route(from, to)) {
      const std::int32_t resource = resource_of_link_[link.index()];
      if (resource != last) each(resource);
      last = resource;
    }
  }

  /// A fault of links takes effect: capacities change, and what is dead is no part of a route from now on.
  std::vector<CapacityChange> degrade(const plan::Fault& fault);
  /// Resources that stand for these links; ascending.
  [[nodiscard]] std::vector<std::int32_t> resources_of(std::span<const LinkId> links) const;

  /// As it is now, without what is dead.
  [[nodiscard]] const plan::Machine& machine() const { return machine_; }
  [[nodiscard]] const NetworkCost& cost() const { return cost_; }

 private:
  void compare_with_calibrated_links();
  void merge_links_in_series();
  [[nodiscard]] double capacity_of(LinkId link) const;
  [[nodiscard]] std::string class_of(std::span<const LinkId> chain) const;
  [[nodiscard]] std::span<const LinkId> route(RankId from, RankId to) const;

  plan::Machine machine_;
  const NetworkCost& cost_;
  std::vector<std::int32_t> resource_of_link_;
  std::vector<double> share_;        // [link] that is left of its bandwidth; empty while nothing ails any
  std::vector<std::string> deaths_;  // "NIC node0.nic3, dead from 1.00 ms"
  Provenance nvlink_provenance_ = Provenance::measured;
  Provenance nic_provenance_ = Provenance::measured;
  double nic_speed_up_ = 1;  // of the machine's NICs over the calibrated one, at least 1
  std::int32_t links_ = 0;
  std::int64_t ranks_ = 0;
};

}  // namespace foretoken::sim
