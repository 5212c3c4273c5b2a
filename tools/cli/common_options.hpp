// Options that several commands have, worded once.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "tools/cli/commands.hpp"

namespace foretoken::cli {

/// An option, or by a name without dashes an argument, that is a file's path.
CLI::Option* add_file(CLI::App& command, const char* name, std::filesystem::path& file, const std::string& help);
/// Several of them.
CLI::Option* add_file(CLI::App& command, const char* name, std::vector<std::filesystem::path>& files,
                      const std::string& help);

/// --set, repeatable; `type` is what help shows for its value.
void add_set(CLI::App& command, std::vector<std::string>& set, const char* type, const std::string& help);

/// What every command that reads scenarios takes.
void add_scenario_options(CLI::App& command, ScenarioOptions& options);

/// --accuracy of sharing links; what `accuracy` is, is the default.
void add_accuracy(CLI::App& command, double& accuracy);

/// --time-limit: how long anybody would wait for links to be shared, by a rough estimate beforehand.
void add_time_limit(CLI::App& command, double& seconds);

}  // namespace foretoken::cli
