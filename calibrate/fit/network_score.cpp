#include "calibrate/fit/network_score.hpp"

#include <functional>
#include <set>
#include <tuple>

#include "calibrate/fit/held_out.hpp"
#include "calibrate/fit/network_families.hpp"

namespace foretoken::calibrate {
namespace {

using sim::ExchangeOp;
using sim::NetworkCost;

class Errors {
 public:
  void add(Bytes bytes, Seconds prediction, Seconds measured) {
    (bytes < kSmall ? small_ : large_).push_back(ratio(prediction, measured) - 1.0);
  }
  [[nodiscard]] NetworkScore score(std::string family, std::string scored_on) const {
    NetworkScore score;
    score.family = std::move(family);
    score.scored_on = std::move(scored_on);
    score.small_rows = std::ssize(small_);
    score.large_rows = std::ssize(large_);
    if (!small_.empty()) score.small_median = held_out_statistics(small_).median;
    if (!large_.empty()) score.large_median = held_out_statistics(large_).median;
    return score;
  }

 private:
  std::vector<double> small_;
  std::vector<double> large_;
};

NetworkScore score_collectives(const std::string& family, const std::string& scored_on, const NetworkCost& cost,
                               const std::vector<CollectiveSample>& samples) {
  Errors errors;
  for (const CollectiveSample& s : samples) errors.add(s.bytes, predicted(cost, algorithm_of(s), s), s.time);
  return errors.score(family, scored_on);
}

void score_exchanges(std::vector<NetworkScore>& scores, const std::string& family, const std::string& scored_on,
                     const NetworkCost& cost, const std::vector<ExchangeSample>& samples) {
  for (const ExchangeOp op : {ExchangeOp::dispatch, ExchangeOp::combine}) {
    const bool dispatch = op == ExchangeOp::dispatch;
    Errors errors;
    for (const ExchangeSample& s : samples) {
      const Bytes row = dispatch ? dispatch_row_bytes(s.hidden) : combine_row_bytes(s.hidden);
      const Bytes sent = row * (std::int64_t{s.tokens} * s.top_k);
      const Seconds measured = dispatch ? s.dispatch : s.combine;
      if (measured > Seconds(0.0)) errors.add(sent, predicted(cost, op, s), measured);
    }
    scores.push_back(errors.score(family + (dispatch ? " dispatch" : " combine"), scored_on));
  }
}

// The shapes of a table, dealt out to two halves in ascending order.
std::function<bool(const ExchangeSample&)> every_other_shape(const std::vector<ExchangeSample>& samples) {
  using Sizes = std::tuple<int, int, int>;
  const auto sizes_of = [](const ExchangeSample& s) { return Sizes(s.hidden, s.top_k, s.experts); };
  std::set<Sizes> all;
  for (const ExchangeSample& sample : samples) all.insert(sizes_of(sample));
  std::set<Sizes> seen;
  bool take = true;
  for (const Sizes& shape : all) {
    if (take) seen.insert(shape);
    take = !take;
  }
  return [=](const ExchangeSample& s) { return seen.contains(sizes_of(s)); };
}

template <class Sample>
std::vector<Sample> every_other_row(const std::vector<Sample>& samples, bool first) {
  std::vector<Sample> out;
  for (std::size_t i = first ? 0 : 1; i < samples.size(); i += 2) out.push_back(samples[i]);
  return out;
}

const auto kSeen = [](const CollectiveSample& s) { return odd_size(s.bytes); };
const auto kAcross = [](const ExchangeSample& s) { return s.nodes > 1; };

void score_nccl(std::vector<NetworkScore>& scores, const NetworkMeasurements& all, NetworkCalibration& network) {
  const auto by = [](CollectiveAlgorithm algorithm) {
    return [algorithm](const CollectiveSample& s) { return algorithm_of(s) == algorithm; };
  };
  const auto of = [](CollectiveOp op) { return [op](const CollectiveSample& s) { return s.op == op; }; };
  const auto ring_run = rows_of_run(all.runs, "n309_gjaion_2node_ring");
  const auto by_choice = two_nodes_by_choice(all);
  const auto seen = keep(all.table, kSeen);
  fit_ring(network, keep(seen, by(CollectiveAlgorithm::ring)));
  fit_nvls(network, keep(seen, by(CollectiveAlgorithm::nvls)));
  fit_ring_across_nodes(network, keep(ring_run, kSeen));
  fit_tree(network, keep(keep(by_choice, kSeen), by(CollectiveAlgorithm::tree)));
  fit_nvls_tree(network, keep(keep(by_choice, kSeen), by(CollectiveAlgorithm::nvls_tree)));

  const NetworkCost cost(network);
  const auto unseen = keep(all.table, std::not_fn(kSeen));
  const std::string even = "even powers of two";
  scores.push_back(score_collectives("all_reduce, 1 node", even, cost, keep(unseen, of(CollectiveOp::all_reduce))));
  scores.push_back(score_collectives("all_gather, 1 node", even, cost, keep(unseen, of(CollectiveOp::all_gather))));
  scores.push_back(
      score_collectives("all_reduce, 2 nodes, NCCL's choice", even, cost, keep(by_choice, std::not_fn(kSeen))));
  Errors ring;
  for (const CollectiveSample& s : keep(ring_run, std::not_fn(kSeen)))
    ring.add(s.bytes, predicted(cost, CollectiveAlgorithm::ring, s), s.time);
  scores.push_back(ring.score("all_reduce, 2 nodes, ring", even));
  scores.push_back(score_collectives("all_reduce, 2 nodes, NCCL's choice", "all rows of another cluster", cost,
                                     rows_of_run(all.runs, "n309_gjaion_2of8node")));
  scores.push_back(score_collectives("all_reduce, 2 nodes, NCCL's choice", "all rows over 32 x 100 Gb/s EFA", cost,
                                     rows_of_run(all.runs, "aws_p5_2node")));
  NetworkCalibration ethernet = network;
  ethernet.infiniband.nominal = ethernet.infiniband.nominal * 0.5;
  scores.push_back(score_collectives("all_gather, 2 nodes", "all rows over 8 x 200 Gb/s Ethernet (TCPXO)",
                                     NetworkCost(ethernet), rows_of_run(all.runs, "gke_a3mega_2node_allgather")));
  scores.push_back(score_collectives("all_reduce, 1 node", "all rows of vidur", cost, all.vidur));
}

}  // namespace

std::vector<NetworkScore> score_network(const NetworkMeasurements& all, const NetworkCalibration& links) {
  std::vector<NetworkScore> scores;
  NetworkCalibration network = links;
  score_nccl(scores, all, network);

  const auto low_latency_seen = every_other_shape(all.one_node);
  const auto low_latency_across = keep(all.legacy, kAcross);
  fit_exchange_in_node(network, keep(all.one_node, low_latency_seen));
  fit_exchange_across_nodes(network, every_other_row(low_latency_across, true));
  const auto normal_seen = every_other_shape(all.normal);
  const auto normal_across = keep(all.normal_legacy, kAcross);
  fit_hierarchical_in_node(network, keep(all.normal, normal_seen));
  fit_hierarchical_across_nodes(network, every_other_row(normal_across, true));

  const NetworkCost cost(network);
  score_exchanges(scores, "DeepEP low-latency, 1 node,", "every other shape", cost,
                  keep(all.one_node, std::not_fn(low_latency_seen)));
  score_exchanges(scores, "DeepEP low-latency, 2 nodes,", "every other row", cost,
                  every_other_row(low_latency_across, false));
  score_exchanges(scores, "DeepEP normal, 1 node,", "every other shape", cost,
                  keep(all.normal, std::not_fn(normal_seen)));
  score_exchanges(scores, "DeepEP normal, 2 nodes,", "every other row", cost, every_other_row(normal_across, false));
  return scores;
}

}  // namespace foretoken::calibrate
