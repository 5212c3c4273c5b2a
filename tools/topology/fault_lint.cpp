#include "tools/topology/fault_lint.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"
#include "plan/faults.hpp"

namespace foretoken::topology {
namespace {

constexpr std::int64_t kGpusMax = 512;  // that are tried in pairs: those of the first nodes

// One at a time, so that all that name nothing are told.
std::vector<LinkId> dead_links(const plan::Scenario& scenario, const plan::Machine& machine,
                               std::vector<Finding>& findings) {
  std::vector<LinkId> dead;
  plan::Scenario one = scenario;
  for (const plan::FaultSpec& fault : scenario.faults) {
    one.faults = {fault};
    try {
      for (const plan::Fault& resolved : plan::resolve_faults(one, machine))
        if (resolved.share == 0) dead.insert(dead.end(), resolved.links.begin(), resolved.links.end());
    } catch (const Error& error) {
      // "file#pointer: what; why", of which the first is said beside it.
      std::string text = error.what();
      const std::string place = scenario.file + "#" + fault.pointer + ": ";
      if (text.starts_with(place)) text.erase(0, place.size());
      const auto end = text.find("; ");
      findings.push_back({scenario.file, fault.pointer, text.substr(0, end),
                          end == std::string::npos ? std::string() : text.substr(end + 2)});
    }
  }
  return dead;
}

}  // namespace

void check_faults(const plan::Scenario& scenario, const plan::Machine& machine, std::vector<Finding>& findings) {
  if (scenario.faults.empty() || machine.is_host()) {
    if (!scenario.faults.empty())
      findings.push_back({scenario.file, "/faults", "the topology is a host", "faults are of links, NICs and GPUs"});
    return;
  }
  const std::vector<LinkId> dead = dead_links(scenario, machine, findings);
  if (dead.empty()) return;
  const plan::Machine left = machine.without(dead);
  const std::int64_t gpus = std::min(machine.gpus(), kGpusMax);
  for (std::int64_t a = 0; a < gpus; ++a)
    for (std::int64_t b = a + 1; b < gpus; ++b) {
      const RankId from(static_cast<std::size_t>(a));
      const RankId to(static_cast<std::size_t>(b));
      if (!left.route(from, to).empty() && !left.route(to, from).empty()) continue;
      const std::int64_t per_node = machine.gpus() / machine.nodes();
      findings.push_back({scenario.file, "/faults",
                          fmt::format("node{}.gpu{} and node{}.gpu{} reach one another no more", a / per_node,
                                      a % per_node, b / per_node, b % per_node),
                          "a step between them never ends: the simulation says so as well"});
      return;
    }
}

}  // namespace foretoken::topology
