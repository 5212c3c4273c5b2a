// What to buy next: how much faster tokens come out if one resource of the machine is a little better.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "core/calibration.hpp"
#include "core/units.hpp"
#include "plan/machine/topology.hpp"
#include "plan/plan.hpp"
#include "sim/simulate.hpp"

namespace foretoken::explain {

/// Of GPUs and their fabric; `cores` and `messages` of a host.
///
/// Whatever the calibration measured as the limit of a resource is better with it: kernels that NVLink limits get
/// faster with NVLink. What a rank's own kernels limit is `kernels`.
enum class Resource : std::uint8_t {
  memory,   // HBM bandwidth
  l2,       // bandwidth of the L2 cache, where activations are
  flops,    // peak FLOP/s of every dtype
  launch,   // the floor of every compute kernel, and what launching it takes
  nvlink,   // bandwidth of NVLink, and what kernels reach over it
  nic,      // bandwidth of NICs and their PCIe links
  fabric,   // bandwidth of cables between switches, where the topology has any
  latency,  // of communication: launch, steps, hops
  kernels,  // what communication kernels handle beside the links: flags of LL and LL128, local copies, rates per SM
  cores,    // of a host: everything a core computes
  messages  // of a host: everything about messages
};

constexpr std::array<std::pair<Resource, std::string_view>, 11> kResourceNames{{{Resource::memory, "memory"},
                                                                                {Resource::l2, "l2"},
                                                                                {Resource::flops, "flops"},
                                                                                {Resource::launch, "launch"},
                                                                                {Resource::nvlink, "nvlink"},
                                                                                {Resource::nic, "nic"},
                                                                                {Resource::fabric, "fabric"},
                                                                                {Resource::latency, "latency"},
                                                                                {Resource::kernels, "kernels"},
                                                                                {Resource::cores, "cores"},
                                                                                {Resource::messages, "messages"}}};
constexpr std::string_view name_of(Resource resource) {
  return kResourceNames[static_cast<std::size_t>(resource)].second;
}

/// All numbers about a machine that a simulation reads: what improving a resource changes.
struct MachineNumbers {
  plan::Topology topology;
  Calibration calibration;
  std::optional<plan::ExecutionSpec> execution;  // of the scenario: may say what a launch takes
};

/// Makes one resource better: rates times `factor`, times divided by it. Values alone change: no model is asked.
/// @param factor  > 0
void improve(Resource resource, double factor, MachineNumbers& numbers);

/// TPOT of a machine with one better resource.
struct Sensitivity {
  Resource resource = Resource::memory;
  Seconds tpot;           // mean
  double elasticity = 0;  // ln(TPOT now / TPOT then) / ln(factor): 1 if TPOT rests on this resource alone
};

/// What is simulated again and again.
struct Subject {
  const plan::Plan& plan;
  const plan::Topology& topology;
  const Calibration& calibration;
  const sim::SimulateOptions& options;
  Seconds tpot;  // mean, as it is
};

/// Simulates once per resource that the machine has. Where no choice between algorithms tips over, elasticities add up
/// to 1, as TPOT would be divided by `factor` if everything were better by it.
/// @param before  called with the resource before each simulation
/// @throws as sim::simulate
/// Example: a step that waits for HBM half of its time and for the NIC the other half: memory 0.5, nic 0.5, rest 0.
std::vector<Sensitivity> sensitivities(const Subject& subject, double factor,
                                       const std::function<void(Resource)>& before);

}  // namespace foretoken::explain
