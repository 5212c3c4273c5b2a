#include "tools/cli/load.hpp"

#include <system_error>

#include "core/error.hpp"

namespace foretoken::cli {

Loaded load(const std::filesystem::path& path, const ScenarioOptions& options) {
  JsonDocument document = JsonDocument::from_file(path);
  for (const std::string& assignment : options.overrides) document.set(assignment);
  plan::Scenario scenario = plan::parse_scenario(document);
  if (!options.topology.empty()) scenario.cluster.topology = options.topology;
  plan::Topology topology = plan::read_topology(scenario.cluster.topology,
                                                plan::TopologyOverrides{scenario.cluster.nodes, scenario.cluster.nic});
  plan::Machine machine = plan::build_machine(topology);
  plan::Plan plan = plan::make_plan(scenario, machine);
  return Loaded{std::move(document), std::move(scenario), std::move(topology), std::move(machine), std::move(plan)};
}

void check_out(const ScenarioOptions& options) {
  std::error_code status;
  for (const auto& scenario : options.scenarios)
    if (!options.out.empty() && std::filesystem::equivalent(options.out, scenario, status))
      throw input_error("--out " + options.out.string(), "", "is the scenario itself", "name another file");
}

Calibration load_calibration(const Loaded& loaded, const std::filesystem::path& instead) {
  std::error_code status;
  if (instead.empty() && loaded.topology.calibration.empty())
    throw input_error(loaded.scenario.cluster.topology.string(), "", "names no calibration",
                      "measure this computer with `foretoken calibrate host --out DIR`, then give --topology "
                      "DIR/topology.json");
  if (instead.empty() && !std::filesystem::is_regular_file(loaded.topology.calibration, status))
    throw input_error(
        loaded.scenario.cluster.topology.string(), "/calibration",
        "there is no regular file " + loaded.topology.calibration.string(),
        "name a calibration, with a path that starts from the directory of this file, or give --calibration");
  Calibration calibration = read_calibration(instead.empty() ? loaded.topology.calibration : instead);
  require_calibration_for(calibration, loaded.topology.device);
  return calibration;
}

}  // namespace foretoken::cli
