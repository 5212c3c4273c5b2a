// From a Topology to a Machine, and from a Machine to what is left of it when links die.
#include <memory>
#include <utility>

#include "core/error.hpp"
#include "plan/machine/domain_limit.hpp"
#include "plan/machine/machine_impl.hpp"
#include "plan/machine/topology.hpp"

namespace foretoken::plan {

Machine build_machine(const Topology& topology) {
  FORETOKEN_CHECK(topology.nodes >= 1 && topology.nodes <= kNodesMax, "a machine with an absurd number of nodes");
  const std::int64_t per_node_max = topology.cores_per_node > 0 ? kRanksPerHostMax : kGpusPerDomainMax;
  FORETOKEN_CHECK(topology.gpus_per_node >= 1 && topology.gpus_per_node <= per_node_max,
                  "a machine with an absurd number of GPUs per node");
  FORETOKEN_CHECK(topology.nodes * topology.gpus_per_node <= kGpusMax, "a machine with an absurd number of GPUs");
  FORETOKEN_CHECK(
      topology.core_shares.empty() || static_cast<std::int64_t>(topology.core_shares.size()) == topology.nodes,
      "shares of the cores for another number of nodes");
  const std::int64_t nics = nics_of_a_node(topology);
  FORETOKEN_CHECK(nics >= 1 && topology.gpus_per_node % nics == 0, "GPUs that cannot be shared out among NICs");
  FORETOKEN_CHECK(topology.pcie_switches == 0 || (topology.pcie_switches > 0 && nics % topology.pcie_switches == 0),
                  "NICs that cannot be shared out among PCIe switches");

  auto machine = std::make_shared<Machine::Impl>();
  machine->name = topology.name;
  machine->device = topology.device;
  machine->nvls = topology.nvls;
  machine->cores_per_node = topology.cores_per_node;
  machine->emulated = topology.emulated;
  machine->core_shares = topology.core_shares;
  machine->wiring = std::make_shared<const Wiring>(wire(topology));
  machine->graphs = routing_graphs(*machine->wiring);
  machine->router = std::make_unique<Router>(machine->wiring, machine->graphs, std::vector<char>{});
  return Machine(std::move(machine));
}

Machine Machine::without(std::span<const LinkId> links) const {
  auto machine = std::make_shared<Impl>();
  machine->name = impl_->name;
  machine->device = impl_->device;
  machine->nvls = impl_->nvls;
  machine->cores_per_node = impl_->cores_per_node;
  machine->emulated = impl_->emulated;
  machine->core_shares = impl_->core_shares;
  machine->wiring = impl_->wiring;
  machine->graphs = impl_->graphs;
  machine->dead = impl_->dead;
  machine->dead.resize(impl_->wiring->links.size(), 0);
  for (const LinkId link : links) {
    FORETOKEN_CHECK(link.valid() && link.index() < machine->dead.size(), "a link outside the machine dies");
    machine->dead[link.index()] = 1;
    machine->dead[Wiring::opposite(link).index()] = 1;
  }
  machine->router = std::make_unique<Router>(machine->wiring, machine->graphs, machine->dead);
  machine->before = impl_;
  return Machine(std::move(machine));
}

}  // namespace foretoken::plan
