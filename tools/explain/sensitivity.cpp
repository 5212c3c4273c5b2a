#include "tools/explain/sensitivity.hpp"

#include <cmath>
#include <initializer_list>
#include <optional>

#include "core/metrics.hpp"
#include "plan/machine/vertex_names.hpp"

namespace foretoken::explain {
namespace {

template <class Q>
void raise(double factor, std::initializer_list<Q*> rates) {
  for (Q* rate : rates) *rate = *rate * factor;
}

void shorten(double factor, std::initializer_list<Seconds*> times) {
  for (Seconds* time : times) *time = *time / factor;
}

// Optional sections of a calibration: not measured on every machine.
template <class Section, class Change>
void change_if_there(std::initializer_list<std::optional<Section>*> sections, Change change) {
  for (std::optional<Section>* section : sections)
    if (*section) change(**section);
}

// "node2.nic5" is a NIC; switches have names of their own.
bool leads_to_nic(const plan::Cable& cable) {
  return plan::parse_node_part(cable.from, "nic") || plan::parse_node_part(cable.to, "nic");
}

// The oversubscription of a fabric relates its cables to the NICs: what changes one alone changes it.
void raise_nics(double factor, plan::Topology& topology) {
  raise(factor, {&topology.nic_bandwidth, &topology.pcie_bandwidth});
  topology.fabric.oversubscription *= factor;
  for (plan::Cable& cable : topology.fabric.cables)
    if (leads_to_nic(cable)) raise(factor, {&cable.bandwidth});
}

void raise_fabric(double factor, plan::FabricSpec& fabric) {
  raise(factor, {&fabric.uplink_bandwidth});
  fabric.oversubscription /= factor;
  for (plan::Cable& cable : fabric.cables)
    if (!leads_to_nic(cable)) raise(factor, {&cable.bandwidth});
}

void shorten_latencies(double factor, plan::Topology& topology, NetworkCalibration& network) {
  shorten(factor,
          {&topology.nvlink_latency, &topology.pcie_latency, &topology.nic_latency, &topology.fabric.uplink_latency});
  for (plan::Cable& cable : topology.fabric.cables) shorten(factor, {&cable.latency});
  RingCalibration& ring = network.ring;
  shorten(factor, {&ring.base_latency, &ring.step_latency, &ring.network_step_latency, &ring.ll128_latency,
                   &ring.simple_latency, &network.nvls.latency, &network.direct.base_latency,
                   &network.direct.peer_latency, &network.direct.second_shot_latency, &network.message_in_node.latency,
                   &network.message_across_nodes.latency});
  for (ExchangeCalibration* exchange : {&network.dispatch, &network.combine})
    shorten(factor, {&exchange->latency_one_node, &exchange->latency_across_nodes, &exchange->queue_latency});
  change_if_there<TreeCalibration>({&network.tree}, [&](auto& tree) { shorten(factor, {&tree.network_step_latency}); });
  change_if_there<NvlsTreeCalibration>({&network.nvls_tree}, [&](auto& tree) {
    shorten(factor, {&tree.latency, &tree.fill_latency});
  });
  change_if_there<HierarchicalCalibration>(
      {&network.hierarchical_dispatch, &network.hierarchical_combine}, [&](auto& exchange) {
        shorten(factor, {&exchange.latency_one_node, &exchange.latency_across_nodes});
      });
}

void raise_nvlink(double factor, plan::Topology& topology, NetworkCalibration& network) {
  raise(factor, {&topology.nvlink_bandwidth, &network.ring.simple_wire_rate, &network.nvls.wire_rate,
                 &network.direct.one_shot_rate, &network.direct.two_shot_rate, &network.message_in_node.rate,
                 &network.dispatch.rate_in_node, &network.combine.rate_in_node});
  change_if_there<NvlsTreeCalibration>({&network.nvls_tree}, [&](auto& tree) { raise(factor, {&tree.wire_rate}); });
  change_if_there<HierarchicalCalibration>({&network.hierarchical_dispatch, &network.hierarchical_combine},
                                           [&](auto& exchange) { raise(factor, {&exchange.rate_in_node}); });
}

void raise_kernels(double factor, NetworkCalibration& network) {
  raise(factor, {&network.ring.ll_rate, &network.ring.ll128_rate, &network.ring.simple_local_rate});
  change_if_there<TreeCalibration>({&network.tree}, [&](auto& tree) { raise(factor, {&tree.ll_rate}); });
  change_if_there<ExchangeBlocks>({&network.dispatch.blocks, &network.combine.blocks}, [&](auto& blocks) {
    raise(factor, {&blocks.rate});
    shorten(factor, {&blocks.unit_latency});
  });
  change_if_there<HierarchicalCalibration>(
      {&network.hierarchical_dispatch, &network.hierarchical_combine}, [&](auto& exchange) {
        raise(factor, {&exchange.rate_in_node_per_sm, &exchange.rate_across_nodes_per_sm});
      });
}

void shorten_launches(double factor, MachineNumbers& numbers) {
  ComputeCalibration& compute = numbers.calibration.compute;
  shorten(factor, {&compute.memory.floor});
  for (LaunchCosts* costs : {&numbers.calibration.launch.graph, &numbers.calibration.launch.eager})
    shorten(factor, {&costs->launch, &costs->gap});
  if (numbers.execution) {
    for (std::optional<Seconds>* time : {&numbers.execution->launch, &numbers.execution->gap})
      if (*time) shorten(factor, {&**time});
  }
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

bool is_there(Resource resource, const Subject& subject) {
  const bool of_host = resource == Resource::cores || resource == Resource::messages;
  if (of_host != subject.calibration.host.has_value()) return false;
  return resource != Resource::fabric || subject.topology.fabric.kind != plan::FabricKind::non_blocking;
}

Seconds simulated_tpot(const Subject& subject, const MachineNumbers& numbers) {
  const plan::Machine machine = plan::build_machine(numbers.topology);
  const auto tpot_of = [&](const plan::Plan& plan) {
    return compute_metrics(sim::simulate(plan, machine, numbers.calibration, subject.options)).tpot.mean;
  };
  if (numbers.execution == subject.plan.scenario.execution) return tpot_of(subject.plan);
  plan::Plan plan = subject.plan;
  plan.scenario.execution = numbers.execution;
  return tpot_of(plan);
}

}  // namespace

void improve(Resource resource, double factor, MachineNumbers& numbers) {
  plan::Topology& topology = numbers.topology;
  Calibration& calibration = numbers.calibration;
  NetworkCalibration& network = calibration.network;
  switch (resource) {
    case Resource::memory:
      raise(factor, {&topology.device.memory_bandwidth, &calibration.compute.memory.bandwidth});
      return;
    case Resource::l2: raise(factor, {&calibration.compute.l2.bandwidth}); return;
    case Resource::flops: raise_flops(factor, topology.device, calibration.compute); return;
    case Resource::launch: shorten_launches(factor, numbers); return;
    case Resource::nvlink: raise_nvlink(factor, topology, network); return;
    case Resource::nic:
      // Expert exchange across nodes grows with the machine's NICs by itself.
      raise_nics(factor, topology);
      raise(factor, {&network.message_across_nodes.rate});
      return;
    case Resource::fabric: raise_fabric(factor, topology.fabric); return;
    case Resource::latency: shorten_latencies(factor, topology, network); return;
    case Resource::kernels: raise_kernels(factor, network); return;
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
    if (!is_there(resource, subject)) continue;
    before(resource);
    MachineNumbers numbers{subject.topology, subject.calibration, subject.plan.scenario.execution};
    improve(resource, factor, numbers);
    const Seconds tpot = simulated_tpot(subject, numbers);
    list.push_back({resource, tpot, std::log(ratio(subject.tpot, tpot)) / std::log(factor)});
  }
  return list;
}

}  // namespace foretoken::explain
