#include "sim/collective/alone.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/error.hpp"

namespace foretoken::sim {
namespace {

// So fast that it takes no time beside any link, and yet far from where doubles lose whole bytes.
constexpr BytesPerSecond kAtOnce(1e18);

std::vector<RankId> first_ranks(std::int32_t ranks) {
  std::vector<RankId> members;
  for (std::int32_t rank = 0; rank < ranks; ++rank) members.emplace_back(rank);
  return members;
}

Provenance worse_than_measured(Provenance provenance) { return worst(provenance, Provenance::extrapolated); }

}  // namespace

NetworkCalibration ideal_network(const plan::Machine& machine) {
  BytesPerSecond nvlink(0);
  BytesPerSecond nic(0);
  BytesPerSecond pcie(0);
  const auto at_nic = [&](const plan::Link& link) {
    return machine.kind_of(link.from) == plan::VertexKind::nic || machine.kind_of(link.to) == plan::VertexKind::nic;
  };
  for (const plan::Link& link : machine.links()) {
    if (link.link_class == LinkClass::infiniband && !at_nic(link)) continue;
    BytesPerSecond& fastest = link.link_class == LinkClass::nvlink       ? nvlink
                              : link.link_class == LinkClass::infiniband ? nic
                                                                         : pcie;
    fastest = std::max(fastest, link.bandwidth);
  }
  const auto perfect = [](BytesPerSecond nominal) {
    return LinkCalibration{nominal, 1.0, Provenance::measured, "ideal"};
  };
  NetworkCalibration network;
  network.nvlink = perfect(nvlink);
  network.infiniband = perfect(nic);
  network.pcie = perfect(pcie);
  RingCalibration& ring = network.ring;
  ring.ll_rate = ring.ll128_rate = ring.simple_wire_rate = ring.simple_local_rate = kAtOnce;
  network.nvls.wire_rate = nvlink;
  network.direct.one_shot_rate = network.direct.two_shot_rate = nvlink;
  network.message_in_node.rate = network.message_across_nodes.rate = kAtOnce;
  network.dispatch.rate_in_node = nvlink;
  network.dispatch.rate_across_nodes = nic;
  network.combine = network.dispatch;
  network.tree = TreeCalibration{Seconds(0), kAtOnce, {}, "ideal"};
  network.nvls_tree = NvlsTreeCalibration{Seconds(0), nvlink, Seconds(0), {}, "ideal"};
  HierarchicalCalibration exchange;
  exchange.rate_in_node_per_sm = exchange.rate_across_nodes_per_sm = kAtOnce;
  exchange.rate_in_node = nvlink;
  network.hierarchical_dispatch = network.hierarchical_combine = exchange;
  return network;
}

// Flows being put together.
class Alone::Flows {
 public:
  explicit Flows(const Fabric& fabric) : fabric_(fabric) { set_.capacity = fabric.capacities(); }

  void add(const Footprint& footprint, Seconds start) {
    begin(start, footprint.demand, footprint.ceiling);
    set_.uses.insert(set_.uses.end(), footprint.uses.begin(), footprint.uses.end());
    end();
  }
  void add(RankId from, RankId to, double bytes, Seconds start, double ceiling) {
    begin(start, bytes, ceiling);
    fabric_.for_each_resource(from, to, [&](std::int32_t resource) { set_.uses.push_back({resource, 1.0}); });
    end();
  }
  // Of the kernels of a dispatch or combine as well.
  void add_exchange(ExchangeOp op, RankId from, RankId to, double bytes, Seconds start) {
    const Span span = fabric_.span(from, to);
    begin(start, bytes, std::numeric_limits<double>::infinity());
    fabric_.for_each_resource(from, to, [&](std::int32_t resource) { set_.uses.push_back({resource, 1.0}); });
    set_.uses.push_back({fabric_.exchange_resource(from, op, span, Direction::out), 1.0});
    set_.uses.push_back({fabric_.exchange_resource(to, op, span, Direction::in), 1.0});
    end();
  }
  void set_capacity(std::int32_t resource, BytesPerSecond rate) {
    set_.capacity[static_cast<std::size_t>(resource)] = rate.value();
  }
  [[nodiscard]] const FlowSet& set() const { return set_; }

 private:
  void begin(Seconds start, double demand, double ceiling) {
    TimedFlow flow;
    flow.start = start.value();
    flow.demand = demand;
    flow.ceiling = ceiling;
    flow.uses_begin = static_cast<std::int32_t>(set_.uses.size());
    set_.flows.push_back(flow);
  }
  void end() { set_.flows.back().uses_end = static_cast<std::int32_t>(set_.uses.size()); }

  const Fabric& fabric_;
  FlowSet set_;
};

Alone::Alone(const Fabric& fabric, std::int32_t ranks, const AloneOptions& options)
    : Alone(fabric, first_ranks(ranks), options) {}

Alone::Alone(const Fabric& fabric, std::vector<RankId> members, const AloneOptions& options)
    : fabric_(fabric), members_(std::move(members)), options_(options) {
  FORETOKEN_CHECK(!members_.empty(), "somebody takes part");
  for (const RankId rank : members_)
    FORETOKEN_CHECK(0 <= rank.value() && rank.value() < fabric.machine().gpus(), "the machine has the ranks");
  group_ = fabric.group(members_);
}

Seconds Alone::latency(Seconds calibrated, RankId from, RankId to) const {
  return options_.zero_latency ? Seconds(0) : std::max(calibrated, fabric_.route_latency(from, to));
}

AloneResult Alone::result_of(const Flows& flows, Provenance provenance) const {
  AloneResult result;
  result.provenance = provenance;
  if (flows.set().flows.empty()) return result;
  const FlowTimes times = run_flows(flows.set(), {options_.accuracy, true, options_.seconds_max});
  result.time = Seconds(times.completion.last());
  result.flows = static_cast<std::int64_t>(times.completion.size());
  result.classes = times.classes;
  result.error = times.error;
  return result;
}

AloneResult Alone::collective(CollectiveOp op, CollectiveAlgorithm algorithm, Bytes bytes) const {
  const Footprint footprint = fabric_.collective(op, algorithm, members_, bytes);
  const Seconds start = options_.zero_latency ? Seconds(0) : footprint.latency;
  if (footprint.demand == 0) return {start, footprint.provenance, 0, 0, 0};
  Flows flows(fabric_);
  flows.add(footprint, start);
  return result_of(flows, footprint.provenance);
}

AloneResult Alone::all_to_all(AllToAllAlgorithm algorithm, const TrafficMatrix& matrix) const {
  const std::int32_t ranks = this->ranks();
  FORETOKEN_CHECK(matrix.ranks() == ranks, "the matrix is of these ranks");
  const auto add = [&](Flows& flows, Provenance& provenance, std::int32_t from, std::int32_t to) {
    const Bytes bytes = matrix.at(from, to);
    if (from == to || bytes == Bytes(0)) return;
    const RankId a = members_[static_cast<std::size_t>(from)];
    const RankId b = members_[static_cast<std::size_t>(to)];
    const MessageEstimate message = fabric_.cost().message(fabric_.span(a, b), bytes);
    flows.add(a, b, static_cast<double>(bytes.value()), latency(message.latency, a, b), message.rate.value());
    provenance = worst(provenance, worst(message.provenance, fabric_.span_provenance(fabric_.span(a, b))));
  };
  Provenance provenance = worse_than_measured(Provenance::measured);
  if (algorithm == AllToAllAlgorithm::direct) {
    Flows flows(fabric_);
    for (std::int32_t from = 0; from < ranks; ++from)
      for (std::int32_t to = 0; to < ranks; ++to) add(flows, provenance, from, to);
    return result_of(flows, provenance);
  }
  AloneResult result;
  for (std::int32_t round = 1; round < ranks; ++round) {
    Flows flows(fabric_);
    for (std::int32_t from = 0; from < ranks; ++from) add(flows, provenance, from, (from + round) % ranks);
    const AloneResult one = result_of(flows, provenance);
    result.time += one.time;
    result.flows += one.flows;
    result.classes += one.classes;
    result.error = std::max(result.error, one.error);
  }
  result.provenance = provenance;
  return result;
}

AloneResult Alone::send_recv(Bytes bytes) const {
  Flows flows(fabric_);
  Provenance provenance = Provenance::measured;
  for (std::size_t rank = 0; rank < members_.size(); ++rank) {
    const RankId from = members_[rank];
    const RankId to = members_[(rank + 1) % members_.size()];
    if (from == to || bytes == Bytes(0)) continue;
    const Footprint message = fabric_.transfer(from, to, bytes);
    flows.add(message, options_.zero_latency ? Seconds(0) : message.latency);
    provenance = worst(provenance, message.provenance);
  }
  return result_of(flows, provenance);
}

AloneResult Alone::exchange(ExchangeOp op, ExchangeAlgorithm algorithm, const TokenExchange& exchange, int sms) const {
  const std::int32_t ranks = this->ranks();
  FORETOKEN_CHECK(exchange.ranks == ranks && exchange.nodes == nodes() && evenly_spread(),
                  "the exchange is of these ranks, on full nodes");
  const bool low_latency = algorithm == ExchangeAlgorithm::low_latency;
  const TokenExchangeBytes bytes = token_exchange_bytes(algorithm, exchange);
  const double sent =
      low_latency ? static_cast<double>(exchange.row.value()) * exchange.tokens * exchange.top_k : bytes.in_node_sent;
  const Bytes sent_bytes(static_cast<std::int64_t>(sent));
  const ExchangeEstimate estimate =
      low_latency ? fabric_.cost().exchange(op, ranks, exchange.nodes, exchange.experts, sent_bytes,
                                            units_of(op, exchange.tokens, exchange.top_k, exchange.row))
                  : fabric_.cost().hierarchical_exchange(op, ranks, exchange.nodes, sms, sent_bytes);
  Flows flows(fabric_);
  const auto set_rates = [&](RankId rank) {
    for (const Direction direction : {Direction::out, Direction::in}) {
      flows.set_capacity(fabric_.exchange_resource(rank, op, Span::in_node, direction), estimate.rate_in_node);
      flows.set_capacity(fabric_.exchange_resource(rank, op, Span::across_nodes, direction),
                         fabric_.rate_across_nodes(estimate));
    }
  };
  const std::int32_t on_node = ranks / exchange.nodes;
  for (std::int32_t from = 0; from < ranks; ++from) {
    const RankId here = members_[static_cast<std::size_t>(from)];
    if (!low_latency) set_rates(here);
    for (std::int32_t to = 0; to < ranks; ++to) {
      if (from == to) continue;
      const RankId there = members_[static_cast<std::size_t>(to)];
      const bool in_node = fabric_.span(here, there) == Span::in_node;
      // From node to node a token takes the way to its source's counterpart.
      if (!in_node && !low_latency && from % on_node != to % on_node) continue;
      const double pair = in_node ? bytes.in_node_pair : bytes.across_pair;
      if (pair > 0) flows.add_exchange(op, here, there, pair, latency(estimate.latency, here, there));
    }
  }
  return result_of(flows, worst(estimate.provenance,
                                fabric_.span_provenance(exchange.nodes > 1 ? Span::across_nodes : Span::in_node)));
}

FlowTimes Alone::flows(std::span<const RequestedFlow> flows) const {
  Flows set(fabric_);
  std::vector<std::size_t> carried;
  std::vector<double> completion;
  for (std::size_t i = 0; i < flows.size(); ++i) {
    const RequestedFlow& flow = flows[i];
    completion.push_back(flow.start.value());  // of what goes nowhere
    if (flow.from == flow.to || flow.bytes == Bytes(0)) continue;
    const MessageEstimate message = fabric_.cost().message(fabric_.span(flow.from, flow.to), flow.bytes);
    set.add(flow.from, flow.to, static_cast<double>(flow.bytes.value()),
            flow.start + latency(message.latency, flow.from, flow.to), message.rate.value());
    carried.push_back(i);
  }
  FlowTimes times;
  if (!carried.empty()) times = run_flows(set.set(), {options_.accuracy, true, options_.seconds_max});
  for (std::size_t i = 0; i < carried.size(); ++i) completion[carried[i]] = times.completion[i];
  times.completion = Completions(std::move(completion));
  return times;
}

}  // namespace foretoken::sim
