#include "sim/cost/network_cost.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "core/error.hpp"
#include "sim/cost/node_trees.hpp"

namespace foretoken::sim {
namespace {

// Far above any message and far below where sums of doubles and 64-bit integers lose whole bytes for good.
constexpr Bytes kBytesMax{std::int64_t{1} << 60};

Bytes whole_bytes(double bytes) {
  constexpr double limit = 9.2e18;
  return Bytes(static_cast<std::int64_t>(std::ceil(std::min(bytes, limit))));
}

Seconds time_of(double bytes, BytesPerSecond rate) { return Seconds(bytes / rate.value()); }

// Of one block after the other: how often each has one more unit to work through.
Seconds time_in_blocks(const ExchangeBlocks& fit, int queues, const ExchangeUnits& units) {
  if (units.count == 0 || queues == 0) return Seconds(0);
  const auto shares = [](std::int64_t all, std::int64_t among) { return (all + among - 1) / among; };
  const std::int64_t blocks = shares(queues, shares(queues, fit.sms));
  return (fit.unit_latency + units.row / fit.rate) * static_cast<double>(shares(units.count, blocks));
}

int ring_turns(CollectiveOp op) { return op == CollectiveOp::all_reduce ? 2 : 1; }

Provenance provenance_of(const std::vector<FittedCollective>& fitted, CollectiveOp op, const CollectiveGroup& group,
                         Bytes bytes) {
  // A fitted curve passes near its points, not through them, so nothing it returns counts as measured.
  const bool inside =
      group.evenly_spread() && std::any_of(fitted.begin(), fitted.end(), [&](const FittedCollective& entry) {
        return entry.op == op && entry.range.holds(group.ranks, group.nodes, bytes);
      });
  return inside ? Provenance::interpolated : Provenance::extrapolated;
}

struct Route {
  double in_node = 0.0;
  double across_nodes = 0.0;
};

CollectiveEstimate estimate(Seconds latency, Seconds endpoint, Route route, BytesPerSecond nic_rate) {
  CollectiveEstimate result;
  result.latency = latency;
  result.endpoint = endpoint;
  result.transfer = std::max(endpoint, time_of(route.across_nodes, nic_rate));
  result.bytes_in_node = whole_bytes(route.in_node);
  result.bytes_across_nodes = whole_bytes(route.across_nodes);
  return result;
}

const CollectiveEstimate& faster(const CollectiveEstimate& a, const CollectiveEstimate& b) {
  return b.total() < a.total() ? b : a;
}

}  // namespace

NetworkCost::NetworkCost(NetworkCalibration calibration) : calibration_(std::move(calibration)) {}

CollectiveEstimate NetworkCost::collective(CollectiveOp op, CollectiveAlgorithm algorithm, const CollectiveGroup& group,
                                           Bytes bytes) const {
  const auto [ranks, nodes, fewest, most] = group;
  FORETOKEN_CHECK(nodes >= 1 && fewest >= 1 && ranks / nodes >= fewest && most >= fewest,
                  "a collective has ranks on each of its nodes");
  FORETOKEN_CHECK(bytes >= Bytes(0) && bytes <= kBytesMax, "bytes of a collective out of range");
  if (algorithm == CollectiveAlgorithm::nvls) {
    FORETOKEN_CHECK(nodes == 1, "nvls stays within one node");
  }
  FORETOKEN_CHECK(carries_out(algorithm, op), "trees carry out all_reduce alone");
  if (ranks == 1 || bytes == Bytes(0)) return {};
  if (algorithm == CollectiveAlgorithm::nvls_tree) {
    FORETOKEN_CHECK(ranks > nodes, "the NVSwitch adds up two ranks or more");
  }

  const auto size = static_cast<double>(bytes.value());
  CollectiveEstimate result;
  switch (algorithm) {
    case CollectiveAlgorithm::ring:
      result = ring(op, group, size);
      result.provenance = provenance_of(calibration_.ring.fitted, op, group, bytes);
      break;
    case CollectiveAlgorithm::nvls:
      result = nvls(op, ranks, size);
      result.provenance = provenance_of(calibration_.nvls.fitted, op, group, bytes);
      break;
    case CollectiveAlgorithm::direct:
      result = direct(op, group, size);
      result.provenance = provenance_of(calibration_.direct.fitted, op, group, bytes);
      // Nobody measured it between nodes: its latency there is the ring's, by assumption.
      if (nodes > 1) result.provenance = worst(result.provenance, Provenance::assumed);
      break;
    case CollectiveAlgorithm::tree:
      result = tree(group, size);
      result.provenance =
          calibration_.tree ? provenance_of(calibration_.tree->fitted, op, group, bytes) : Provenance::assumed;
      break;
    case CollectiveAlgorithm::nvls_tree:
      result = nvls_tree(group, size);
      result.provenance = calibration_.nvls_tree ? provenance_of(calibration_.nvls_tree->fitted, op, group, bytes)
                                                 : Provenance::assumed;
      break;
  }
  result.provenance = worst(result.provenance, calibration_.at_best);
  return result;
}

CollectiveEstimate NetworkCost::ring(CollectiveOp op, const CollectiveGroup& group, double bytes) const {
  const auto [ranks, nodes, fewest, most] = group;
  const RingCalibration& ring = calibration_.ring;
  const double n = ranks;
  const double chunk = bytes / n;
  const double steps = ring_turns(op) * (n - 1);
  const double network_steps = nodes == 1 ? 0.0 : std::min(steps, static_cast<double>(ring_turns(op)) * nodes);

  const double wire = steps * chunk;
  Route route;
  route.across_nodes = nodes == 1 ? 0.0 : wire / fewest;
  route.in_node = nodes == 1 ? wire : wire - wire / most;

  const Seconds latency =
      ring.base_latency + ring.step_latency * (steps - network_steps) + ring.network_step_latency * network_steps;
  const double handled = wire + chunk;
  const CollectiveEstimate ll = estimate(latency, time_of(handled, ring.ll_rate), route, nic_rate());
  const CollectiveEstimate ll128 =
      estimate(latency + ring.ll128_latency, time_of(handled, ring.ll128_rate), route, nic_rate());
  const Seconds simple_endpoint =
      time_of(route.in_node, ring.simple_wire_rate) + time_of(chunk, ring.simple_local_rate);
  const CollectiveEstimate simple = estimate(latency + ring.simple_latency, simple_endpoint, route, nic_rate());
  return faster(faster(ll, ll128), simple);
}

CollectiveEstimate NetworkCost::nvls(CollectiveOp op, int ranks, double bytes) const {
  Route route;
  route.in_node = op == CollectiveOp::all_reduce ? bytes * (1.0 + 1.0 / ranks) : bytes;
  return estimate(calibration_.nvls.latency, time_of(route.in_node, calibration_.nvls.wire_rate), route, nic_rate());
}

TreeCalibration NetworkCost::tree_calibration() const {
  if (calibration_.tree) return *calibration_.tree;
  return {calibration_.ring.network_step_latency, calibration_.ring.ll_rate, {}, ""};
}

CollectiveEstimate NetworkCost::tree(const CollectiveGroup& group, double bytes) const {
  const RingCalibration& ring = calibration_.ring;
  const TreeCalibration tree = tree_calibration();
  const double on_node = group.most_on_node;
  const double crossings = node_tree_depth(group.nodes);
  Route route;
  route.across_nodes = node_tree_share(group.nodes) * bytes / group.fewest_on_node;
  route.in_node = 2.0 * bytes * (on_node - 1.0) / on_node;
  const Seconds chains = ring.base_latency + ring.step_latency * (2.0 * (on_node - 1.0));
  const CollectiveEstimate ll = estimate(chains + tree.network_step_latency * (2.0 * crossings),
                                         time_of(2.0 * bytes, tree.ll_rate), route, nic_rate());
  const CollectiveEstimate simple =
      estimate(chains + ring.simple_latency + ring.network_step_latency * (2.0 * crossings),
               time_of(route.in_node, ring.simple_wire_rate), route, nic_rate());
  return faster(ll, simple);
}

CollectiveEstimate NetworkCost::nvls_tree(const CollectiveGroup& group, double bytes) const {
  const double on_node = group.fewest_on_node;
  const double crossings = std::max(1, node_tree_depth(group.nodes));
  NvlsTreeCalibration tree;
  if (calibration_.nvls_tree) {
    tree = *calibration_.nvls_tree;
  } else {
    tree.latency = calibration_.nvls.latency + calibration_.ring.network_step_latency * 2.0;
    tree.wire_rate = calibration_.nvls.wire_rate;
  }
  Route route;
  route.across_nodes = node_tree_share(group.nodes) * bytes / on_node;
  route.in_node = bytes * (1.0 + 1.0 / on_node);
  const Seconds wire = time_of(route.in_node, tree.wire_rate);
  const Seconds fill(2.0 * std::sqrt(tree.fill_latency.value() * crossings * wire.value()));
  return estimate(tree.latency + tree_calibration().network_step_latency * (2.0 * (crossings - 1.0)) + fill, wire,
                  route, nic_rate());
}

CollectiveEstimate NetworkCost::direct(CollectiveOp op, const CollectiveGroup& group, double bytes) const {
  const double ranks = group.ranks;
  const DirectCalibration& direct = calibration_.direct;
  const double peers = ranks - 1;
  const double share_across = group.nodes == 1 ? 0.0 : (ranks - group.fewest_on_node) / peers;
  const Seconds crossing = group.nodes == 1 ? Seconds(0.0) : calibration_.ring.network_step_latency;
  const Seconds shot = direct.base_latency + crossing + direct.peer_latency * peers;
  const auto exchange = [&](Seconds latency, double sent, BytesPerSecond rate) {
    Route route;
    route.across_nodes = sent * share_across;
    route.in_node = sent - route.across_nodes;
    return estimate(latency, time_of(route.in_node, rate), route, nic_rate());
  };

  const double scattered = bytes * peers / ranks;
  if (op != CollectiveOp::all_reduce) return exchange(shot, scattered, direct.one_shot_rate);
  const CollectiveEstimate one_shot = exchange(shot, bytes * peers, direct.one_shot_rate);
  const Seconds second_shot = direct.second_shot_latency + crossing + direct.peer_latency * peers;
  const CollectiveEstimate two_shot = exchange(shot + second_shot, 2.0 * scattered, direct.two_shot_rate);
  return faster(one_shot, two_shot);
}

BytesPerSecond NetworkCost::nic_rate() const {
  return calibration_.infiniband.nominal * calibration_.infiniband.payload_efficiency;
}

MessageEstimate NetworkCost::message(Span span, Bytes bytes) const {
  FORETOKEN_CHECK(bytes >= Bytes(0) && bytes <= kBytesMax, "bytes of a message out of range");
  const bool in_node = span == Span::in_node;
  const MessageCalibration& message = in_node ? calibration_.message_in_node : calibration_.message_across_nodes;
  MessageEstimate result;
  result.latency = message.latency;
  result.rate = message.rate;
  result.transfer = bytes / message.rate;
  const bool inside = bytes >= message.fitted.bytes_min && bytes <= message.fitted.bytes_max;
  result.provenance = worst(inside ? Provenance::interpolated : Provenance::extrapolated, calibration_.at_best);
  return result;
}

ExchangeEstimate NetworkCost::exchange(ExchangeOp op, int ranks, int nodes, int queues, Bytes bytes,
                                       ExchangeUnits units) const {
  FORETOKEN_CHECK(nodes >= 1 && ranks >= nodes && queues >= 0, "an exchange needs a rank on each of its nodes");
  const ExchangeCalibration& exchange = op == ExchangeOp::dispatch ? calibration_.dispatch : calibration_.combine;
  ExchangeEstimate result;
  result.rate_in_node = exchange.rate_in_node;
  result.nic_rate = exchange.rate_across_nodes;
  result.kernel_rate = exchange.kernel_rate_across_nodes;
  if (ranks == 1) return result;
  result.latency = (nodes == 1 ? exchange.latency_one_node : exchange.latency_across_nodes) +
                   exchange.queue_latency * static_cast<double>(queues);
  if (exchange.blocks) result.latency = result.latency + time_in_blocks(*exchange.blocks, queues, units);
  const bool seen = queues >= exchange.queues_min && queues <= exchange.queues_max;
  const bool inside = seen && std::any_of(exchange.fitted.begin(), exchange.fitted.end(),
                                          [&](const FittedRange& range) { return range.holds(ranks, nodes, bytes); });
  result.provenance = worst(inside ? Provenance::interpolated : Provenance::extrapolated, calibration_.at_best);
  return result;
}

ExchangeEstimate NetworkCost::hierarchical_exchange(ExchangeOp op, int ranks, int nodes, int sms, Bytes bytes) const {
  FORETOKEN_CHECK(nodes >= 1 && ranks >= nodes && sms >= 1, "an exchange needs a rank on each of its nodes, and an SM");
  const bool dispatch = op == ExchangeOp::dispatch;
  const auto& fitted = dispatch ? calibration_.hierarchical_dispatch : calibration_.hierarchical_combine;
  if (!fitted) {  // as the other kernels, which is a guess
    ExchangeEstimate result = exchange(op, ranks, nodes, 0, bytes);
    result.provenance = Provenance::assumed;
    return result;
  }
  ExchangeEstimate result;
  const auto given = static_cast<double>(sms);
  result.rate_in_node = std::min(fitted->rate_in_node_per_sm * given, fitted->rate_in_node);
  result.nic_rate = nic_rate();
  result.kernel_rate = fitted->rate_across_nodes_per_sm * given;
  if (ranks == 1) return result;
  result.latency = nodes == 1 ? fitted->latency_one_node : fitted->latency_across_nodes;
  const bool inside = sms >= fitted->sms_min && sms <= fitted->sms_max &&
                      std::any_of(fitted->fitted.begin(), fitted->fitted.end(),
                                  [&](const FittedRange& range) { return range.holds(ranks, nodes, bytes); });
  result.provenance = worst(inside ? Provenance::interpolated : Provenance::extrapolated, calibration_.at_best);
  return result;
}

LinkRate NetworkCost::link(LinkClass which) const {
  const LinkCalibration& link = calibration_.link(which);
  return {link.payload_efficiency, worst(link.provenance, calibration_.at_best)};
}

NetworkCalibration with_hierarchical_exchange(NetworkCalibration network, int sms) {
  const NetworkCost cost(network);
  for (const ExchangeOp op : {ExchangeOp::dispatch, ExchangeOp::combine}) {
    const bool dispatch = op == ExchangeOp::dispatch;
    const auto& fitted = dispatch ? network.hierarchical_dispatch : network.hierarchical_combine;
    ExchangeCalibration& exchange = dispatch ? network.dispatch : network.combine;
    exchange.fitted.clear();
    if (!fitted) continue;
    const ExchangeEstimate estimate = cost.hierarchical_exchange(op, 2, 2, sms, Bytes(0));
    exchange.latency_one_node = fitted->latency_one_node;
    exchange.latency_across_nodes = fitted->latency_across_nodes;
    exchange.queue_latency = Seconds(0.0);
    exchange.blocks.reset();
    exchange.rate_in_node = estimate.rate_in_node;
    exchange.rate_across_nodes = estimate.nic_rate;
    exchange.kernel_rate_across_nodes = estimate.kernel_rate;
    exchange.queues_min = 1;
    exchange.queues_max = std::numeric_limits<int>::max();
    if (sms >= fitted->sms_min && sms <= fitted->sms_max) exchange.fitted = fitted->fitted;
    exchange.source = fitted->source;
  }
  return network;
}

Seconds exchange_alone(const ExchangeEstimate& estimate, Bytes bytes_in_node, Bytes bytes_across_nodes) {
  return estimate.latency +
         std::max(bytes_in_node / estimate.rate_in_node, bytes_across_nodes / estimate.rate_across_nodes());
}

}  // namespace foretoken::sim
