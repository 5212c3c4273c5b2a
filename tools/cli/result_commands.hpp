// The commands that explain: stored results, and what was published.
#pragma once

#include <functional>
#include <iosfwd>

#include "tools/cli/commands.hpp"

namespace CLI {
class App;
}

namespace foretoken::cli {

struct ResultCommands {
  CompareOptions compare;
  ExplainOptions explain;
  AuditOptions audit;
};

/// Adds them to the command line. Which was given is left in `chosen`, to be called after parsing.
void add_result_commands(CLI::App& app, ResultCommands& options, std::function<void()>& chosen, std::ostream& out,
                         std::ostream& err);

}  // namespace foretoken::cli
