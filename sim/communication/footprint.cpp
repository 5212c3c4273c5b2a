#include "sim/communication/footprint.hpp"

#include <algorithm>
#include <map>

#include "sim/cost/node_trees.hpp"

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
  /// Between a member and the switch of its node; `toward` is any other member there.
  void add_up(RankId from, RankId toward, double bytes) { add_one(from, toward, bytes, true); }
  void add_down(RankId to, RankId from, double bytes) { add_one(from, to, bytes, false); }
  [[nodiscard]] const std::map<std::int32_t, double>& bytes() const { return bytes_; }

 private:
  void add_one(RankId from, RankId to, double bytes, bool first) {
    std::vector<std::int32_t> route;
    fabric_.for_each_resource(from, to, [&](std::int32_t resource) { route.push_back(resource); });
    if (!route.empty()) bytes_[first ? route.front() : route.back()] += bytes;
  }

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

std::size_t fewest(const Nodes& nodes) {
  return std::min_element(nodes.begin(), nodes.end(), [](const auto& a, const auto& b) { return a.size() < b.size(); })
      ->size();
}

void load_ring(Loads& loads, const Nodes& nodes, double in_node, double across_nodes) {
  const std::size_t rings = fewest(nodes);
  for (std::size_t n = 0; n < nodes.size(); ++n) {
    const auto& here = nodes[n];
    const auto& there = nodes[(n + 1) % nodes.size()];
    for (std::size_t i = 0; i < here.size(); ++i) {
      loads.add_route(here[i], here[(i + 1) % here.size()], in_node);
      if (i < rings) loads.add_route(here[i], there[i], across_nodes);
    }
  }
}

void load_nvls(Loads& loads, const std::vector<RankId>& here, double up, double down) {
  for (std::size_t i = 0; i < here.size(); ++i) {
    const RankId other = here[(i + 1) % here.size()];
    loads.add_up(here[i], other, up);
    loads.add_down(here[i], other, down);
  }
}

// Both trees, `half` a part each way over every edge.
void load_trees(Loads& loads, const Nodes& nodes, double half) {
  const std::size_t parts = fewest(nodes);
  for (const bool second : {false, true}) {
    const std::vector<std::int32_t> parents = node_tree(static_cast<std::int32_t>(nodes.size()), second);
    for (std::size_t n = 0; n < nodes.size(); ++n) {
      if (parents[n] < 0) continue;
      const auto& above = nodes[static_cast<std::size_t>(parents[n])];
      for (std::size_t i = 0; i < parts; ++i) {
        loads.add_route(nodes[n][i], above[i], half);
        loads.add_route(above[i], nodes[n][i], half);
      }
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
// Around a ring every chunk passes n-1 members (all_reduce: twice that), over trees it goes up and down; otherwise one
// way (all_reduce: two).
Seconds hops_latency(const Fabric& fabric, CollectiveOp op, CollectiveAlgorithm algorithm,
                     std::span<const RankId> members, const Nodes& nodes) {
  Seconds around(0);
  Seconds farthest(0);
  Seconds farthest_in_node(0);
  for (std::size_t i = 0; i < members.size(); ++i) {
    const RankId next = members[(i + 1) % members.size()];
    const Seconds hop = fabric.route_latency(members[i], next);
    around += hop;
    farthest = std::max(farthest, hop);
    if (fabric.span(members[i], next) == Span::in_node) farthest_in_node = std::max(farthest_in_node, hop);
  }
  const double times = op == CollectiveOp::all_reduce ? 2 : 1;
  const auto n = static_cast<double>(members.size());
  switch (algorithm) {
    case CollectiveAlgorithm::ring: return around * (times * (n - 1) / n);
    case CollectiveAlgorithm::direct:
    case CollectiveAlgorithm::nvls: return farthest * times;
    case CollectiveAlgorithm::tree:
    case CollectiveAlgorithm::nvls_tree: break;
  }
  const auto crossings = static_cast<double>(node_tree_depth(static_cast<std::int32_t>(nodes.size())));
  const auto on_node =
      static_cast<double>(std::max_element(nodes.begin(), nodes.end(), [](const auto& a, const auto& b) {
                            return a.size() < b.size();
                          })->size());
  const double steps = algorithm == CollectiveAlgorithm::tree ? on_node - 1 : 1;
  return (farthest * crossings + farthest_in_node * steps) * 2.0;
}

}  // namespace

Footprint collective_footprint(const Fabric& fabric, CollectiveOp op, CollectiveAlgorithm algorithm,
                               std::span<const RankId> members, Bytes bytes) {
  if (members.size() == 1 || bytes == Bytes(0)) return {};
  const Nodes nodes = by_node(fabric, members);
  const CollectiveEstimate estimate = fabric.cost().collective(op, algorithm, fabric.group(members), bytes);
  const auto in_node = static_cast<double>(estimate.bytes_in_node.value());
  const auto across_nodes = static_cast<double>(estimate.bytes_across_nodes.value());

  if (algorithm == CollectiveAlgorithm::nvls || algorithm == CollectiveAlgorithm::nvls_tree)
    for (const std::vector<RankId>& here : nodes) fabric.require_nvswitch(here);
  Loads loads(fabric);
  switch (algorithm) {
    case CollectiveAlgorithm::ring: load_ring(loads, nodes, in_node, across_nodes); break;
    case CollectiveAlgorithm::nvls: {
      const double share = in_node / static_cast<double>(members.size());
      load_nvls(loads, nodes.front(), op == CollectiveOp::all_gather ? share : in_node,
                op == CollectiveOp::reduce_scatter ? share : in_node);
      break;
    }
    // Along a chain, and to a switch and back, every member's link carries the same each way.
    case CollectiveAlgorithm::tree:
    case CollectiveAlgorithm::nvls_tree: {
      load_ring(loads, nodes, in_node, 0);
      const double share = node_tree_share(static_cast<std::int32_t>(nodes.size()));
      if (share > 0) load_trees(loads, nodes, across_nodes / share / 2);
      break;
    }
    case CollectiveAlgorithm::direct: load_direct(loads, members, in_node + across_nodes); break;
  }

  Footprint footprint;
  footprint.latency = std::max(estimate.latency, hops_latency(fabric, op, algorithm, members, nodes));
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
