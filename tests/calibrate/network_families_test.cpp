// Fits of invented machines: the model makes the samples, the fit has to find the machine again, on sizes and rank
// counts that it did not see.
#include "calibrate/fit/network_families.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <utility>
#include <vector>

#include "calibrate/fit/network_fit.hpp"
#include "core/error.hpp"
#include "tests/sim/cost/invented_network.hpp"

namespace foretoken::calibrate {
namespace {

using Algorithm = CollectiveAlgorithm;

struct Shape {
  CollectiveOp op;
  int ranks;
  int nodes;
};

std::vector<CollectiveSample> sweep(const NetworkCalibration& truth, Algorithm algorithm,
                                    const std::vector<Shape>& shapes, int first_shift, int step) {
  const sim::NetworkCost cost(truth);
  std::vector<CollectiveSample> samples;
  for (const Shape& shape : shapes) {
    for (int shift = first_shift; shift <= 30; shift += step) {
      CollectiveSample sample{"invented", shape.op, shape.ranks, shape.nodes, Bytes(std::int64_t{1} << shift), {}};
      sample.time = predicted(cost, algorithm, sample);
      samples.push_back(sample);
    }
  }
  return samples;
}

/// The machine of the cost tests with latencies near enough to a GPU's for the first guess.
NetworkCalibration truth() {
  NetworkCalibration network = test::invented_network();
  network.ring.base_latency = Seconds(8e-6);
  network.ring.step_latency = Seconds(2e-6);
  network.ring.ll_rate = BytesPerSecond(10e9);
  network.ring.ll128_latency = Seconds(5e-6);
  network.ring.ll128_rate = BytesPerSecond(100e9);
  network.ring.simple_latency = Seconds(40e-6);
  network.ring.simple_wire_rate = BytesPerSecond(200e9);
  network.ring.fitted.clear();
  return network;
}

void expect_near(const NetworkCalibration& found, Algorithm algorithm, const std::vector<CollectiveSample>& unseen,
                 double tolerance) {
  const sim::NetworkCost cost(found);
  for (const CollectiveSample& sample : unseen) {
    EXPECT_NEAR(ratio(predicted(cost, algorithm, sample), sample.time), 1.0, tolerance)
        << name_of(sample.op) << ", " << sample.ranks << " ranks, " << sample.bytes.value() << " B";
  }
}

TEST(NetworkFamilies, RingIsFoundAgainOnOtherSizesAndRanks) {
  const std::vector<Shape> seen{{CollectiveOp::all_gather, 2, 1},
                                {CollectiveOp::all_gather, 8, 1},
                                {CollectiveOp::all_reduce, 2, 1},
                                {CollectiveOp::all_reduce, 8, 1}};
  NetworkCalibration found = network_first_guess();
  fit_ring(found, sweep(truth(), Algorithm::ring, seen, 10, 2));
  // Other sizes, a rank count in between, one beyond, and an op of which there was no sample.
  expect_near(found, Algorithm::ring,
              sweep(truth(), Algorithm::ring,
                    {{CollectiveOp::all_reduce, 8, 1},
                     {CollectiveOp::all_gather, 4, 1},
                     {CollectiveOp::all_reduce, 16, 1},
                     {CollectiveOp::reduce_scatter, 8, 1}},
                    11, 2),
              0.02);
  EXPECT_NEAR(found.ring.simple_wire_rate.value() / 200e9, 1.0, 0.02);
  EXPECT_NEAR(found.ring.step_latency.value() / 2e-6, 1.0, 0.02);

  // One box per op: 2 to 8 ranks, 1 KiB to 1 GiB.
  ASSERT_EQ(found.ring.fitted.size(), 2U);
  EXPECT_EQ(found.ring.fitted[0].range.ranks_max, 8);
  EXPECT_EQ(found.ring.fitted[0].range.bytes_min, Bytes(1024));
  EXPECT_EQ(found.ring.fitted[0].range.bytes_max, Bytes(std::int64_t{1} << 30));
}

TEST(NetworkFamilies, NetworkStepIsFoundWithTheRestHeld) {
  NetworkCalibration found = truth();
  found.ring.network_step_latency = Seconds(40e-6);
  fit_ring_across_nodes(found, sweep(truth(), Algorithm::ring, {{CollectiveOp::all_reduce, 16, 2}}, 20, 2));
  EXPECT_NEAR(found.ring.network_step_latency.value() / 5e-6, 1.0, 0.01);
  EXPECT_EQ(found.ring.step_latency, truth().ring.step_latency);
  ASSERT_EQ(found.ring.fitted.size(), 1U);
  EXPECT_EQ(found.ring.fitted[0].range.nodes_max, 2);
}

TEST(NetworkFamilies, NvlsAndDirectAreFoundAgain) {
  NetworkCalibration found = network_first_guess();
  fit_nvls(found, sweep(truth(), Algorithm::nvls, {{CollectiveOp::all_reduce, 8, 1}}, 20, 2));
  expect_near(found, Algorithm::nvls, sweep(truth(), Algorithm::nvls, {{CollectiveOp::all_reduce, 4, 1}}, 21, 2), 0.01);
  fit_direct(found, sweep(truth(), Algorithm::direct,
                          {{CollectiveOp::all_reduce, 2, 1}, {CollectiveOp::all_reduce, 8, 1}}, 10, 2));
  expect_near(found, Algorithm::direct, sweep(truth(), Algorithm::direct, {{CollectiveOp::all_reduce, 4, 1}}, 11, 2),
              0.02);
}

std::vector<ExchangeSample> exchanges(int nodes, const std::vector<int>& experts) {
  const sim::NetworkCost cost(truth());
  std::vector<ExchangeSample> samples;
  for (const int count : experts) {
    for (int tokens = 1; tokens <= 4096; tokens *= 4) {
      ExchangeSample sample{"invented", 8 * nodes, nodes, 4096, tokens, 8, count, {}, {}};
      sample.dispatch = predicted(cost, sim::ExchangeOp::dispatch, sample);
      sample.combine = predicted(cost, sim::ExchangeOp::combine, sample);
      samples.push_back(sample);
    }
  }
  return samples;
}

TEST(NetworkFamilies, ExchangeIsFoundAgainNodeByNode) {
  NetworkCalibration found = network_first_guess();
  fit_exchange_in_node(found, exchanges(1, {64, 256}));
  fit_exchange_across_nodes(found, exchanges(2, {64}));
  const sim::NetworkCost cost(found);
  for (const int nodes : {1, 2, 4}) {
    for (const ExchangeSample& sample : exchanges(nodes, {128})) {
      EXPECT_NEAR(ratio(predicted(cost, sim::ExchangeOp::dispatch, sample), sample.dispatch), 1.0, 0.01);
      EXPECT_NEAR(ratio(predicted(cost, sim::ExchangeOp::combine, sample), sample.combine), 1.0, 0.01);
    }
  }
  // The two directions are fitted apart: 8 and 12 us.
  EXPECT_NEAR(found.dispatch.latency_one_node.value(), 8e-6, 1e-7);
  EXPECT_NEAR(found.combine.latency_one_node.value(), 12e-6, 1e-7);
  ASSERT_EQ(found.dispatch.fitted.size(), 2U);
  // 4096 FP8 values, 32 scales of 4 bytes, 16 of header: 4,240 bytes a row; one token to 8 experts.
  EXPECT_EQ(found.dispatch.fitted[0].bytes_min, Bytes(8 * 4240));
}

TEST(NetworkFamilies, BlocksOfExchangesAreFoundAgain) {
  NetworkCalibration made = truth();
  made.dispatch.blocks = ExchangeBlocks{Seconds(1.5e-6), BytesPerSecond(6e9), 100};
  made.combine.blocks = ExchangeBlocks{Seconds(0.25e-6), BytesPerSecond(60e9), 100};
  const sim::NetworkCost cost(made);
  const auto samples = [&](const std::vector<int>& all_experts, int hidden) {
    std::vector<ExchangeSample> all;
    for (const int experts : all_experts) {
      for (int tokens = 1; tokens <= 1024; tokens *= 4) {
        ExchangeSample sample{"invented", 8, 1, hidden, tokens, 2, experts, {}, {}};
        sample.dispatch = predicted(cost, sim::ExchangeOp::dispatch, sample);
        sample.combine = predicted(cost, sim::ExchangeOp::combine, sample);
        all.push_back(sample);
      }
    }
    return all;
  };
  std::vector<ExchangeSample> seen = samples({8, 64, 256}, 4096);
  for (const ExchangeSample& sample : samples({8, 64, 256}, 7168)) seen.push_back(sample);
  NetworkCalibration found = truth();
  for (ExchangeCalibration* exchange : {&found.dispatch, &found.combine})
    exchange->blocks = ExchangeBlocks{Seconds(1e-6), BytesPerSecond(20e9), 100};
  fit_exchange_in_node(found, seen);
  EXPECT_EQ(found.dispatch.blocks->sms, 100);
  // Another width, and numbers of experts in between.
  const sim::NetworkCost again(found);
  for (const ExchangeSample& sample : samples({16, 128}, 5120)) {
    EXPECT_NEAR(ratio(predicted(again, sim::ExchangeOp::dispatch, sample), sample.dispatch), 1.0, 0.01);
    EXPECT_NEAR(ratio(predicted(again, sim::ExchangeOp::combine, sample), sample.combine), 1.0, 0.01);
  }
}

TEST(NetworkFamilies, TreesAreFoundAgain) {
  NetworkCalibration made = truth();
  made.tree = TreeCalibration{Seconds(7e-6), BytesPerSecond(30e9), {}, ""};
  made.nvls_tree = NvlsTreeCalibration{Seconds(40e-6), BytesPerSecond(250e9), Seconds(30e-6), {}, ""};
  NetworkCalibration found = truth();
  const std::vector<Shape> two_nodes{{CollectiveOp::all_reduce, 16, 2}};
  // LL is what is fitted: samples end before Simple is faster.
  std::vector<CollectiveSample> small = sweep(made, Algorithm::tree, two_nodes, 10, 1);
  small.resize(9);
  fit_tree(found, small);
  EXPECT_NEAR(found.tree->network_step_latency.value() / 7e-6, 1.0, 0.01);
  EXPECT_NEAR(found.tree->ll_rate.value() / 30e9, 1.0, 0.01);
  EXPECT_EQ(found.tree->fitted.front().range.bytes_max, Bytes(1 << 18));
  fit_nvls_tree(found, sweep(made, Algorithm::nvls_tree, two_nodes, 20, 2));
  // Other sizes, and more nodes.
  expect_near(
      found, Algorithm::nvls_tree,
      sweep(made, Algorithm::nvls_tree, {{CollectiveOp::all_reduce, 16, 2}, {CollectiveOp::all_reduce, 64, 8}}, 21, 2),
      0.02);
}

TEST(NetworkFamilies, HierarchicalExchangesAreFoundAgain) {
  NetworkCalibration made = truth();
  HierarchicalCalibration exchange;
  exchange.latency_one_node = Seconds(25e-6);
  exchange.latency_across_nodes = Seconds(70e-6);
  exchange.rate_in_node_per_sm = BytesPerSecond(12e9);
  exchange.rate_in_node = BytesPerSecond(200e9);
  exchange.rate_across_nodes_per_sm = BytesPerSecond(1.5e9);
  made.hierarchical_dispatch = made.hierarchical_combine = exchange;
  const sim::NetworkCost cost(made);
  const auto samples = [&](int nodes, int first_tokens) {
    std::vector<ExchangeSample> all;
    for (const int sms : {4, 8, 24}) {
      for (int tokens = first_tokens; tokens <= 65536; tokens *= 4) {
        ExchangeSample sample{"invented", 8 * nodes, nodes, 4096, tokens, 8, 256, {}, {}, sms};
        sample.dispatch = predicted(cost, sim::ExchangeOp::dispatch, sample);
        sample.combine = predicted(cost, sim::ExchangeOp::combine, sample);
        all.push_back(sample);
      }
    }
    return all;
  };
  NetworkCalibration found = truth();
  fit_hierarchical_in_node(found, samples(1, 1));
  fit_hierarchical_across_nodes(found, samples(2, 1));
  EXPECT_EQ(found.hierarchical_dispatch->sms_min, 4);
  EXPECT_EQ(found.hierarchical_dispatch->sms_max, 24);
  const sim::NetworkCost again(found);
  for (const int nodes : {1, 2, 4})
    for (const ExchangeSample& sample : samples(nodes, 2)) {
      EXPECT_NEAR(ratio(predicted(again, sim::ExchangeOp::dispatch, sample), sample.dispatch), 1.0, 0.02);
      EXPECT_NEAR(ratio(predicted(again, sim::ExchangeOp::combine, sample), sample.combine), 1.0, 0.02);
    }
}

TEST(NetworkFamilies, UntimedDirectionsAreLeftOut) {
  std::vector<ExchangeSample> samples = exchanges(1, {64, 256});
  samples[0].dispatch = Seconds(0.0);
  NetworkCalibration found = network_first_guess();
  fit_exchange_in_node(found, samples);
  EXPECT_NEAR(found.dispatch.rate_in_node.value() / 200e9, 1.0, 0.01);
}

TEST(NetworkFamilies, MessagesAreFoundAgain) {
  const sim::NetworkCost cost(truth());
  std::vector<MessageSample> samples;
  for (const bool across : {false, true}) {
    for (int shift = 11; shift <= 26; ++shift) {
      MessageSample sample{across, Bytes(std::int64_t{1} << shift), {}};
      sample.time = predicted(cost, sample);
      samples.push_back(sample);
    }
  }
  NetworkCalibration found = network_first_guess();
  fit_messages(found, samples);
  EXPECT_NEAR(found.message_in_node.latency.value() / 5e-6, 1.0, 1e-3);
  EXPECT_NEAR(found.message_across_nodes.rate.value() / 40e9, 1.0, 1e-3);
  EXPECT_EQ(found.message_across_nodes.fitted.nodes_min, 2);
}

TEST(NetworkFamilies, TooFewSamplesAreAnError) {
  NetworkCalibration network = network_first_guess();
  EXPECT_THROW(fit_ring(network, {}), Error);
  EXPECT_THROW(fit_messages(network, {}), Error);
  EXPECT_THROW((void)fit_network("no/such/folder", 132, {}), Error);
}

}  // namespace
}  // namespace foretoken::calibrate
