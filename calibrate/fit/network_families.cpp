#include "calibrate/fit/network_families.hpp"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "calibrate/fit/log_least_squares.hpp"
#include "sim/cost/token_exchange.hpp"

namespace foretoken::calibrate {
namespace {

constexpr Seconds us(double value) { return Seconds(value * 1e-6); }
constexpr BytesPerSecond gbps(double value) { return BytesPerSecond(value * 1e9); }

/// Fits `parameters` so that predict(cost, sample) meets time(sample) for all samples.
/// @param apply  puts the parameters, in the order of `start`, into a calibration
template <class Sample, class Apply, class Predict, class Time>
void fit_family(NetworkCalibration& network, std::span<const Sample> samples, std::vector<double> start,
                const Apply& apply, const Predict& predict, const Time& time) {
  std::vector<double> measured;
  measured.reserve(samples.size());
  for (const Sample& sample : samples) measured.push_back(time(sample).value());
  const auto predict_all = [&](std::span<const double> parameters, std::span<double> predictions) {
    NetworkCalibration trial = network;
    apply(trial, parameters);
    const sim::NetworkCost cost(std::move(trial));
    std::transform(samples.begin(), samples.end(), predictions.begin(),
                   [&](const Sample& sample) { return predict(cost, sample).value(); });
  };
  apply(network, fit_log_least_squares(std::move(start), measured, predict_all));
}

Seconds collective_time(const CollectiveSample& sample) { return sample.time; }

void widen(FittedRange& range, int ranks, int nodes, Bytes bytes) {
  range.ranks_min = std::min(range.ranks_min, ranks);
  range.ranks_max = std::max(range.ranks_max, ranks);
  range.nodes_min = std::min(range.nodes_min, nodes);
  range.nodes_max = std::max(range.nodes_max, nodes);
  range.bytes_min = std::min(range.bytes_min, bytes);
  range.bytes_max = std::max(range.bytes_max, bytes);
}

/// One box per op and number of nodes, appended to `fitted`.
void append_ranges(std::vector<FittedCollective>& fitted, std::span<const CollectiveSample> samples) {
  for (const CollectiveSample& sample : samples) {
    const auto same = [&](const FittedCollective& entry) {
      return entry.op == sample.op && entry.range.nodes_min == sample.nodes;
    };
    const auto place = std::find_if(fitted.begin(), fitted.end(), same);
    if (place == fitted.end()) {
      fitted.push_back(
          {sample.op, {sample.ranks, sample.ranks, sample.nodes, sample.nodes, sample.bytes, sample.bytes}});
    } else {
      widen(place->range, sample.ranks, sample.nodes, sample.bytes);
    }
  }
}

ExchangeCalibration& exchange_of(NetworkCalibration& network, sim::ExchangeOp op) {
  return op == sim::ExchangeOp::dispatch ? network.dispatch : network.combine;
}

Seconds time_of(sim::ExchangeOp op, const ExchangeSample& sample) {
  return op == sim::ExchangeOp::dispatch ? sample.dispatch : sample.combine;
}

// Dispatch was measured in FP8 and combine in BF16, everywhere.
sim::TokenExchange exchange_of(sim::ExchangeOp op, const ExchangeSample& sample) {
  const DType dtype = op == sim::ExchangeOp::dispatch ? DType::fp8 : DType::bf16;
  return {sample.ranks, sample.nodes,   sample.tokens,
          sample.top_k, sample.experts, token_row_bytes(op, ExchangeAlgorithm::hierarchical, sample.hidden, dtype)};
}

Bytes sent_by_rank(sim::ExchangeOp op, const ExchangeSample& sample) {
  if (sample.sms > 0) {
    const auto bytes = sim::token_exchange_bytes(ExchangeAlgorithm::hierarchical, exchange_of(op, sample));
    return Bytes(static_cast<std::int64_t>(bytes.in_node_sent));
  }
  const Bytes row =
      op == sim::ExchangeOp::dispatch ? dispatch_row_bytes(sample.hidden) : combine_row_bytes(sample.hidden);
  return row * (std::int64_t{sample.tokens} * sample.top_k);
}

void append_ranges(std::vector<FittedRange>& fitted, sim::ExchangeOp op, std::span<const ExchangeSample> samples) {
  for (const ExchangeSample& sample : samples) {
    const Bytes bytes = sent_by_rank(op, sample);
    const auto place = std::find_if(fitted.begin(), fitted.end(),
                                    [&](const FittedRange& range) { return range.nodes_min == sample.nodes; });
    if (place == fitted.end()) {
      fitted.push_back({sample.ranks, sample.ranks, sample.nodes, sample.nodes, bytes, bytes});
    } else {
      widen(*place, sample.ranks, sample.nodes, bytes);
    }
  }
}

/// Samples in which `op` was timed.
std::vector<ExchangeSample> timed(sim::ExchangeOp op, std::span<const ExchangeSample> samples) {
  std::vector<ExchangeSample> out;
  std::copy_if(samples.begin(), samples.end(), std::back_inserter(out),
               [op](const ExchangeSample& sample) { return time_of(op, sample) > Seconds(0.0); });
  return out;
}

template <class Start, class Apply>
void fit_exchange(NetworkCalibration& network, std::span<const ExchangeSample> samples, const Start& start,
                  const Apply& apply) {
  for (const sim::ExchangeOp op : {sim::ExchangeOp::dispatch, sim::ExchangeOp::combine}) {
    const std::vector<ExchangeSample> of_op = timed(op, samples);
    fit_family(
        network, std::span<const ExchangeSample>(of_op), start(exchange_of(network, op)),
        [&](NetworkCalibration& trial, std::span<const double> p) { apply(exchange_of(trial, op), p); },
        [op](const sim::NetworkCost& cost, const ExchangeSample& sample) { return predicted(cost, op, sample); },
        [op](const ExchangeSample& sample) { return time_of(op, sample); });
    append_ranges(exchange_of(network, op).fitted, op, of_op);
  }
}

std::optional<HierarchicalCalibration>& hierarchical_of(NetworkCalibration& network, sim::ExchangeOp op) {
  return op == sim::ExchangeOp::dispatch ? network.hierarchical_dispatch : network.hierarchical_combine;
}

template <class Apply>
void fit_hierarchical(NetworkCalibration& network, std::span<const ExchangeSample> samples,
                      const std::vector<double>& start, const Apply& apply) {
  for (const sim::ExchangeOp op : {sim::ExchangeOp::dispatch, sim::ExchangeOp::combine}) {
    const std::vector<ExchangeSample> of_op = timed(op, samples);
    fit_family(
        network, std::span<const ExchangeSample>(of_op), start,
        [&](NetworkCalibration& trial, std::span<const double> p) { apply(*hierarchical_of(trial, op), p); },
        [op](const sim::NetworkCost& cost, const ExchangeSample& sample) { return predicted(cost, op, sample); },
        [op](const ExchangeSample& sample) { return time_of(op, sample); });
    append_ranges(hierarchical_of(network, op)->fitted, op, of_op);
  }
}

HierarchicalCalibration hierarchical_first_guess() {
  HierarchicalCalibration guess;
  guess.latency_one_node = us(30);
  guess.latency_across_nodes = us(60);
  guess.rate_in_node_per_sm = gbps(15);
  guess.rate_in_node = gbps(300);
  guess.rate_across_nodes_per_sm = gbps(2);
  return guess;
}

}  // namespace

NetworkCalibration network_first_guess() {
  NetworkCalibration network;
  network.nvlink = {gbps(450), 0.8, Provenance::assumed, ""};
  network.pcie = {gbps(64), 0.8, Provenance::assumed, ""};
  network.infiniband = {gbps(50), 1.0, Provenance::assumed, ""};
  RingCalibration& ring = network.ring;
  ring.base_latency = us(5);
  ring.step_latency = us(1);
  ring.network_step_latency = us(20);
  ring.ll_rate = gbps(20);
  ring.ll128_latency = us(2);
  ring.ll128_rate = gbps(200);
  ring.simple_latency = us(20);
  ring.simple_wire_rate = gbps(350);
  ring.simple_local_rate = gbps(1000);
  network.nvls.latency = us(50);
  network.nvls.wire_rate = gbps(300);
  network.direct.base_latency = us(2);
  network.direct.peer_latency = us(0.1);
  network.direct.one_shot_rate = gbps(300);
  network.direct.second_shot_latency = us(3);
  network.direct.two_shot_rate = gbps(300);
  network.message_in_node = {us(10), gbps(300), {}, ""};
  network.message_across_nodes = {us(20), gbps(40), {}, ""};
  network.dispatch.latency_one_node = us(10);
  network.dispatch.latency_across_nodes = us(20);
  network.dispatch.queue_latency = us(0.01);
  network.dispatch.rate_in_node = gbps(200);
  network.dispatch.rate_across_nodes = gbps(45);
  network.combine = network.dispatch;
  return network;
}

void fit_ring(NetworkCalibration& network, std::span<const CollectiveSample> samples) {
  const RingCalibration& guess = network.ring;
  fit_family(
      network, samples,
      {guess.base_latency.value(), guess.step_latency.value(), guess.ll_rate.value(), guess.ll128_latency.value(),
       guess.ll128_rate.value(), guess.simple_latency.value(), guess.simple_wire_rate.value(),
       guess.simple_local_rate.value()},
      [](NetworkCalibration& trial, std::span<const double> p) {
        trial.ring.base_latency = Seconds(p[0]);
        trial.ring.step_latency = Seconds(p[1]);
        trial.ring.ll_rate = BytesPerSecond(p[2]);
        trial.ring.ll128_latency = Seconds(p[3]);
        trial.ring.ll128_rate = BytesPerSecond(p[4]);
        trial.ring.simple_latency = Seconds(p[5]);
        trial.ring.simple_wire_rate = BytesPerSecond(p[6]);
        trial.ring.simple_local_rate = BytesPerSecond(p[7]);
      },
      [](const sim::NetworkCost& cost, const CollectiveSample& sample) {
        return predicted(cost, CollectiveAlgorithm::ring, sample);
      },
      collective_time);
  append_ranges(network.ring.fitted, samples);
}

void fit_ring_across_nodes(NetworkCalibration& network, std::span<const CollectiveSample> samples) {
  fit_family(
      network, samples, {network.ring.network_step_latency.value()},
      [](NetworkCalibration& trial, std::span<const double> p) { trial.ring.network_step_latency = Seconds(p[0]); },
      [](const sim::NetworkCost& cost, const CollectiveSample& sample) {
        return predicted(cost, CollectiveAlgorithm::ring, sample);
      },
      collective_time);
  append_ranges(network.ring.fitted, samples);
}

void fit_nvls(NetworkCalibration& network, std::span<const CollectiveSample> samples) {
  fit_family(
      network, samples, {network.nvls.latency.value(), network.nvls.wire_rate.value()},
      [](NetworkCalibration& trial, std::span<const double> p) {
        trial.nvls.latency = Seconds(p[0]);
        trial.nvls.wire_rate = BytesPerSecond(p[1]);
      },
      [](const sim::NetworkCost& cost, const CollectiveSample& sample) {
        return predicted(cost, CollectiveAlgorithm::nvls, sample);
      },
      collective_time);
  append_ranges(network.nvls.fitted, samples);
}

void fit_tree(NetworkCalibration& network, std::span<const CollectiveSample> samples) {
  network.tree = TreeCalibration{us(5), gbps(20), {}, ""};
  fit_family(
      network, samples, {network.tree->network_step_latency.value(), network.tree->ll_rate.value()},
      [](NetworkCalibration& trial, std::span<const double> p) {
        trial.tree->network_step_latency = Seconds(p[0]);
        trial.tree->ll_rate = BytesPerSecond(p[1]);
      },
      [](const sim::NetworkCost& cost, const CollectiveSample& sample) {
        return predicted(cost, CollectiveAlgorithm::tree, sample);
      },
      collective_time);
  append_ranges(network.tree->fitted, samples);
}

void fit_nvls_tree(NetworkCalibration& network, std::span<const CollectiveSample> samples) {
  network.nvls_tree = NvlsTreeCalibration{us(50), gbps(300), us(20), {}, ""};
  const NvlsTreeCalibration& guess = *network.nvls_tree;
  fit_family(
      network, samples, {guess.latency.value(), guess.wire_rate.value(), guess.fill_latency.value()},
      [](NetworkCalibration& trial, std::span<const double> p) {
        trial.nvls_tree->latency = Seconds(p[0]);
        trial.nvls_tree->wire_rate = BytesPerSecond(p[1]);
        trial.nvls_tree->fill_latency = Seconds(p[2]);
      },
      [](const sim::NetworkCost& cost, const CollectiveSample& sample) {
        return predicted(cost, CollectiveAlgorithm::nvls_tree, sample);
      },
      collective_time);
  append_ranges(network.nvls_tree->fitted, samples);
}

void fit_direct(NetworkCalibration& network, std::span<const CollectiveSample> samples) {
  const DirectCalibration& guess = network.direct;
  fit_family(
      network, samples,
      {guess.base_latency.value(), guess.peer_latency.value(), guess.one_shot_rate.value(),
       guess.second_shot_latency.value(), guess.two_shot_rate.value()},
      [](NetworkCalibration& trial, std::span<const double> p) {
        trial.direct.base_latency = Seconds(p[0]);
        trial.direct.peer_latency = Seconds(p[1]);
        trial.direct.one_shot_rate = BytesPerSecond(p[2]);
        trial.direct.second_shot_latency = Seconds(p[3]);
        trial.direct.two_shot_rate = BytesPerSecond(p[4]);
      },
      [](const sim::NetworkCost& cost, const CollectiveSample& sample) {
        return predicted(cost, CollectiveAlgorithm::direct, sample);
      },
      collective_time);
  append_ranges(network.direct.fitted, samples);
}

void fit_exchange_in_node(NetworkCalibration& network, std::span<const ExchangeSample> samples) {
  const auto start = [](const ExchangeCalibration& guess) {
    std::vector<double> p{guess.latency_one_node.value(), guess.queue_latency.value(), guess.rate_in_node.value()};
    if (guess.blocks) p.insert(p.end(), {guess.blocks->rate.value(), guess.blocks->unit_latency.value()});
    return p;
  };
  fit_exchange(network, samples, start, [](ExchangeCalibration& exchange, std::span<const double> p) {
    exchange.latency_one_node = Seconds(p[0]);
    exchange.queue_latency = Seconds(p[1]);
    exchange.rate_in_node = BytesPerSecond(p[2]);
    if (!exchange.blocks) return;
    exchange.blocks->rate = BytesPerSecond(p[3]);
    exchange.blocks->unit_latency = Seconds(p[4]);
  });
}

void fit_exchange_across_nodes(NetworkCalibration& network, std::span<const ExchangeSample> samples) {
  const auto start = [](const ExchangeCalibration& guess) {
    return std::vector<double>{guess.latency_across_nodes.value(), guess.rate_across_nodes.value()};
  };
  fit_exchange(network, samples, start, [](ExchangeCalibration& exchange, std::span<const double> p) {
    exchange.latency_across_nodes = Seconds(p[0]);
    exchange.rate_across_nodes = BytesPerSecond(p[1]);
  });
}

void fit_hierarchical_in_node(NetworkCalibration& network, std::span<const ExchangeSample> samples) {
  const HierarchicalCalibration guess = hierarchical_first_guess();
  const auto [fewest, most] = std::minmax_element(
      samples.begin(), samples.end(), [](const ExchangeSample& a, const ExchangeSample& b) { return a.sms < b.sms; });
  for (const sim::ExchangeOp op : {sim::ExchangeOp::dispatch, sim::ExchangeOp::combine}) {
    hierarchical_of(network, op) = guess;
    if (samples.empty()) continue;
    hierarchical_of(network, op)->sms_min = fewest->sms;
    hierarchical_of(network, op)->sms_max = most->sms;
  }
  fit_hierarchical(network, samples,
                   {guess.latency_one_node.value(), guess.rate_in_node_per_sm.value(), guess.rate_in_node.value()},
                   [](HierarchicalCalibration& exchange, std::span<const double> p) {
                     exchange.latency_one_node = Seconds(p[0]);
                     exchange.rate_in_node_per_sm = BytesPerSecond(p[1]);
                     exchange.rate_in_node = BytesPerSecond(p[2]);
                   });
}

void fit_hierarchical_across_nodes(NetworkCalibration& network, std::span<const ExchangeSample> samples) {
  const HierarchicalCalibration guess = hierarchical_first_guess();
  fit_hierarchical(network, samples, {guess.latency_across_nodes.value(), guess.rate_across_nodes_per_sm.value()},
                   [](HierarchicalCalibration& exchange, std::span<const double> p) {
                     exchange.latency_across_nodes = Seconds(p[0]);
                     exchange.rate_across_nodes_per_sm = BytesPerSecond(p[1]);
                   });
}

void fit_messages(NetworkCalibration& network, std::span<const MessageSample> samples) {
  for (const bool across : {false, true}) {
    std::vector<MessageSample> of_span;
    std::copy_if(samples.begin(), samples.end(), std::back_inserter(of_span),
                 [across](const MessageSample& sample) { return sample.across_nodes == across; });
    if (of_span.empty() && !samples.empty()) continue;  // a span that was not measured stays as it is
    const auto which = [across](NetworkCalibration& trial) -> MessageCalibration& {
      return across ? trial.message_across_nodes : trial.message_in_node;
    };
    const MessageCalibration guess = which(network);
    fit_family(
        network, std::span<const MessageSample>(of_span), {guess.latency.value(), guess.rate.value()},
        [&](NetworkCalibration& trial, std::span<const double> p) {
          which(trial).latency = Seconds(p[0]);
          which(trial).rate = BytesPerSecond(p[1]);
        },
        [](const sim::NetworkCost& cost, const MessageSample& sample) { return predicted(cost, sample); },
        [](const MessageSample& sample) { return sample.time; });
    const int nodes = across ? 2 : 1;
    FittedRange& range = which(network).fitted;
    range = {2, 2, nodes, nodes, of_span.front().bytes, of_span.front().bytes};
    for (const MessageSample& sample : of_span) widen(range, 2, nodes, sample.bytes);
  }
}

Seconds predicted(const sim::NetworkCost& cost, CollectiveAlgorithm algorithm, const CollectiveSample& sample) {
  return cost.collective(sample.op, algorithm, sample.ranks, sample.nodes, sample.bytes).total();
}

Seconds predicted(const sim::NetworkCost& cost, sim::ExchangeOp op, const ExchangeSample& sample) {
  const Bytes sent = sent_by_rank(op, sample);
  if (sample.sms > 0) {
    const auto bytes = sim::token_exchange_bytes(ExchangeAlgorithm::hierarchical, exchange_of(op, sample));
    return sim::exchange_alone(cost.hierarchical_exchange(op, sample.ranks, sample.nodes, sample.sms, sent), sent,
                               Bytes(static_cast<std::int64_t>(bytes.across_sent)));
  }
  // Experts are drawn uniformly, so every rank gets the same share of what a rank sends; its own stays where it is.
  const int on_node = sample.ranks / sample.nodes;
  const Bytes in_node = sent * (on_node - 1) / sample.ranks;
  const Bytes across_nodes = sent * (sample.ranks - on_node) / sample.ranks;
  const Bytes row =
      op == sim::ExchangeOp::dispatch ? dispatch_row_bytes(sample.hidden) : combine_row_bytes(sample.hidden);
  return sim::exchange_alone(cost.exchange(op, sample.ranks, sample.nodes, sample.experts, sent,
                                           sim::units_of(op, sample.tokens, sample.top_k, row)),
                             in_node, across_nodes);
}

Seconds predicted(const sim::NetworkCost& cost, const MessageSample& sample) {
  return cost.message(sample.across_nodes ? sim::Span::across_nodes : sim::Span::in_node, sample.bytes).total();
}

}  // namespace foretoken::calibrate
