// `foretoken simulate --choices`: the open choices of scenarios, one at a time and all together.
#pragma once

#include <iosfwd>
#include <nlohmann/json.hpp>
#include <string>

#include "tools/cli/commands.hpp"

namespace foretoken::cli {

struct ChoicesReport {
  std::string text;
  nlohmann::ordered_json json;
};

/// For each scenario a table of its neighbours: one choice changed at a time. For all scenarios that have published
/// figures together: under each settlement of the choices they share, the own choices of each that come nearest to its
/// published figures, and whether all come within 15 %.
ChoicesReport report_choices(const SimulateOptions& options, std::ostream& progress);

}  // namespace foretoken::cli
