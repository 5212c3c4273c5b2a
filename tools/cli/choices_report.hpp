// `foretoken simulate --choices`: the open choices of scenarios, one at a time.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "tools/cli/commands.hpp"

namespace foretoken::cli {

struct ChoicesReport {
  std::string text;
  nlohmann::ordered_json json;
};

/// For each scenario a table of its neighbours: one choice changed at a time. All together is `foretoken audit`.
ChoicesReport report_choices(const SimulateOptions& options);

}  // namespace foretoken::cli
