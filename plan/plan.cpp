#include "plan/plan.hpp"

#include <numeric>

#include "plan/lower/lower.hpp"
#include "plan/memory.hpp"
#include "plan/program/text.hpp"
#include "plan/program/validate.hpp"

namespace foretoken::plan {

Plan make_plan(const Scenario& scenario, const Machine& machine) {
  Placement placement(scenario.model, scenario.workload, scenario.deployment);
  Routing routing(scenario.routing, scenario.model.layers, scenario.model.experts, scenario.model.top_k);
  std::vector<std::int64_t> layers(static_cast<std::size_t>(scenario.model.layers));
  std::iota(layers.begin(), layers.end(), 0);
  Program program = lower(scenario, placement, machine, layers);
  validate(program, placement);
  check_memory(program, scenario, placement, machine.device().name, machine.device().memory);

  const std::string program_hash = hash_of(to_text(program));
  const std::string routing_hash = hash_of(routing.canonical_text());
  const std::string plan_hash = hash_of(program_hash + routing_hash);
  return Plan{scenario,          std::move(placement), std::move(routing),
              std::move(layers), std::move(program),   resolve_faults(scenario, machine),
              program_hash,      routing_hash,         plan_hash};
}

}  // namespace foretoken::plan
