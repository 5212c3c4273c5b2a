// From files to values: a scenario with everything it names.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/calibration.hpp"
#include "plan/machine/topology.hpp"
#include "plan/plan.hpp"
#include "tools/cli/commands.hpp"

namespace foretoken::cli {

struct Loaded {
  JsonDocument document;  // of the scenario, overrides applied
  plan::Scenario scenario;
  plan::Topology topology;
  plan::Machine machine;
  plan::Plan plan;
};

/// Reads a scenario and its topology, applies the overrides, and plans.
/// @param options  --set ("deployment.micro_batches=8") and --topology, which stands instead of the scenario's own
/// @throws Error as parse_scenario, read_topology and make_plan do
Loaded load(const std::filesystem::path& scenario, const ScenarioOptions& options);

/// @throws Error{invalid_input} if `out`, which `option` names, is the input: results must not replace what they were
///         made from
void refuse_to_replace(const std::filesystem::path& out, const std::filesystem::path& input,
                       const std::string& option = "--out");

/// Before any work: @throws Error{invalid_input} if `out` is one of the scenario files, or cannot be written
void check_out(const ScenarioOptions& options);

/// The calibration named by the topology, or `instead` if it is not empty.
Calibration load_calibration(const Loaded& loaded, const std::filesystem::path& instead);
/// @param file  that the topology was read from, for messages
Calibration load_calibration(const plan::Topology& topology, const std::filesystem::path& file,
                             const std::filesystem::path& instead);

}  // namespace foretoken::cli
