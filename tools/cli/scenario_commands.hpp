// The commands that take scenarios one by one: what a scenario means, predicted or done live.
#pragma once

#include <functional>
#include <iosfwd>

#include "tools/cli/commands.hpp"
#include "tools/cli/interval_options.hpp"

namespace CLI {
class App;
}

namespace foretoken::cli {

struct ScenarioCommands {
  PlanOptions plan;
  LaunchOptions launch;
  SimulateOptions simulate;
  IntervalOptions interval;  // of simulate
  RunOptions run;
};

/// Adds them to the command line. Which was given is left in `chosen`, to be called after parsing.
void add_scenario_commands(CLI::App& app, ScenarioCommands& options, std::function<void()>& chosen, std::ostream& out,
                           std::ostream& err);

}  // namespace foretoken::cli
