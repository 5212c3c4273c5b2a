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

std::int64_t ranks_on_computer(const plan::Machine& machine, std::int64_t ranks) {
  return machine.computers() > 1 ? std::min(ranks, machine.gpus() / machine.nodes()) : ranks;
}

HostTransport::HostTransport(const plan::Machine& machine, const HostCost& cost, std::int64_t ranks,
                             const std::optional<HostNetwork>& network)
    : machine_(machine), cost_(cost), ranks_(ranks), network_(network.value_or(HostNetwork{})) {
  FORETOKEN_CHECK(machine.is_host(), "ranks are threads on a host only");
  FORETOKEN_CHECK(ranks <= machine.gpus(), "more ranks than the machine takes");
  if (!network && ranks > 1 && crosses(RankId(0), RankId(static_cast<std::int32_t>(ranks - 1))))
    throw input_error("", "/host/network", "is not in the calibration, and the ranks are on several nodes",
                      "measure it: foretoken calibrate network, under mpirun on nodes of that kind");
  for (const plan::Link& link : machine_.links())
    if (link.link_class == LinkClass::infiniband) fastest_ = std::max(fastest_, rate_of(link));
}

double HostTransport::rate_of(const plan::Link& link) const { return link.bandwidth.value() * network_.payload; }

std::vector<double> HostTransport::capacities() const {
  std::vector<double> capacities(static_cast<std::size_t>(ranks_), 1.0);
  capacities.insert(capacities.end(), static_cast<std::size_t>(machine_.computers()),
                    static_cast<double>(machine_.cores_per_node()));
  for (const plan::Link& link : machine_.links()) capacities.push_back(rate_of(link));
  for (std::int64_t node = 0; machine_.has_core_shares() && node < machine_.nodes(); ++node)
    capacities.push_back(machine_.core_share(node));
  return capacities;
}

std::vector<LinkResource> HostTransport::link_resources() const {
  std::vector<LinkResource> resources;
  for (std::size_t l = 0; l < machine_.links().size(); ++l) {
    const plan::Link& link = machine_.links()[l];
    if (link.link_class != LinkClass::infiniband) continue;
    const bool nic =
        machine_.kind_of(link.from) == plan::VertexKind::nic || machine_.kind_of(link.to) == plan::VertexKind::nic;
    resources.push_back({resource_of(LinkId(l)),
                         machine_.vertex_name(link.from) + " > " + machine_.vertex_name(link.to),
                         nic ? "nic" : "trunk"});
  }
  return resources;
}

Seconds HostTransport::wait_for(RankId from, RankId to) const {
  if (!crosses(from, to)) return cost_.wake();
  Seconds latency = network_.latency;
  for (const LinkId link : machine_.route(from, to)) latency += machine_.links()[link.index()].latency;
  return latency;
}

void HostTransport::add_load(RankId from, RankId to, double messages, double bytes, LinkLoads& loads) const {
  if (!crosses(from, to)) return;
  const double all = bytes + messages * static_cast<double>(network_.overhead.value());
  const auto add = [&](RankId a, RankId b, double amount) {
    if (amount == 0) return;
    for (const LinkId id : machine_.route(a, b))
      if (machine_.links()[id.index()].link_class == LinkClass::infiniband) loads[resource_of(id)] += amount;
  };
  add(from, to, all);
  add(to, from, all * network_.acknowledged);
}

HostTransport::Ends HostTransport::ends_of(RankId from, RankId to, double messages, double bytes) const {
  if (crosses(from, to))
    return {messages * network_.send.message.value() + bytes * network_.send.byte.value(),
            messages * network_.receive.message.value() + bytes * network_.receive.byte.value(),
            Provenance::interpolated};
  HostTerms amounts;
  amounts[HostTerm::communication_messages] = messages;
  amounts[HostTerm::communication_bytes] = bytes;
  const HostEstimate end = cost_.communication(amounts);
  return {end.alone.value(), end.alone.value(), end.provenance};
}

double HostTransport::put_on_threads(const std::map<std::int32_t, double>& work_of_rank, double crowding,
                                     std::vector<ResourceUse>& uses) const {
  double demand = 0;
  for (const auto& [rank, work] : work_of_rank) demand = std::max(demand, work);
  if (demand == 0) return 0;
  std::map<std::int32_t, double> cores;
  for (const auto& [rank, work] : work_of_rank) {
    uses.push_back({thread_of(RankId(rank)), work / demand});
    cores[cores_of(RankId(rank))] += crowding * work / demand;
  }
  for (const auto& [resource, amount] : cores) uses.push_back({resource, amount});
  for (const auto& [rank, work] : work_of_rank) put_on_share(RankId(rank), work / demand, uses);
  return demand;
}

void HostTransport::put_on_share(RankId rank, double amount, std::vector<ResourceUse>& uses) const {
  if (!machine_.has_core_shares() || amount == 0) return;
  const std::int32_t share = share_of(rank);
  const auto known =
      std::find_if(uses.begin(), uses.end(), [&](const ResourceUse& use) { return use.resource == share; });
  if (known == uses.end()) uses.push_back({share, amount});
  else known->amount += amount;
}

void HostTransport::put_on_links(const LinkLoads& loads, double& demand, std::vector<ResourceUse>& uses) const {
  if (loads.empty()) return;
  const double work = demand;
  for (const auto& [resource, bytes] : loads) demand = std::max(demand, bytes / fastest_);
  for (ResourceUse& use : uses) use.amount *= work / demand;
  for (const auto& [resource, bytes] : loads) uses.push_back({resource, bytes / demand});
}

// n ranks on c cores advance at min(1, c / (n x crowding)) of their speed alone; of that slowdown the turns of others,
// n / c of it once there are more ranks than cores, are not a rank's own CPU time.
Seconds HostTransport::cpu_of(const HostEstimate& estimate) const {
  const double busy = std::min(
      1.0, static_cast<double>(ranks_) / static_cast<double>(machine_.computers() * machine_.cores_per_node()));
  return std::max(estimate.alone, estimate.crowded * busy);
}

Footprint HostTransport::collective(CollectiveOp op, CollectiveAlgorithm algorithm, std::span<const RankId> members,
                                    Bytes bytes) const {
  HostTerms amounts = host_collective_amounts(op, algorithm, static_cast<std::int64_t>(members.size()), bytes);
  Footprint footprint;
  const double rounds = amounts[HostTerm::communication_rounds];
  // What each member sends: all of it to the next one around a ring, or a part to every other one.
  const bool ring = algorithm == CollectiveAlgorithm::ring;
  const double sent = amounts[HostTerm::communication_messages] / 2;
  const double bytes_sent = amounts[HostTerm::communication_bytes] / 2;
  amounts[HostTerm::communication_messages] = 0;
  amounts[HostTerm::communication_bytes] = 0;
  const HostEstimate local = cost_.communication(amounts);
  footprint.provenance = local.provenance;
  Seconds wait = cost_.wake();
  LinkLoads loads;
  std::map<std::int32_t, double> work;
  for (const RankId member : members) work[member.value()] = local.alone.value();
  const std::size_t peers = members.size() == 1 ? 0 : ring ? 1 : members.size() - 1;
  const double share = peers == 0 ? 0 : 1 / static_cast<double>(peers);
  for (std::size_t i = 0; i < members.size(); ++i) {
    for (std::size_t step = 1; step <= peers; ++step) {
      const RankId from = members[i];
      const RankId to = members[(i + step) % members.size()];
      wait = std::max(wait, wait_for(from, to));
      add_load(from, to, sent * share, bytes_sent * share, loads);
      const Ends ends = ends_of(from, to, sent * share, bytes_sent * share);
      work[from.value()] += ends.sender;
      work[to.value()] += ends.receiver;
      footprint.provenance = worst(footprint.provenance, ends.provenance);
    }
  }
  footprint.latency = wait * rounds;
  footprint.ceiling = 1.0;
  footprint.demand = put_on_threads(work, crowding_of(local), footprint.uses);
  footprint.cpu = cpu_of({Seconds(footprint.demand), Seconds(footprint.demand), footprint.provenance});
  if (footprint.demand == 0) return footprint;
  put_on_links(loads, footprint.demand, footprint.uses);
  return footprint;
}

Footprint HostTransport::transfer(RankId from, RankId to, Bytes bytes) const {
  HostTerms amounts;
  amounts[HostTerm::communication_ops] = 1;
  amounts[HostTerm::communication_rounds] = 1;
  const HostEstimate op = cost_.communication(amounts);
  const Ends ends = ends_of(from, to, 1, static_cast<double>(bytes.value()));
  Footprint footprint;
  footprint.latency = wait_for(from, to);
  footprint.ceiling = 1.0;
  footprint.provenance = worst(op.provenance, ends.provenance);
  // One end after the other, as a message goes.
  const double sender = op.alone.value() + ends.sender;
  const double receiver = op.alone.value() + ends.receiver;
  footprint.cpu = cpu_of({Seconds(std::max(sender, receiver)), Seconds(std::max(sender, receiver)), op.provenance});
  add_ends(from, to, sender, receiver, crowding_of(op), footprint.demand, footprint.uses);
  LinkLoads loads;
  add_load(from, to, 1, static_cast<double>(bytes.value()), loads);
  put_on_links(loads, footprint.demand, footprint.uses);
  return footprint;
}

// One end works after the other: together they take the sum, of which each thread has its share.
void HostTransport::add_ends(RankId from, RankId to, double sender, double receiver, double crowding, double& demand,
                             std::vector<ResourceUse>& uses) const {
  demand = sender + receiver;
  const double share = demand > 0 ? sender / demand : 0.5;
  uses = {{thread_of(from), share}, {thread_of(to), 1 - share}};
  if (cores_of(from) == cores_of(to)) {
    uses.push_back({cores_of(from), crowding});
  } else {
    uses.push_back({cores_of(from), crowding * share});
    uses.push_back({cores_of(to), crowding * (1 - share)});
  }
  put_on_share(from, share, uses);
  put_on_share(to, 1 - share, uses);
}

// Of the op itself and its round, whatever they move: every participant does this at once, before its messages.
ExchangeTraits HostTransport::exchange(ExchangeOp, std::span<const RankId> participants,
                                       std::span<const ExchangeMessage> messages, std::int64_t, Bytes) const {
  return round(participants, messages, 1);
}

// Where all ranks only copy nobody waits.
Seconds HostTransport::next_round(std::span<const RankId> participants,
                                  std::span<const ExchangeMessage> messages) const {
  const bool copies = std::all_of(messages.begin(), messages.end(),
                                  [](const ExchangeMessage& message) { return message.from == message.to; });
  return copies ? Seconds(0) : round(participants, messages, 0).latency;
}

ExchangeTraits HostTransport::round(std::span<const RankId> participants, std::span<const ExchangeMessage> messages,
                                    double ops) const {
  Seconds wait = cost_.wake();
  for (const ExchangeMessage& message : messages)
    wait = std::max(wait, wait_for(participants[static_cast<std::size_t>(message.from)],
                                   participants[static_cast<std::size_t>(message.to)]));
  HostTerms amounts;
  amounts[HostTerm::communication_ops] = ops;
  amounts[HostTerm::communication_rounds] = 1;
  const HostEstimate work = cost_.communication(amounts);
  return {wait + work.alone, work.provenance};
}

MessageLoad HostTransport::message(ExchangeOp, RankId from, RankId to, Bytes bytes,
                                   std::vector<ResourceUse>& uses) const {
  HostTerms amounts;
  if (from == to) {
    amounts[HostTerm::communication_copied] = static_cast<double>(bytes.value());
    const HostEstimate work = cost_.communication(amounts);
    uses = {{thread_of(from), 1.0}, {cores_of(from), crowding_of(work)}};
    put_on_share(from, 1.0, uses);
    return {std::max(work.alone.value(), 1e-12), 1.0};
  }
  const Ends ends = ends_of(from, to, 1, static_cast<double>(bytes.value()));
  double demand = 0;
  add_ends(from, to, ends.sender, ends.receiver, 1.0, demand, uses);
  demand = std::max(demand, 1e-12);
  LinkLoads loads;
  add_load(from, to, 1, static_cast<double>(bytes.value()), loads);
  put_on_links(loads, demand, uses);
  return {demand, 1.0};
}

double HostTransport::compute_uses(RankId rank, const Estimate& estimate, std::vector<ResourceUse>& uses) const {
  uses = {{thread_of(rank), 1.0}, {cores_of(rank), estimate.crowding}};
  put_on_share(rank, 1.0, uses);
  return 1.0;
}

Seconds HostTransport::compute_cpu(const Estimate& estimate) const {
  return cpu_of({estimate.time, estimate.time * std::max(1.0, estimate.crowding), estimate.provenance});
}

Seconds HostTransport::exchange_cpu(std::int64_t rounds, std::int64_t messages, Bytes bytes, Bytes copied) const {
  return cpu_of(cost_.communication(host_exchange_amounts(messages, bytes, copied, rounds)));
}

}  // namespace foretoken::sim
