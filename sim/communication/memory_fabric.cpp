#include "sim/communication/memory_fabric.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace foretoken::sim {

MemoryFabric::MemoryFabric(const Fabric& fabric, const InterferenceCalibration& interference, BytesPerSecond bandwidth,
                           std::int64_t ranks)
    : fabric_(fabric),
      interference_(interference),
      bandwidth_(bandwidth),
      ranks_(ranks),
      first_(static_cast<std::int32_t>(fabric.capacities().size())) {
  FORETOKEN_CHECK(bandwidth > BytesPerSecond(0), "memory that moves nothing");
}

std::vector<double> MemoryFabric::capacities() const {
  std::vector<double> capacities = fabric_.capacities();
  capacities.insert(capacities.end(), static_cast<std::size_t>(ranks_), bandwidth_.value());
  return capacities;
}

// Every member sends and receives alike: what the network estimate says it sends over its NVLink and its NIC.
Footprint MemoryFabric::collective(CollectiveOp op, CollectiveAlgorithm algorithm, std::span<const RankId> members,
                                   Bytes bytes) const {
  Footprint footprint = fabric_.collective(op, algorithm, members, bytes);
  if (footprint.demand == 0) return footprint;
  const CollectiveEstimate estimate = fabric_.cost().collective(op, algorithm, fabric_.group(members), bytes);
  const Bytes moved = estimate.bytes_in_node + estimate.bytes_across_nodes;
  const double amount = static_cast<double>(moved.value()) *
                        (interference_.memory_bytes_sent + interference_.memory_bytes_received) / footprint.demand;
  if (amount == 0) return footprint;
  for (const RankId member : members) footprint.uses.push_back({memory_of(member), amount});
  return footprint;
}

Footprint MemoryFabric::transfer(RankId from, RankId to, Bytes bytes) const {
  Footprint footprint = fabric_.transfer(from, to, bytes);
  if (footprint.demand > 0) add_message(from, to, footprint.uses);
  return footprint;
}

ExchangeTraits MemoryFabric::exchange(ExchangeOp op, std::span<const RankId> participants,
                                      std::span<const ExchangeMessage> messages, std::int64_t experts, Bytes sent_max,
                                      ExchangeUnits units) const {
  return fabric_.exchange(op, participants, messages, experts, sent_max, units);
}

MessageLoad MemoryFabric::message(ExchangeOp op, RankId from, RankId to, Bytes bytes,
                                  std::vector<ResourceUse>& uses) const {
  const MessageLoad load = fabric_.message(op, from, to, bytes, uses);
  add_message(from, to, uses);
  return load;
}

void MemoryFabric::add_message(RankId from, RankId to, std::vector<ResourceUse>& uses) const {
  if (interference_.memory_bytes_sent > 0) uses.push_back({memory_of(from), interference_.memory_bytes_sent});
  if (interference_.memory_bytes_received > 0) uses.push_back({memory_of(to), interference_.memory_bytes_received});
}

double MemoryFabric::compute_uses(RankId rank, const Estimate& estimate, std::vector<ResourceUse>& uses) const {
  uses.clear();
  const double rate = std::min((estimate.traffic / estimate.time).value(), bandwidth_.value());
  if (!(rate > 0)) return 1.0;
  uses.push_back({memory_of(rank), rate});
  return 1.0 / rate;
}

}  // namespace foretoken::sim
