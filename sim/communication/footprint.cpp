#include "sim/communication/footprint.hpp"

#include <algorithm>
#include <map>

namespace foretoken::sim {
namespace {

// Bytes by link, in order of link.
class Loads {
 public:
  explicit Loads(const Fabric& fabric) : fabric_(fabric) {}

  void add_route(RankId from, RankId to, double bytes) {
    if (bytes <= 0) return;
    fabric_.for_each_resource(from, to, [&](std::int32_t resource) { bytes_[resource] += bytes; });
  }
  [[nodiscard]] const std::map<std::int32_t, double>& bytes() const { return bytes_; }

 private:
  const Fabric& fabric_;
  std::map<std::int32_t, double> bytes_;
};

using Nodes = std::vector<std::vector<RankId>>;  // members by node

Nodes by_node(const Fabric& fabric, std::span<const RankId> members) {
  std::map<std::int32_t, std::vector<RankId>> nodes;
  for (const RankId member : members) nodes[fabric.machine().node_of(member)].push_back(member);
  Nodes result;
  for (auto& [node, ranks] : nodes) result.push_back(std::move(ranks));
  return result;
}

void load_ring(Loads& loads, const Nodes& nodes, double in_node, double across_nodes) {
  for (std::size_t n = 0; n < nodes.size(); ++n) {
    const auto& here = nodes[n];
    const auto& there = nodes[(n + 1) % nodes.size()];
    for (std::size_t i = 0; i < here.size(); ++i) {
      loads.add_route(here[i], here[(i + 1) % here.size()], in_node);
      loads.add_route(here[i], there[i % there.size()], across_nodes);
    }
  }
}

void load_direct(Loads& loads, std::span<const RankId> members, double sent) {
  const double part = sent / static_cast<double>(members.size() - 1);
  for (const RankId from : members) {
    for (const RankId to : members) {
      if (from != to) loads.add_route(from, to, part);
    }
  }
}

// What the hops alone take: the calibrated latency was measured end to end and has them in it, so the larger counts.
// Around a ring every chunk passes n-1 members (all_reduce: twice that); otherwise one way (all_reduce: two).
Seconds hops_latency(const Fabric& fabric, CollectiveOp op, CollectiveAlgorithm algorithm,
                     std::span<const RankId> members) {
  Seconds around(0);
  Seconds farthest(0);
  for (std::size_t i = 0; i < members.size(); ++i) {
    const Seconds hop = fabric.route_latency(members[i], members[(i + 1) % members.size()]);
    around += hop;
    farthest = std::max(farthest, hop);
  }
  const double times = op == CollectiveOp::all_reduce ? 2 : 1;
  if (algorithm != CollectiveAlgorithm::ring) return farthest * times;
  const auto n = static_cast<double>(members.size());
  return around * (times * (n - 1) / n);
}

}  // namespace

Footprint collective_footprint(const Fabric& fabric, CollectiveOp op, CollectiveAlgorithm algorithm,
                               std::span<const RankId> members, Bytes bytes) {
  if (members.size() == 1 || bytes == Bytes(0)) return {};
  const Nodes nodes = by_node(fabric, members);
  const CollectiveEstimate estimate =
      fabric.cost().collective(op, algorithm, static_cast<int>(members.size()), static_cast<int>(nodes.size()), bytes);
  const auto in_node = static_cast<double>(estimate.bytes_in_node.value());
  const auto across_nodes = static_cast<double>(estimate.bytes_across_nodes.value());

  Loads loads(fabric);
  switch (algorithm) {
    // In the one node of nvls the way to the next member is this one's link up and that one's link down: all of them.
    case CollectiveAlgorithm::nvls:
    case CollectiveAlgorithm::ring: load_ring(loads, nodes, in_node, across_nodes); break;
    case CollectiveAlgorithm::direct: load_direct(loads, members, in_node + across_nodes); break;
  }

  Footprint footprint;
  footprint.latency = std::max(estimate.latency, hops_latency(fabric, op, algorithm, members));
  footprint.provenance =
      worst(estimate.provenance, fabric.span_provenance(nodes.size() > 1 ? Span::across_nodes : Span::in_node));
  for (const auto& [resource, load] : loads.bytes()) footprint.demand = std::max(footprint.demand, load);
  for (const auto& [resource, load] : loads.bytes()) footprint.uses.push_back({resource, load / footprint.demand});
  // Kernels may need time even where no link is used: then the activity advances in seconds, at one per second.
  if (footprint.uses.empty()) footprint.demand = estimate.endpoint.value();
  footprint.ceiling = footprint.demand / estimate.endpoint.value();
  return footprint;
}

Footprint transfer_footprint(const Fabric& fabric, RankId from, RankId to, Bytes bytes) {
  if (from == to || bytes == Bytes(0)) return {};
  const MessageEstimate estimate = fabric.cost().message(fabric.span(from, to), bytes);
  Footprint footprint;
  footprint.latency = std::max(estimate.latency, fabric.route_latency(from, to));
  footprint.demand = static_cast<double>(bytes.value());
  footprint.ceiling = estimate.rate.value();
  fabric.for_each_resource(from, to, [&](std::int32_t resource) { footprint.uses.push_back({resource, 1.0}); });
  footprint.provenance = worst(worst(estimate.provenance, fabric.route_provenance(from, to)),
                               fabric.span_provenance(fabric.span(from, to)));
  return footprint;
}

}  // namespace foretoken::sim
