// The commands that plan: many simulations for one answer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "tools/cli/evaluation.hpp"

namespace CLI {
class App;
}

namespace foretoken::cli {

struct SweepOptions : EvaluationOptions {
  std::filesystem::path scenario;
  std::vector<std::string> set;   // --set FIELD=VALUE,VALUE,...
  std::int64_t threads = 0;       // --threads; 0: as many as there are cores
  std::filesystem::path journal;  // --journal: where the sweep goes on after a kill
  std::filesystem::path csv;
  std::filesystem::path out;
  bool json = false;
};

void run_sweep(const SweepOptions& options, std::ostream& out, std::ostream& err);

struct PlanningOptions {
  SweepOptions sweep;
};

/// Adds them to the command line. Which was given is left in `chosen`, to be called after parsing.
void add_planning_commands(CLI::App& app, PlanningOptions& options, std::function<void()>& chosen, std::ostream& out,
                           std::ostream& err);

}  // namespace foretoken::cli
