#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "calibrate/fit/held_out.hpp"
#include "calibrate/fit/log_least_squares.hpp"
#include "calibrate/fit/network_families.hpp"
#include "calibrate/fit/network_hold_outs.hpp"
#include "calibrate/measure/device_calibration.hpp"
#include "calibrate/measure/device_samples.hpp"
#include "calibrate/measure/device_source.hpp"
#include "core/error.hpp"

namespace foretoken::calibrate {
namespace {

using Algorithm = CollectiveAlgorithm;

constexpr const char* kMessages = "this-launch";
// So many as a fit has parameters, and one more.
constexpr std::size_t kRingMin = 9;
constexpr std::size_t kFewMin = 4;

std::vector<CollectiveSample> by(const DeviceSamples& samples, Algorithm algorithm, bool across) {
  std::vector<CollectiveSample> out;
  for (const AlgorithmSample& one : samples.collectives)
    if (one.algorithm == algorithm && (one.sample.nodes > 1) == across) out.push_back(one.sample);
  return out;
}

// An even all-to-all has one message per rank, however many experts that has: nothing is paid per expert.
void fit_exchange(NetworkCalibration& network, const std::vector<ExchangeSample>& samples, bool across) {
  constexpr int queues_max = 4096;
  for (const sim::ExchangeOp op : {sim::ExchangeOp::dispatch, sim::ExchangeOp::combine}) {
    ExchangeCalibration& exchange = op == sim::ExchangeOp::dispatch ? network.dispatch : network.combine;
    std::vector<ExchangeSample> timed;
    std::vector<double> measured;
    for (const ExchangeSample& sample : samples) {
      const Seconds time = op == sim::ExchangeOp::dispatch ? sample.dispatch : sample.combine;
      if ((sample.nodes > 1) != across || !(time > Seconds(0))) continue;
      timed.push_back(sample);
      measured.push_back(time.value());
    }
    if (timed.size() < kFewMin) continue;
    const auto apply = [across](ExchangeCalibration& to, std::span<const double> p) {
      (across ? to.latency_across_nodes : to.latency_one_node) = Seconds(p[0]);
      (across ? to.rate_across_nodes : to.rate_in_node) = BytesPerSecond(p[1]);
    };
    if (!across) {
      exchange.queue_latency = Seconds(0);
      exchange.blocks.reset();  // of DeepEP's kernel; NCCL has none
      exchange.queues_min = 1;
      exchange.queues_max = queues_max;
      exchange.fitted.clear();
    }
    const auto predict = [&](std::span<const double> p, std::span<double> predictions) {
      NetworkCalibration trial = network;
      apply(op == sim::ExchangeOp::dispatch ? trial.dispatch : trial.combine, p);
      const sim::NetworkCost cost(std::move(trial));
      for (std::size_t i = 0; i < timed.size(); ++i) predictions[i] = predicted(cost, op, timed[i]).value();
    };
    apply(exchange, fit_log_least_squares({20e-6, across ? 40e9 : 200e9}, measured, predict));
    FittedRange range{timed[0].ranks, timed[0].ranks, timed[0].nodes, timed[0].nodes, Bytes(0), Bytes(0)};
    for (std::size_t i = 0; i < timed.size(); ++i) {
      const ExchangeSample& s = timed[i];
      const Bytes row = op == sim::ExchangeOp::dispatch ? dispatch_row_bytes(s.hidden) : combine_row_bytes(s.hidden);
      const Bytes sent = row * (std::int64_t{s.tokens} * s.top_k);
      range.ranks_min = std::min(range.ranks_min, s.ranks);
      range.ranks_max = std::max(range.ranks_max, s.ranks);
      range.nodes_min = std::min(range.nodes_min, s.nodes);
      range.nodes_max = std::max(range.nodes_max, s.nodes);
      range.bytes_min = i == 0 ? sent : std::min(range.bytes_min, sent);
      range.bytes_max = std::max(range.bytes_max, sent);
    }
    exchange.fitted.push_back(range);
    exchange.source = kMessages;
  }
}

class NetworkFitter {
 public:
  NetworkFitter(const DeviceSamples& samples, NetworkCalibration network)
      : samples_(samples), network_(std::move(network)), guess_(network_first_guess()) {}

  NetworkCalibration operator()() {
    ring();
    trees();
    exchanges();
    messages();
    return std::move(network_);
  }
  [[nodiscard]] std::string residuals() const {
    std::string text =
        "| messages | rows seen | median of abs. | p90 of abs. | signed mean | rows |\n|---|---|---|---|---|---|\n";
    for (const NetworkResidual& r : report_.residuals())
      text += fmt::format("| {} | {}{} | {:.1f} % | {:.1f} % | {:+.1f} % | {} |\n", r.family, r.subset,
                          r.held_out ? ", held out" : "", 100 * r.median, 100 * r.p90, 100 * r.signed_mean, r.rows);
    return text;
  }

 private:
  // The first guess of the whole section is where a fit begins; what a launch of one node cannot tell stays.
  void ring() {
    const std::vector<CollectiveSample> in_node = by(samples_, Algorithm::ring, false);
    const std::vector<CollectiveSample> across = by(samples_, Algorithm::ring, true);
    if (in_node.size() >= kRingMin) {
      const Seconds network_step = network_.ring.network_step_latency;
      network_.ring = guess_.ring;
      network_.ring.network_step_latency = network_step;
      hold_out_sizes(report_, {"ring, one node", Algorithm::ring, fit_ring}, network_, in_node);
      fit_ring(network_, in_node);
      network_.ring.source = kMessages;
      report_.add("ring, one node", "all rows", false, sim::NetworkCost(network_), Algorithm::ring, in_node);
    }
    if (across.size() >= kFewMin && network_.ring.source == kMessages) {
      network_.ring.network_step_latency = guess_.ring.network_step_latency;
      hold_out_sizes(report_, {"ring, several nodes", Algorithm::ring, fit_ring_across_nodes}, network_, across);
      fit_ring_across_nodes(network_, across);
      report_.add("ring, several nodes", "all rows", false, sim::NetworkCost(network_), Algorithm::ring, across);
    }
    const std::vector<CollectiveSample> nvls = by(samples_, Algorithm::nvls, false);
    if (nvls.size() < kFewMin) return;
    network_.nvls = guess_.nvls;
    hold_out_sizes(report_, {"nvls", Algorithm::nvls, fit_nvls}, network_, nvls);
    fit_nvls(network_, nvls);
    network_.nvls.source = kMessages;
    report_.add("nvls", "all rows", false, sim::NetworkCost(network_), Algorithm::nvls, nvls);
  }

  void trees() {
    const std::vector<CollectiveSample> tree = by(samples_, Algorithm::tree, true);
    if (tree.size() >= kFewMin) {
      hold_out_sizes(report_, {"tree", Algorithm::tree, fit_tree}, network_, tree);
      fit_tree(network_, tree);
      network_.tree->source = kMessages;
      report_.add("tree", "all rows", false, sim::NetworkCost(network_), Algorithm::tree, tree);
    }
    const std::vector<CollectiveSample> nvls_tree = by(samples_, Algorithm::nvls_tree, true);
    if (nvls_tree.size() < kFewMin) return;
    hold_out_sizes(report_, {"nvls_tree", Algorithm::nvls_tree, fit_nvls_tree}, network_, nvls_tree);
    fit_nvls_tree(network_, nvls_tree);
    network_.nvls_tree->source = kMessages;
    report_.add("nvls_tree", "all rows", false, sim::NetworkCost(network_), Algorithm::nvls_tree, nvls_tree);
  }

  void exchanges() {
    for (const bool across : {false, true}) fit_exchange(network_, samples_.exchanges, across);
    if (network_.dispatch.source != kMessages && network_.combine.source != kMessages) return;
    report_.add("all-to-all, all rows", false, sim::NetworkCost(network_), samples_.exchanges);
  }

  void messages() {
    for (const bool across : {false, true}) {
      std::vector<MessageSample> of_span;
      std::copy_if(samples_.messages.begin(), samples_.messages.end(), std::back_inserter(of_span),
                   [across](const MessageSample& s) { return s.across_nodes == across; });
      if (of_span.size() < kFewMin) continue;
      MessageCalibration& message = across ? network_.message_across_nodes : network_.message_in_node;
      message = across ? guess_.message_across_nodes : guess_.message_in_node;
      fit_messages(network_, of_span);
      message.source = kMessages;
      report_.add(across ? "send, across nodes" : "send, in a node", "all rows", false,
                  errors_of(sim::NetworkCost(network_), of_span));
    }
  }

  const DeviceSamples& samples_;
  NetworkCalibration network_;
  NetworkCalibration guess_;
  NetworkReport report_;
};

std::set<std::string> sources_of(const NetworkCalibration& network) {
  std::set<std::string> ids;
  for (const LinkCalibration* link : {&network.nvlink, &network.pcie, &network.infiniband}) ids.insert(link->source);
  for (const MessageCalibration* one : {&network.message_in_node, &network.message_across_nodes})
    ids.insert(one->source);
  for (const ExchangeCalibration* one : {&network.dispatch, &network.combine}) ids.insert(one->source);
  ids.insert({network.ring.source, network.nvls.source, network.direct.source});
  if (network.tree) ids.insert(network.tree->source);
  if (network.nvls_tree) ids.insert(network.nvls_tree->source);
  if (network.hierarchical_dispatch) ids.insert(network.hierarchical_dispatch->source);
  if (network.hierarchical_combine) ids.insert(network.hierarchical_combine->source);
  return ids;
}

std::string beside_markdown(const std::vector<BesideSample>& all) {
  if (all.empty()) return "";
  std::string text = "\n| beside products of matrices | alone | beside | slower by |\n|---|---|---|---|\n";
  for (const BesideSample& one : all) {
    runtime::cuda::MessageProbe alone = one.probe;
    alone.beside_gemm = false;
    text += fmt::format("| {} | {:.1f} us | {:.1f} us | {:+.0f} % |\n", name_of(runtime::cuda::Probe(alone)),
                        one.alone.value() * 1e6, one.beside.value() * 1e6, 100 * (ratio(one.beside, one.alone) - 1));
  }
  return text;
}

}  // namespace

DeviceFit fit_launch(const DeviceMeasurement& measured, const Calibration& base) {
  const DeviceSamples samples = samples_of(measured);
  DeviceFit out;
  out.calibration = base;
  out.calibration.file.clear();
  NetworkFitter fitter(samples, base.network);
  out.calibration.network = fitter();
  out.residuals = fitter.residuals() + beside_markdown(samples.beside);
  const std::set<std::string> before = sources_of(base.network);
  const std::set<std::string> after = sources_of(out.calibration.network);
  std::erase_if(out.calibration.sources, [&](const CalibrationSource& source) {
    return source.id == kMessages || (before.contains(source.id) && !after.contains(source.id));
  });
  if (!after.contains(kMessages))
    throw input_error("", "", "too few messages were measured for a fit", "measure on, with the same --out");
  out.calibration.sources.push_back(device_source(
      measured, kMessages,
      static_cast<std::int64_t>(samples.collectives.size() + samples.exchanges.size() + samples.messages.size()),
      "by NCCL, out of place, from when all ranks had begun; all-to-alls stand for dispatch and combine; algorithms by "
      "NCCL_ALGO"));
  return out;
}

}  // namespace foretoken::calibrate
