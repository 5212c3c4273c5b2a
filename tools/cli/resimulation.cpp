#include "tools/cli/resimulation.hpp"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/metrics.hpp"
#include "tools/cli/explanation_report.hpp"
#include "tools/cli/shipped_data.hpp"

namespace foretoken::cli {
namespace {

namespace fs = std::filesystem;

constexpr double kSameTpot = 1e-9;  // relative: what a decimal number in a file may lose

/// Where the result's topology may be, likeliest first.
std::vector<fs::path> candidates(const explain::StoredResult& result) {
  const nlohmann::json::json_pointer written("/cluster/topology");
  const nlohmann::json& scenario = result.scenario_document;
  if (!scenario.contains(written) || !scenario.at(written).is_string()) return {};
  const fs::path path = scenario.at(written).get<std::string>();
  std::vector<fs::path> files{fs::path(result.file).parent_path() / path, path};
  fs::path shipped;  // without what leads out of the scenario's folder
  for (const fs::path& part : path)
    if (part != "..") shipped /= part;
  try {
    files.push_back(shipped_file(shipped));
  } catch (const Error&) {  // then it is not shipped
  }
  return files;
}

Loaded load_for(const explain::StoredResult& result, const fs::path& topology) {
  JsonDocument document = JsonDocument::from_text(result.scenario_document.dump(), result.file);
  // File names need not be UTF-8.
  document.set(
      "cluster.topology=" +
      nlohmann::json(fs::absolute(topology).string()).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  plan::Scenario scenario = plan::parse_scenario(document);
  plan::Topology read =
      plan::read_topology(topology, plan::TopologyOverrides{scenario.cluster.nodes, scenario.cluster.nic});
  plan::Machine machine = plan::build_machine(read);
  plan::Plan plan = plan::make_plan(scenario, machine);
  return Loaded{std::move(document), std::move(scenario), std::move(read), std::move(machine), std::move(plan)};
}

/// The scenario planned as it was; nothing if no topology gives the result's plan.
std::optional<Loaded> plan_again(const explain::StoredResult& result, const fs::path& topology) {
  std::error_code status;
  for (const fs::path& file : topology.empty() ? candidates(result) : std::vector<fs::path>{topology}) {
    if (topology.empty() && !fs::is_regular_file(file, status)) continue;
    Loaded loaded = load_for(result, file);
    if (loaded.plan.plan_hash == result.plan_hash) return loaded;
  }
  return std::nullopt;
}

}  // namespace

ResimulationAnswer resimulate(const explain::StoredResult& result, const fs::path& topology,
                              const fs::path& calibration) {
  const auto without = [](std::string why) { return ResimulationAnswer{nullptr, std::move(why)}; };
  if (result.clock != "simulated") return without("the result was measured; what links carry is known of predictions");
  try {
    auto loaded = plan_again(result, topology);
    if (!loaded)
      return without(
          fmt::format("no topology file was found with which its scenario gives plan {} (name it with "
                      "--topology)",
                      result.plan_hash));
    Calibration read = load_calibration(*loaded, calibration);
    auto run = std::make_unique<Resimulation>(Resimulation{std::move(*loaded), std::move(read), {}, {}});
    run->options.communicator = result.communicator;
    sim::SimulateOptions with_links = run->options;
    with_links.link_samples = link_samples(run->loaded);
    run->trace = sim::simulate(run->loaded.plan, run->loaded.machine, run->calibration, with_links);
    const Seconds tpot = compute_metrics(run->trace).tpot.mean;
    if (std::abs(ratio(tpot, result.tpot.mean) - 1) > kSameTpot)
      return without(
          fmt::format("simulated again with calibration {} it gives a TPOT of {:.4f} ms, not {:.4f}: it was made with "
                      "another calibration, other options or another version (name the first with --calibration)",
                      run->calibration.name, tpot.value() * 1e3, result.tpot.mean.value() * 1e3));
    return {std::move(run), ""};
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid_input || !topology.empty() || !calibration.empty()) throw;
    return without(fmt::format("its scenario cannot be simulated again: {}", error.what()));
  }
}

}  // namespace foretoken::cli
