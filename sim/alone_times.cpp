#include "sim/alone_times.hpp"

#include <algorithm>

#include "plan/program/wire_rows.hpp"
#include "sim/communication/fabric.hpp"
#include "sim/communication/meeting_footprint.hpp"
#include "sim/cost/network_cost.hpp"

namespace foretoken::sim {

struct AloneTimes::Network {
  Network(const plan::Plan& plan, const plan::Machine& machine, const Calibration& calibration,
          plan::RowCounter& counter)
      : index(plan.program),
        meetings(plan.program, index),
        cost(plan::sends_once_per_node(plan) ? with_hierarchical_exchange(calibration.network, kHierarchicalSms)
                                             : calibration.network),
        fabric(machine, cost, plan.program.ranks),
        capacities(fabric.capacities()),
        wire(plan, counter) {}

  ProgramIndex index;
  Meetings meetings;
  NetworkCost cost;
  Fabric fabric;
  std::vector<double> capacities;
  plan::WireRows wire;
  std::map<std::int32_t, double> demands;  // scratch: by resource
  std::vector<ResourceUse> uses;           // scratch
};

AloneTimes::AloneTimes(const plan::Plan& plan, const plan::Machine& machine, const Calibration& calibration,
                       const std::string& framework)
    : plan_(plan),
      machine_(machine),
      rows_(plan.placement, plan.routing, plan.scenario.model.experts),
      compute_(calibration.compute, machine.device(), framework),
      durations_(plan.program, compute_, rows_),
      network_(std::make_unique<Network>(plan, machine, calibration, rows_)) {}

AloneTimes::~AloneTimes() = default;

Seconds AloneTimes::of(RankId rank, OpId op) {
  const plan::OpKind kind = plan_.program.role_of(rank).ops[op.index()].kind;
  if (!plan::is_communication(kind)) return durations_.of(rank, op, 0).time;
  const Meetings::Place place = network_->meetings.place_of(rank, op);
  return plan::is_exchange(kind) ? exchange(place) : collective(place.meeting);
}

Seconds AloneTimes::alone(const Footprint& footprint) const {
  double longest = footprint.ceiling > 0 ? footprint.demand / footprint.ceiling : 0;
  for (const ResourceUse& use : footprint.uses)
    longest =
        std::max(longest, footprint.demand * use.amount / network_->capacities[static_cast<std::size_t>(use.resource)]);
  return footprint.latency + Seconds(longest);
}

Seconds AloneTimes::collective(std::int32_t meeting) {
  const auto known = met_.find(meeting);
  if (known != met_.end()) return known->second;
  const Seconds time = alone(footprint_of(plan_.program, network_->meetings[meeting], network_->fabric));
  met_.emplace(meeting, time);
  return time;
}

Seconds AloneTimes::exchange(const Meetings::Place& place) {
  const Meeting& meeting = network_->meetings[place.meeting];
  auto pattern = patterns_.find(place.meeting);
  if (pattern == patterns_.end()) {
    const plan::Communication& communication = plan_.program.communications[meeting.communication.index()];
    const plan::RoutedRows& rows = network_->wire.rows(communication, meeting.instance, 0);
    pattern = patterns_.try_emplace(place.meeting, plan_.program, network_->fabric, meeting, rows).first;
  }
  const auto messages = pattern->second.messages_of(place.participant);
  if (messages.empty()) return Seconds(0);
  network_->demands.clear();
  for (const std::int32_t m : messages) {
    const ExchangeMessage& message = pattern->second.message(m);
    const auto rank_of = [&](std::int32_t participant) {
      return meeting.participants[static_cast<std::size_t>(participant)].rank;
    };
    const MessageLoad load = network_->fabric.message(pattern->second.op(), rank_of(message.from), rank_of(message.to),
                                                      message.bytes, network_->uses);
    for (const ResourceUse& use : network_->uses) network_->demands[use.resource] += load.demand * use.amount;
  }
  double longest = 0;
  for (const auto& [resource, demand] : network_->demands)
    longest = std::max(longest, demand / network_->capacities[static_cast<std::size_t>(resource)]);
  return pattern->second.latency(0) + Seconds(longest);
}

}  // namespace foretoken::sim
