#include "plan/faults.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"

namespace foretoken::plan {
namespace {

class Resolver {
 public:
  Resolver(const std::string& file, const Machine& machine, const FaultSpec& spec)
      : file_(file), machine_(machine), spec_(spec) {}

  Fault resolve() const {
    Fault fault;
    fault.from = to_sim_time(spec_.from);
    fault.share = spec_.share;
    const VertexId first = find(spec_.names.front());
    switch (spec_.part) {
      case FaultPart::gpu:
        require(first, machine_.kind_of(first) == VertexKind::gpu, "a GPU", "node0.gpu1");
        fault.what = "GPU " + spec_.names.front();
        fault.gpu = RankId(first.value());
        break;
      case FaultPart::nic:
        require(first, machine_.kind_of(first) == VertexKind::nic, "a NIC", "node0.nic1");
        fault.what = "NIC " + spec_.names.front();
        // What is left of a NIC's rate does not slow down the PCIe behind it.
        add_links(fault, [&](const Link& link) {
          return (link.from == first || link.to == first) &&
                 (fault.share == 0 || link.link_class == LinkClass::infiniband);
        });
        break;
      case FaultPart::fabric_switch: {
        const VertexKind kind = machine_.kind_of(first);
        require(first, kind != VertexKind::gpu && kind != VertexKind::nic, "a switch", "node0.nvswitch");
        fault.what = "switch " + spec_.names.front();
        add_links(fault, [&](const Link& link) { return link.from == first || link.to == first; });
        break;
      }
      case FaultPart::link: {
        const VertexId second = find(spec_.names.back());
        fault.what = fmt::format("link {} - {}", spec_.names.front(), spec_.names.back());
        add_links(fault, [&](const Link& link) {
          return (link.from == first && link.to == second) || (link.from == second && link.to == first);
        });
        break;
      }
    }
    if (fault.links.empty() && !fault.gpu.valid())
      fail(fmt::format("{} of {} has no cable", fault.what, machine_.name()), "name two ends that a cable joins");
    return fault;
  }

 private:
  template <class Predicate>
  void add_links(Fault& fault, Predicate is_hit) const {
    const auto links = machine_.links();
    for (std::size_t l = 0; l < links.size(); ++l) {
      if (is_hit(links[l])) fault.links.emplace_back(l);
    }
  }

  [[nodiscard]] VertexId find(const std::string& name) const {
    const VertexId vertex = machine_.find_vertex(name);
    if (!vertex.valid())
      fail(fmt::format("{} has no \"{}\"", machine_.name(), name),
           fmt::format("its parts are named like \"node0.gpu0\", \"node0.nic0\", \"node0.nvswitch\" and \"{}\"",
                       machine_.vertex_name(VertexId(machine_.vertices() - 1))));
    return vertex;
  }

  void require(VertexId vertex, bool is_right, const char* kind, const char* example) const {
    if (!is_right)
      fail(fmt::format("\"{}\" is not {}", machine_.vertex_name(vertex), kind),
           fmt::format("name one, such as \"{}\"", example));
  }

  [[noreturn]] void fail(const std::string& found, const std::string& expected) const {
    throw input_error(file_, spec_.pointer, found, expected);
  }

  const std::string& file_;
  const Machine& machine_;
  const FaultSpec& spec_;
};

}  // namespace

std::vector<Fault> resolve_faults(const Scenario& scenario, const Machine& machine) {
  std::vector<Fault> faults;
  if (!scenario.faults.empty() && machine.is_host())
    throw input_error(scenario.file, "/faults", "the topology is a host, and faults are of links, NICs and GPUs",
                      "remove them, or choose a topology of GPUs");
  for (const FaultSpec& spec : scenario.faults) faults.push_back(Resolver(scenario.file, machine, spec).resolve());
  std::stable_sort(faults.begin(), faults.end(), [](const Fault& a, const Fault& b) { return a.from < b.from; });
  return faults;
}

}  // namespace foretoken::plan
