#include "tools/cli/load.hpp"

#include <nlohmann/json.hpp>
#include <system_error>

#include "core/error.hpp"
#include "plan/scenario/read_model.hpp"
#include "tools/cli/write_file.hpp"

namespace foretoken::cli {

Loaded load(const std::filesystem::path& path, const ScenarioOptions& options) {
  JsonDocument document = JsonDocument::from_file(path);
  for (const std::string& assignment : options.overrides) document.set(assignment);
  plan::Scenario scenario = plan::parse_scenario(document);
  // What is stored must not depend on a file of a model.
  if (const auto& model = document.json().at("model"); model.contains("file") || model.contains("hf"))
    document.set("model=" + plan::to_json(scenario.model).dump());
  if (!options.topology.empty()) {
    scenario.cluster.topology = options.topology;
    const nlohmann::json file = options.topology.string();
    // For what is stored. File names need not be UTF-8.
    document.set("cluster.topology=" + file.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  plan::Topology topology = plan::read_topology(scenario.cluster.topology,
                                                plan::TopologyOverrides{scenario.cluster.nodes, scenario.cluster.nic});
  refuse_to_replace(options.out, scenario.cluster.topology);
  refuse_to_replace(options.out, topology.calibration);
  plan::Machine machine = plan::build_machine(topology);
  plan::Plan plan = plan::make_plan(scenario, machine);
  return Loaded{std::move(document), std::move(scenario), std::move(topology), std::move(machine), std::move(plan)};
}

void refuse_to_replace(const std::filesystem::path& out, const std::filesystem::path& input,
                       const std::string& option) {
  std::error_code status;
  if (!out.empty() && !input.empty() && std::filesystem::equivalent(out, input, status))
    throw input_error(option + " " + out.string(), "", "is a file that is read: " + input.string(),
                      "name another file");
}

void check_out(const ScenarioOptions& options) {
  for (const auto& scenario : options.scenarios) refuse_to_replace(options.out, scenario);
  if (!options.out.empty()) require_writable(options.out);
}

Calibration load_calibration(const Loaded& loaded, const std::filesystem::path& instead) {
  return load_calibration(loaded.topology, loaded.scenario.cluster.topology, instead);
}

Calibration load_calibration(const plan::Topology& topology, const std::filesystem::path& file,
                             const std::filesystem::path& instead) {
  std::error_code status;
  if (instead.empty() && topology.calibration.empty())
    throw input_error(file.string(), "", "names no calibration",
                      "measure this computer with `foretoken calibrate host --out DIR`, then give --topology "
                      "DIR/topology.json");
  if (instead.empty() && !std::filesystem::is_regular_file(topology.calibration, status))
    throw input_error(
        file.string(), "/calibration", "there is no regular file " + topology.calibration.string(),
        "name a calibration, with a path that starts from the directory of this file, or give --calibration");
  Calibration calibration = read_calibration(instead.empty() ? topology.calibration : instead);
  require_calibration_for(calibration, topology.device);
  return calibration;
}

}  // namespace foretoken::cli
