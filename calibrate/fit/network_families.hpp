// Fits of one family of network measurements each: samples in, parameters of a NetworkCalibration out.
//
// The model is sim::NetworkCost itself, so what is fitted is what is simulated. Each fit sets its own parameters and
// the ranges it saw, and leaves the rest alone; where one fit needs another's result it says so.
#pragma once

#include <span>

#include "calibrate/import/network_samples.hpp"
#include "core/calibration_network.hpp"
#include "sim/cost/network_cost.hpp"

namespace foretoken::calibrate {

/// Fits are scored apart below and from this size on.
inline constexpr Bytes kSmall{std::int64_t{1} << 20};

/// Every parameter at the first guess of its fit: round numbers of the right order for one machine of GPUs.
NetworkCalibration network_first_guess();

/// The ring inside a node: all its parameters but network_step_latency. Samples: ring collectives on one node.
void fit_ring(NetworkCalibration& network, std::span<const CollectiveSample> samples);

/// network_step_latency alone. Needs fit_ring and the NIC's payload rate. Samples: ring collectives on several nodes.
void fit_ring_across_nodes(NetworkCalibration& network, std::span<const CollectiveSample> samples);

void fit_nvls(NetworkCalibration& network, std::span<const CollectiveSample> samples);
/// network.tree and network.nvls_tree. Need fit_ring. Samples: all_reduce on several nodes, by that algorithm.
void fit_tree(NetworkCalibration& network, std::span<const CollectiveSample> samples);
void fit_nvls_tree(NetworkCalibration& network, std::span<const CollectiveSample> samples);

void fit_direct(NetworkCalibration& network, std::span<const CollectiveSample> samples);

/// latency_one_node, queue_latency and rate_in_node of dispatch and combine, and what a block takes if they have
/// blocks. Samples: one node.
void fit_exchange_in_node(NetworkCalibration& network, std::span<const ExchangeSample> samples);

/// latency_across_nodes and rate_across_nodes. Needs fit_exchange_in_node. Samples: several nodes.
void fit_exchange_across_nodes(NetworkCalibration& network, std::span<const ExchangeSample> samples);

/// hierarchical_dispatch and hierarchical_combine: all but what goes across nodes. Samples: one node, with their SMs.
void fit_hierarchical_in_node(NetworkCalibration& network, std::span<const ExchangeSample> samples);

/// latency_across_nodes and rate_across_nodes_per_sm of them. Needs fit_hierarchical_in_node and the NIC's payload
/// rate.
void fit_hierarchical_across_nodes(NetworkCalibration& network, std::span<const ExchangeSample> samples);

/// The spans that there are samples of: at least two of each.
void fit_messages(NetworkCalibration& network, std::span<const MessageSample> samples);

/// What the model says about a sample.
Seconds predicted(const sim::NetworkCost& cost, CollectiveAlgorithm algorithm, const CollectiveSample& sample);
Seconds predicted(const sim::NetworkCost& cost, sim::ExchangeOp op, const ExchangeSample& sample);
Seconds predicted(const sim::NetworkCost& cost, const MessageSample& sample);

}  // namespace foretoken::calibrate
