#include "sim/communication/host_transport.hpp"

#include <algorithm>
#include <map>

#include "core/error.hpp"
#include "sim/communication/host_schedule_amounts.hpp"

namespace foretoken::sim {
namespace {

double crowding_of(const HostEstimate& estimate) {
  return estimate.alone > Seconds(0) ? ratio(estimate.crowded, estimate.alone) : 1.0;
}

}  // namespace

HostTransport::HostTransport(const plan::Machine& machine, const HostCost& cost, std::int64_t ranks)
    : machine_(machine), cost_(cost), ranks_(ranks) {
  FORETOKEN_CHECK(machine.is_host(), "ranks are threads on a host only");
  FORETOKEN_CHECK(ranks <= machine.gpus(), "more ranks than the machine takes");
}

std::vector<double> HostTransport::capacities() const {
  std::vector<double> capacities(static_cast<std::size_t>(ranks_), 1.0);
  capacities.insert(capacities.end(), static_cast<std::size_t>(machine_.nodes()),
                    static_cast<double>(machine_.cores_per_node()));
  return capacities;
}

// n ranks on c cores advance at min(1, c / (n x crowding)) of their speed alone; of that slowdown the turns of others,
// n / c of it once there are more ranks than cores, are not a rank's own CPU time.
Seconds HostTransport::cpu_of(const HostEstimate& estimate) const {
  const double busy =
      std::min(1.0, static_cast<double>(ranks_) / static_cast<double>(machine_.nodes() * machine_.cores_per_node()));
  return std::max(estimate.alone, estimate.crowded * busy);
}

Footprint HostTransport::collective(CollectiveOp op, CollectiveAlgorithm algorithm, std::span<const RankId> members,
                                    Bytes bytes) const {
  const HostTerms amounts = host_collective_amounts(op, algorithm, static_cast<std::int64_t>(members.size()), bytes);
  const HostEstimate work = cost_.communication(amounts);
  Footprint footprint;
  footprint.latency = cost_.wake() * amounts[HostTerm::communication_rounds];
  footprint.demand = work.alone.value();
  footprint.ceiling = 1.0;
  footprint.provenance = work.provenance;
  footprint.cpu = cpu_of(work);
  if (footprint.demand == 0) return footprint;
  std::map<std::int32_t, double> cores;
  for (const RankId member : members) {
    footprint.uses.push_back({thread_of(member), 1.0});
    cores[cores_of(member)] += crowding_of(work);
  }
  for (const auto& [resource, amount] : cores) footprint.uses.push_back({resource, amount});
  return footprint;
}

Footprint HostTransport::transfer(RankId from, RankId to, Bytes bytes) const {
  const HostEstimate side = cost_.communication(host_transfer_amounts(bytes));
  Footprint footprint;
  footprint.latency = cost_.wake();
  footprint.demand = 2 * side.alone.value();
  footprint.ceiling = 1.0;
  footprint.provenance = side.provenance;
  footprint.cpu = cpu_of(side);
  footprint.uses = {{thread_of(from), 0.5}, {thread_of(to), 0.5}, {cores_of(from), crowding_of(side)}};
  return footprint;
}

// Of the op itself and its round, whatever they move: every participant does this at once, before its messages.
ExchangeTraits HostTransport::exchange(ExchangeOp, std::span<const RankId>, std::span<const ExchangeMessage>,
                                       std::int64_t, Bytes) const {
  HostTerms amounts;
  amounts[HostTerm::communication_ops] = 1;
  amounts[HostTerm::communication_rounds] = 1;
  const HostEstimate op = cost_.communication(amounts);
  return {cost_.wake() + op.alone, op.provenance};
}

MessageLoad HostTransport::message(ExchangeOp, RankId from, RankId to, Bytes bytes,
                                   std::vector<ResourceUse>& uses) const {
  HostTerms amounts;
  if (from == to) {
    amounts[HostTerm::communication_copied] = static_cast<double>(bytes.value());
    const HostEstimate work = cost_.communication(amounts);
    uses = {{thread_of(from), 1.0}, {cores_of(from), crowding_of(work)}};
    return {std::max(work.alone.value(), 1e-12), 1.0};
  }
  amounts[HostTerm::communication_messages] = 2;
  amounts[HostTerm::communication_bytes] = 2 * static_cast<double>(bytes.value());
  const HostEstimate work = cost_.communication(amounts);
  uses = {{thread_of(from), 0.5}, {thread_of(to), 0.5}, {cores_of(from), crowding_of(work)}};
  return {std::max(work.alone.value(), 1e-12), 1.0};
}

double HostTransport::compute_uses(RankId rank, const Estimate& estimate, std::vector<ResourceUse>& uses) const {
  uses = {{thread_of(rank), 1.0}, {cores_of(rank), estimate.crowding}};
  return 1.0;
}

Seconds HostTransport::compute_cpu(const Estimate& estimate) const {
  return cpu_of({estimate.time, estimate.time * std::max(1.0, estimate.crowding), estimate.provenance});
}

Seconds HostTransport::exchange_cpu(std::int64_t messages, Bytes bytes, Bytes copied) const {
  return cpu_of(cost_.communication(host_exchange_amounts(messages, bytes, copied)));
}

}  // namespace foretoken::sim
