#include "tools/cli/load.hpp"

namespace foretoken::cli {

Loaded load(const std::filesystem::path& path, const std::vector<std::string>& overrides) {
  JsonDocument document = JsonDocument::from_file(path);
  for (const std::string& assignment : overrides) document.set(assignment);
  plan::Scenario scenario = plan::parse_scenario(document);
  plan::Topology topology = plan::read_topology(scenario.cluster.topology,
                                                plan::TopologyOverrides{scenario.cluster.nodes, scenario.cluster.nic});
  plan::Machine machine = plan::build_machine(topology);
  plan::Plan plan = plan::make_plan(scenario, machine);
  return Loaded{std::move(document), std::move(scenario), std::move(topology), std::move(machine), std::move(plan)};
}

Calibration load_calibration(const Loaded& loaded, const std::filesystem::path& instead) {
  Calibration calibration = read_calibration(instead.empty() ? loaded.topology.calibration : instead);
  require_calibration_for(calibration, loaded.topology.device);
  return calibration;
}

}  // namespace foretoken::cli
