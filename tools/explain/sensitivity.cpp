#include "tools/explain/sensitivity.hpp"

#include <cmath>
#include <initializer_list>

#include "core/metrics.hpp"

namespace foretoken::explain {
namespace {

template <class Q>
void raise(double factor, std::initializer_list<Q*> rates) {
  for (Q* rate : rates) *rate = *rate * factor;
}

void shorten(double factor, std::initializer_list<Seconds*> times) {
  for (Seconds* time : times) *time = *time / factor;
}

void shorten_latencies(double factor, plan::Topology& topology, NetworkCalibration& network) {
  shorten(factor, {&topology.nvlink_latency, &topology.pcie_latency, &topology.nic_latency});
  RingCalibration& ring = network.ring;
  shorten(factor, {&ring.base_latency, &ring.step_latency, &ring.network_step_latency, &ring.ll128_latency,
                   &ring.simple_latency, &network.nvls.latency, &network.direct.base_latency,
                   &network.direct.peer_latency, &network.direct.second_shot_latency, &network.message_in_node.latency,
                   &network.message_across_nodes.latency});
  for (ExchangeCalibration* exchange : {&network.dispatch, &network.combine})
    shorten(factor, {&exchange->latency_one_node, &exchange->latency_across_nodes, &exchange->queue_latency});
}

void shorten_launches(double factor, ComputeCalibration& compute) {
  shorten(factor, {&compute.memory.floor});
  for (GemmFit& fit : compute.gemm) shorten(factor, {&fit.floor});
  for (auto* fits : {&compute.attention_decode, &compute.attention_prefill})
    for (AttentionFit& fit : *fits) shorten(factor, {&fit.floor});
}

void raise_flops(double factor, DeviceSpec& device, ComputeCalibration& compute) {
  for (auto& peak : device.peak_flops)
    if (peak) *peak = *peak * factor;
  for (auto* fits : {&compute.attention_decode, &compute.attention_prefill})
    for (AttentionFit& fit : *fits) shorten(factor, {&fit.per_item});
}

void lower_costs(double factor, HostTerms& costs) {
  for (std::size_t t = 0; t < kHostTerms.size(); ++t) costs[static_cast<HostTerm>(t)] /= factor;
}

}  // namespace

void improve(Resource resource, double factor, plan::Topology& topology, Calibration& calibration) {
  NetworkCalibration& network = calibration.network;
  switch (resource) {
    case Resource::memory:
      raise(factor, {&topology.device.memory_bandwidth, &calibration.compute.memory.bandwidth});
      return;
    case Resource::l2: raise(factor, {&calibration.compute.l2.bandwidth}); return;
    case Resource::flops: raise_flops(factor, topology.device, calibration.compute); return;
    case Resource::launch: shorten_launches(factor, calibration.compute); return;
    case Resource::nvlink:
      raise(factor, {&topology.nvlink_bandwidth, &network.ring.simple_wire_rate, &network.nvls.wire_rate,
                     &network.direct.one_shot_rate, &network.direct.two_shot_rate, &network.message_in_node.rate,
                     &network.dispatch.rate_in_node, &network.combine.rate_in_node});
      return;
    case Resource::nic:
      // Expert exchange across nodes grows with the machine's NICs by itself.
      raise(factor, {&topology.nic_bandwidth, &topology.pcie_bandwidth, &network.message_across_nodes.rate});
      return;
    case Resource::latency: shorten_latencies(factor, topology, network); return;
    case Resource::kernels:
      raise(factor, {&network.ring.ll_rate, &network.ring.ll128_rate, &network.ring.simple_local_rate});
      return;
    case Resource::cores:
      for (HostTerms& costs : calibration.host->unit_costs) lower_costs(factor, costs);
      return;
    case Resource::messages:
      for (HostCommunication& communication : calibration.host->communication) {
        for (HostTerms& costs : communication.unit_costs) lower_costs(factor, costs);
        shorten(factor, {&communication.wake});
      }
      return;
  }
}

std::vector<Sensitivity> sensitivities(const Subject& subject, double factor,
                                       const std::function<void(Resource)>& before) {
  std::vector<Sensitivity> list;
  for (const auto& [resource, name] : kResourceNames) {
    const bool of_host = resource == Resource::cores || resource == Resource::messages;
    if (of_host != subject.calibration.host.has_value()) continue;
    before(resource);
    plan::Topology topology = subject.topology;
    Calibration calibration = subject.calibration;
    improve(resource, factor, topology, calibration);
    const plan::Machine machine = plan::build_machine(topology);
    const Seconds tpot = compute_metrics(sim::simulate(subject.plan, machine, calibration, subject.options)).tpot.mean;
    list.push_back({resource, tpot, std::log(ratio(subject.tpot, tpot)) / std::log(factor)});
  }
  return list;
}

}  // namespace foretoken::explain
