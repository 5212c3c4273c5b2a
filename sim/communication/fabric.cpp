#include "sim/communication/fabric.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "core/error.hpp"
#include "core/quantity_text.hpp"
#include "plan/machine/vertex_names.hpp"
#include "sim/communication/footprint.hpp"

namespace foretoken::sim {

Fabric::Fabric(const plan::Machine& machine, const NetworkCost& cost, std::int64_t ranks)
    : machine_(machine), cost_(cost), links_(static_cast<std::int32_t>(machine.links().size())), ranks_(ranks) {
  FORETOKEN_CHECK(ranks <= machine.gpus(), "more ranks than GPUs");
  compare_with_calibrated_links();
  merge_links_in_series();
}

void Fabric::compare_with_calibrated_links() {
  const NetworkCalibration& calibration = cost_.calibration();
  double slowest_nic = std::numeric_limits<double>::infinity();
  for (const plan::Link& link : machine_.links()) {
    if (link.link_class == LinkClass::nvlink && link.bandwidth != calibration.nvlink.nominal)
      nvlink_provenance_ = Provenance::extrapolated;
    // Of the network's cables only those to NICs were measured.
    if (link.link_class != LinkClass::infiniband || machine_.kind_of(link.from) != plan::VertexKind::nic) continue;
    if (link.bandwidth != calibration.infiniband.nominal) nic_provenance_ = Provenance::extrapolated;
    slowest_nic = std::min(slowest_nic, ratio(link.bandwidth, calibration.infiniband.nominal));
  }
  // A NIC that several GPUs share was not measured.
  if (machine_.nodes() * machine_.nics_per_node() < machine_.gpus()) nic_provenance_ = Provenance::extrapolated;
  if (std::isfinite(slowest_nic)) nic_speed_up_ = std::max(1.0, slowest_nic);
}

double Fabric::capacity_of(LinkId id) const {
  const plan::Link& link = machine_.links()[id.index()];
  const double capacity = link.bandwidth.value() * cost_.link(link.link_class).payload_efficiency;
  return share_.empty() ? capacity : capacity * share_[id.index()];
}

std::span<const LinkId> Fabric::route(RankId from, RankId to) const {
  const std::span<const LinkId> links = machine_.route(from, to);
  if (links.empty() && from != to)
    throw Unreachable(fmt::format("{} cannot reach {}: {}", machine_.vertex_name(VertexId(from.value())),
                                  machine_.vertex_name(VertexId(to.value())), fmt::join(deaths_, "; ")));
  return links;
}

std::vector<CapacityChange> Fabric::degrade(const plan::Fault& fault) {
  if (share_.empty()) share_.assign(machine_.links().size(), 1.0);
  for (const LinkId link : fault.links) {
    if (!machine_.is_dead(link)) share_[link.index()] = fault.share;
  }
  if (fault.share == 0) {
    machine_ = machine_.without(fault.links);
    deaths_.push_back(fmt::format("{}, dead from {}", fault.what, to_text(to_seconds(fault.from))));
  }
  // A resource stands for links in series: it is what the tightest of them lets through.
  std::map<std::int32_t, double> capacity;
  for (const std::int32_t resource : resources_of(fault.links))
    capacity.emplace(resource, std::numeric_limits<double>::infinity());
  for (std::size_t link = 0; link < resource_of_link_.size(); ++link) {
    const auto changed = capacity.find(resource_of_link_[link]);
    if (changed != capacity.end()) changed->second = std::min(changed->second, capacity_of(LinkId(link)));
  }
  std::vector<CapacityChange> changes;
  for (const auto& [resource, value] : capacity) changes.push_back({resource, value});
  return changes;
}

std::vector<std::int32_t> Fabric::resources_of(std::span<const LinkId> links) const {
  std::vector<std::int32_t> resources;
  for (const LinkId link : links) resources.push_back(resource_of_link_[link.index()]);
  std::sort(resources.begin(), resources.end());
  resources.erase(std::unique(resources.begin(), resources.end()), resources.end());
  return resources;
}

// Link a is in series with link b if a ends where b begins, at a vertex where no route begins or ends, and whoever
// comes over a can only go on over b, and the other way round.
void Fabric::merge_links_in_series() {
  const auto links = machine_.links();
  const std::size_t vertices = machine_.vertices();
  std::vector<std::vector<LinkId>> out(vertices);
  std::vector<std::vector<LinkId>> in(vertices);
  for (std::size_t l = 0; l < links.size(); ++l) {
    out[links[l].from.index()].push_back(LinkId(l));
    in[links[l].to.index()].push_back(LinkId(l));
  }

  std::vector<LinkId> next(links.size());
  std::vector<char> has_previous(links.size(), 0);
  for (std::size_t vertex = 0; vertex < vertices; ++vertex) {
    if (machine_.kind_of(VertexId(vertex)) == plan::VertexKind::gpu) continue;
    if (out[vertex].size() != 2 || in[vertex].size() != 2) continue;
    for (const LinkId a : in[vertex]) {
      for (const LinkId b : out[vertex]) {
        if (links[a.index()].from == links[b.index()].to) continue;  // there and back
        next[a.index()] = b;
        has_previous[b.index()] = 1;
      }
    }
  }

  resource_of_link_.resize(links.size());
  std::iota(resource_of_link_.begin(), resource_of_link_.end(), 0);
  for (std::size_t first = 0; first < links.size(); ++first) {
    if (has_previous[first] != 0) continue;
    LinkId tightest(first);
    for (LinkId link(first); link.valid(); link = next[link.index()]) {
      if (capacity_of(link) < capacity_of(tightest)) tightest = link;
    }
    for (LinkId link(first); link.valid(); link = next[link.index()])
      resource_of_link_[link.index()] = tightest.value();
  }
}

std::vector<double> Fabric::capacities() const {
  std::vector<double> capacities;
  capacities.reserve(machine_.links().size() + static_cast<std::size_t>(ranks_) * 8);
  for (std::size_t link = 0; link < machine_.links().size(); ++link) capacities.push_back(capacity_of(LinkId(link)));
  const std::array<ExchangeEstimate, 2> exchanges{cost_.exchange(ExchangeOp::dispatch, 1, 1, 0, Bytes(0)),
                                                  cost_.exchange(ExchangeOp::combine, 1, 1, 0, Bytes(0))};
  for (std::int64_t rank = 0; rank < ranks_; ++rank) {
    for (const ExchangeEstimate& exchange : exchanges) {
      for (const BytesPerSecond rate : {exchange.rate_in_node, rate_across_nodes(exchange)}) {
        capacities.insert(capacities.end(), 2, rate.value());  // out and in
      }
    }
  }
  return capacities;
}

std::string Fabric::class_of(std::span<const LinkId> chain) const {
  bool pcie = false;
  for (const LinkId id : chain) {
    const plan::Link& link = machine_.links()[id.index()];
    if (link.link_class == LinkClass::nvlink) return "nvlink";
    for (const VertexId end : {link.from, link.to})
      if (machine_.kind_of(end) == plan::VertexKind::nic) return "nic";
    pcie = pcie || link.link_class == LinkClass::pcie;
  }
  return pcie ? "pcie" : "trunk";
}

std::vector<LinkResource> Fabric::link_resources() const {
  const auto links = machine_.links();
  const std::int32_t nodes = ranks_ == 0 ? 0 : machine_.node_of(RankId(static_cast<std::int32_t>(ranks_ - 1))) + 1;
  const auto is_idle = [&](const std::string& name) {
    const auto part = plan::parse_node_part(name, "");
    return part && part->node >= nodes;
  };
  std::map<std::int32_t, std::vector<LinkId>> chains;  // by resource: links in series
  for (std::size_t l = 0; l < links.size(); ++l) chains[resource_of_link_[l]].emplace_back(l);
  std::vector<LinkResource> resources;
  for (const auto& [resource, chain] : chains) {
    VertexId from = links[chain.front().index()].from;
    VertexId to = links[chain.front().index()].to;
    for (bool grows = true; grows;) {
      grows = false;
      for (const LinkId id : chain) {
        const plan::Link& link = links[id.index()];
        if (link.to == from) from = link.from, grows = true;
        else if (link.from == to) to = link.to, grows = true;
      }
    }
    const std::string from_name = machine_.vertex_name(from);
    const std::string to_name = machine_.vertex_name(to);
    if (is_idle(from_name) || is_idle(to_name)) continue;
    resources.push_back({resource, from_name + " > " + to_name, class_of(chain)});
  }
  return resources;
}

CollectiveGroup Fabric::group(std::span<const RankId> members) const {
  std::map<std::int32_t, int> on_node;
  for (const RankId member : members) ++on_node[machine_.node_of(member)];
  CollectiveGroup group;
  group.ranks = static_cast<int>(members.size());
  group.nodes = static_cast<int>(on_node.size());
  const auto [fewest, most] = std::minmax_element(on_node.begin(), on_node.end(),
                                                  [](const auto& a, const auto& b) { return a.second < b.second; });
  group.fewest_on_node = fewest->second;
  group.most_on_node = most->second;
  return group;
}

void Fabric::require_nvswitch(std::span<const RankId> members) const {
  if (deaths_.empty() || members.size() == 1) return;
  for (std::size_t i = 0; i < members.size(); ++i) {
    const RankId from = members[i];
    const RankId to = members[(i + 1) % members.size()];
    const std::span<const LinkId> links = route(from, to);
    const bool in_switch = std::all_of(links.begin(), links.end(), [&](LinkId link) {
      return machine_.links()[link.index()].link_class == LinkClass::nvlink;
    });
    if (!in_switch)
      throw Unreachable(
          fmt::format("{} and {} have no NVSwitch that adds up for both: {}; write \"ring\", which goes "
                      "another way",
                      machine_.vertex_name(VertexId(from.value())), machine_.vertex_name(VertexId(to.value())),
                      fmt::join(deaths_, "; ")));
  }
}

Seconds Fabric::route_latency(RankId from, RankId to) const {
  Seconds latency(0.0);
  for (const LinkId link : route(from, to)) latency += machine_.links()[link.index()].latency;
  return latency;
}

Provenance Fabric::route_provenance(RankId from, RankId to) const {
  Provenance provenance = Provenance::measured;
  double tightest = std::numeric_limits<double>::infinity();
  for (const LinkId id : route(from, to)) {
    const Provenance own = cost_.link(machine_.links()[id.index()].link_class).provenance;
    const double capacity = capacity_of(id);
    if (capacity > tightest) continue;
    provenance = capacity == tightest ? worst(provenance, own) : own;
    tightest = capacity;
  }
  return provenance;
}

Footprint Fabric::collective(CollectiveOp op, CollectiveAlgorithm algorithm, std::span<const RankId> members,
                             Bytes bytes) const {
  return collective_footprint(*this, op, algorithm, members, bytes);
}

Footprint Fabric::transfer(RankId from, RankId to, Bytes bytes) const {
  return transfer_footprint(*this, from, to, bytes);
}

ExchangeTraits Fabric::exchange(ExchangeOp op, std::span<const RankId> participants,
                                std::span<const ExchangeMessage> messages, std::int64_t experts, Bytes sent_max,
                                ExchangeUnits units) const {
  const int nodes = group(participants).nodes;
  const ExchangeEstimate estimate =
      cost_.exchange(op, static_cast<int>(participants.size()), nodes, static_cast<int>(experts), sent_max, units);
  ExchangeTraits traits{estimate.latency,
                        worst(estimate.provenance, span_provenance(nodes > 1 ? Span::across_nodes : Span::in_node))};
  for (const ExchangeMessage& message : messages)
    traits.latency = std::max(traits.latency, route_latency(participants[static_cast<std::size_t>(message.from)],
                                                            participants[static_cast<std::size_t>(message.to)]));
  return traits;
}

MessageLoad Fabric::message(ExchangeOp op, RankId from, RankId to, Bytes bytes, std::vector<ResourceUse>& uses) const {
  uses.clear();
  const Span where = span(from, to);
  for_each_resource(from, to, [&](std::int32_t resource) { uses.push_back({resource, 1.0}); });
  uses.push_back({exchange_resource(from, op, where, Direction::out), 1.0});
  uses.push_back({exchange_resource(to, op, where, Direction::in), 1.0});
  MessageLoad load;
  load.demand = static_cast<double>(bytes.value());
  return load;
}

}  // namespace foretoken::sim
