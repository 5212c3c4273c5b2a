// foretoken whatif: what a change of a scenario does to its figures, and why.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <ostream>

#include "core/error.hpp"
#include "sim/simulate.hpp"
#include "tools/cli/explanation_report.hpp"
#include "tools/cli/load.hpp"
#include "tools/cli/planning_commands.hpp"
#include "tools/cli/scenario_fields.hpp"
#include "tools/cli/whatif_report.hpp"
#include "tools/cli/write_file.hpp"
#include "tools/explain/bounds.hpp"
#include "tools/planning/space.hpp"

namespace foretoken::cli {
namespace {

using planning::Evaluator;

void check(const WhatifOptions& options) {
  if (options.set.empty())
    throw input_error("--set", "", "nothing is changed", "write for example --set 'cluster.nic=200 Gb/s'");
  std::vector<planning::Axis> changes;
  for (const std::string& assignment : options.set) {
    changes.push_back(planning::read_axis(assignment));
    require_scenario_field(changes.back().field);
    if (changes.back().values.size() > 1)
      throw input_error("--set " + assignment, "", fmt::format("has {} values", changes.back().values.size()),
                        "give one, or ask `foretoken sweep` for a table of all");
  }
  static_cast<void>(planning::Space(std::move(changes), 1));  // no field twice
  if (options.out.empty()) return;
  for (const auto& input : {options.scenario, options.topology, options.calibration, options.errors})
    refuse_to_replace(options.out, input);
  require_writable(options.out);
}

WhatifSide side_of(const WhatifOptions& options, const Evaluator::Variant& variant, const char* which,
                   std::ostream& err) {
  const Evaluator::Cluster& cluster = *variant.cluster;
  sim::SimulateOptions simulation;
  simulation.framework = options.framework;
  simulation.accuracy = options.accuracy;
  simulation.exchange_seconds_max = options.time_limit;
  WhatifSide side;
  side.trace = sim::simulate(*variant.plan, cluster.machine, *cluster.calibration, simulation);
  side.metrics = compute_metrics(side.trace);
  side.path = explain::find_critical_path(side.trace);
  if (!cluster.machine.is_host())
    side.bounds = explain::bounds_of(side.path, side.trace, *variant.plan, cluster.machine);
  side.memory = planning::memory_of_fullest_rank(*variant.plan, cluster.machine);
  side.sensitivities = explain::sensitivities(
      {*variant.plan, cluster.topology, *cluster.calibration, simulation, side.metrics.tpot.mean}, kBetter,
      [&](explain::Resource resource) {
        err << fmt::format("{}, {}: simulating with better {}\n", variant.scenario.name, which, name_of(resource));
      });
  return side;
}

}  // namespace

void run_whatif(const WhatifOptions& options, std::ostream& out, std::ostream& err) {
  check(options);
  const JsonDocument document = JsonDocument::from_file(options.scenario);
  const auto evaluator = make_evaluator(document, options);
  const Evaluator::Variant before = evaluator->variant({});
  const Evaluator::Variant after = evaluator->variant(options.set);
  Whatif whatif;
  whatif.scenario = before.scenario.name;
  whatif.set = options.set;
  whatif.before = side_of(options, before, "as it is", err);
  whatif.after = side_of(options, after, "changed", err);
  const auto& errors = after.cluster->errors;
  // Only predictions that rest on one calibration share its errors.
  if (errors && before.cluster->calibration->name == after.cluster->calibration->name) {
    whatif.has_interval = true;
    whatif.ratio_error = explain::ratio_error(error_shares(whatif.after.path, whatif.after.trace, *errors),
                                              error_shares(whatif.before.path, whatif.before.trace, *errors), *errors);
  }
  if (options.set.size() > 1)
    for (const std::string& assignment : options.set) whatif.alone.push_back(evaluator->evaluate({assignment}));
  const nlohmann::ordered_json json = whatif_json(whatif);
  if (!options.out.empty()) write_file(options.out, json.dump() + "\n");
  if (options.json) out << json.dump(2) << "\n";
  else out << whatif_text(whatif);
}

}  // namespace foretoken::cli
