// Which fields a scenario has, by its JSON Schema.
#pragma once

#include <string>

namespace foretoken::cli {

/// Whether --set can set this field is known before anything is simulated: where each of many points has a field that
/// nobody knows, that is an error of the command and not of the points.
/// @param field  dotted, as --set takes it: "deployment.experts.ep", "faults.0.nic"
/// @throws Error{invalid_input} naming the part that no scenario has, and the nearest that one has
void require_scenario_field(const std::string& field);

}  // namespace foretoken::cli
