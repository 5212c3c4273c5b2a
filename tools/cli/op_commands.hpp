// The commands about single ops and collectives, a model's size, and logs of them.
#pragma once

#include <functional>
#include <iosfwd>

#include "tools/cli/commands.hpp"

namespace CLI {
class App;
}

namespace foretoken::cli {

struct OpCommands {
  CollectiveOptions collective;
  PredictOptions predict;
  ScoreOptions score;
  ModelOptions model;
  ImportOptions import;
};

/// Adds them to the command line. Which was given is left in `chosen`, to be called after parsing.
void add_op_commands(CLI::App& app, OpCommands& options, std::function<void()>& chosen, std::ostream& out,
                     std::ostream& err);

}  // namespace foretoken::cli
