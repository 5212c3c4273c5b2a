// From a scenario to a Plan for this computer, whatever machine the scenario names: probes run here.
#pragma once

#include <string>
#include <vector>

#include "core/json_reader.hpp"
#include "plan/plan.hpp"

namespace foretoken::calibrate {

/// The plan that a computer's ranks would get: one node, as much memory as asked for (what there really is, is the
/// runtime's to say), no switch that adds.
/// @throws Error{invalid_input} as plan::parse_scenario and plan::make_plan do
plan::Plan host_plan(const JsonDocument& scenario);

/// A small one-rank scenario with the settings applied, as --set takes them: "model.hidden=512".
plan::Plan probe_plan(const std::string& name, const std::vector<std::string>& settings);

}  // namespace foretoken::calibrate
