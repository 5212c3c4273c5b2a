// foretoken topology: machines drawn, looked at critically, and made of what other tools say.
#pragma once

#include <filesystem>
#include <functional>
#include <iosfwd>

#include "tools/cli/commands.hpp"

namespace CLI {
class App;
}

namespace foretoken::cli {

struct TopologyShowOptions : TopologyOptions {
  std::filesystem::path svg;  // --svg: also a drawing
  bool links = false;         // --links: also every link
};

struct TopologyLintOptions : TopologyOptions {
  std::filesystem::path scenario;  // --scenario: whose faults are to hit it
};

struct FabricImportOptions : TopologyImportOptions {
  std::filesystem::path node_from;  // --node-from: what a node of the fabric has inside
};

void run_topology_show(const TopologyShowOptions& options, std::ostream& out);
/// @throws Error{gate_failed} after printing, if anything was found
void run_topology_lint(const TopologyLintOptions& options, std::ostream& out);
/// run_topology_import(), of a fabric whose nodes another file describes.
void run_fabric_import(const FabricImportOptions& options, std::ostream& out, std::ostream& err);

struct TopologyCommands {
  TopologyOptions plain;
  TopologyShowOptions show;
  TopologyLintOptions lint;
  FabricImportOptions import;
};

/// Adds them to the command line. Which was given is left in `chosen`, to be called after parsing.
void add_topology_commands(CLI::App& app, TopologyCommands& options, std::function<void()>& chosen, std::ostream& out,
                           std::ostream& err);

}  // namespace foretoken::cli
