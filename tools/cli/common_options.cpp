#include "tools/cli/common_options.hpp"

#include "tools/cli/validators.hpp"

namespace foretoken::cli {

CLI::Option* add_file(CLI::App& command, const char* name, std::filesystem::path& file, const std::string& help) {
  return command.add_option(name, file, help)->type_name("FILE")->check(kNotEmpty);
}

CLI::Option* add_file(CLI::App& command, const char* name, std::vector<std::filesystem::path>& files,
                      const std::string& help) {
  return command.add_option(name, files, help)->type_name("FILE")->check(kNotEmpty);
}

void add_set(CLI::App& command, std::vector<std::string>& set, const char* type, const std::string& help) {
  command.add_option("--set", set, help)->type_name(type)->expected(1)->take_all();
}

void add_scenario_options(CLI::App& command, ScenarioOptions& options) {
  add_file(command, "scenario", options.scenarios, "Scenario file(s)")->required();
  add_set(command, options.overrides, "KEY=VALUE",
          "Override a field of the scenario: --set deployment.micro_batches=8 (repeatable)");
  add_file(command, "--topology", options.topology, "Use this machine instead of the scenario's cluster.topology");
  command.add_flag("--json", options.json, "Machine-readable output");
  add_file(command, "--out", options.out, "Also store the whole result in FILE, whole or not at all");
}

void add_accuracy(CLI::App& command, double& accuracy) {
  command
      .add_option("--accuracy", accuracy,
                  "Share links to this accuracy, for speed: makespans come out within about twice this (default 0: "
                  "exact)")
      ->type_name("ERROR")
      ->check(CLI::Range(0.0, 0.1))
      ->check(kNotNan);
}

void add_time_limit(CLI::App& command, double& seconds) {
  command
      .add_option("--time-limit", seconds,
                  "Refuse what would take longer to share links for, by a rough estimate (default 600)")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.0, 1e9))
      ->check(kNotNan);
}

}  // namespace foretoken::cli
