// foretoken topology lint FILE: what is suspicious about a machine.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <ostream>
#include <system_error>

#include "core/error.hpp"
#include "core/json_reader.hpp"
#include "plan/machine/topology.hpp"
#include "tools/cli/shipped_data.hpp"
#include "tools/cli/topology_commands.hpp"
#include "tools/topology/lint.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::ordered_json;

std::optional<DeviceSpec> shipped_datasheet(const plan::Topology& topology) {
  if (topology.cores_per_node > 0) return std::nullopt;
  std::filesystem::path file;
  try {
    file = shipped_file("topologies/devices/" + topology.device.name + ".json");
  } catch (const Error&) {
    return std::nullopt;  // of a GPU that is not shipped
  }
  return read_device_spec(file);
}

std::vector<topology::Finding> findings_of(const TopologyLintOptions& options, const plan::Topology& topology,
                                           const plan::Machine& machine) {
  topology::LintBeside beside;
  beside.datasheet = shipped_datasheet(topology);
  std::error_code status;
  const bool calibrated = std::filesystem::is_regular_file(topology.calibration, status);
  if (calibrated) beside.calibration = read_calibration(topology.calibration);
  if (!options.scenario.empty()) beside.scenario = plan::parse_scenario(JsonDocument::from_file(options.scenario));
  std::vector<topology::Finding> findings = topology::lint(topology, machine, beside);
  if (!calibrated && !topology.calibration.empty())
    findings.push_back({"", "/calibration", fmt::format("there is no regular file {}", topology.calibration.string()),
                        "planning needs none, but nothing can be simulated without --calibration"});
  for (topology::Finding& finding : findings)
    if (finding.file.empty()) finding.file = options.topology.string();
  return findings;
}

Json findings_json(const plan::Topology& topology, const std::vector<topology::Finding>& findings) {
  Json json{
      {"schema_version", 1}, {"kind", "topology-findings"}, {"topology", topology.name}, {"findings", Json::array()}};
  for (const topology::Finding& finding : findings)
    json["findings"].push_back(
        {{"file", finding.file}, {"pointer", finding.pointer}, {"what", finding.what}, {"why", finding.why}});
  return json;
}

}  // namespace

void run_topology_lint(const TopologyLintOptions& options, std::ostream& out) {
  const plan::Topology topology = plan::read_topology(options.topology);
  const plan::Machine machine = plan::build_machine(topology);
  const std::vector<topology::Finding> findings = findings_of(options, topology, machine);
  if (options.json) {
    out << findings_json(topology, findings).dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
  } else {
    for (const topology::Finding& finding : findings)
      out << fmt::format("{}#{}: {}\n    {}\n", finding.file, finding.pointer, finding.what, finding.why);
    if (findings.empty()) out << options.topology.string() << ": nothing found\n";
  }
  if (!findings.empty())
    throw Error(ErrorCode::gate_failed, fmt::format("{}: {} finding{}", options.topology.string(), findings.size(),
                                                    findings.size() == 1 ? "" : "s"));
}

}  // namespace foretoken::cli
