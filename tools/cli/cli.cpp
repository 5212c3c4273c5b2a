#include "tools/cli/cli.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <new>
#include <ostream>

#include "core/error.hpp"
#include "tools/cli/calibration_commands.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/completion.hpp"
#include "tools/cli/op_commands.hpp"
#include "tools/cli/planning_commands.hpp"
#include "tools/cli/result_commands.hpp"
#include "tools/cli/scenario_commands.hpp"
#include "tools/cli/schemas.hpp"
#include "tools/cli/topology_commands.hpp"
#include "tools/cli/version.hpp"

namespace foretoken::cli {
namespace {

constexpr const char* kExamples =
    "Examples:\n"
    "  foretoken simulate scenarios/paper/large-ep64.json\n"
    "  foretoken simulate scenarios/paper/*.json --set workload.context=512\n"
    "  foretoken simulate scenarios/paper/baseline-tp8-pp2.json --choices\n"
    "  foretoken simulate scenarios/paper/large-ep64.json --json | jq .tpot_ms.mean\n"
    "  foretoken plan scenarios/paper/large-ep64.json --text | less\n"
    "  foretoken compare predicted.json measured.json --fail-if 'tpot>10%'\n"
    "  foretoken audit scenarios/paper\n"
    "  foretoken sweep scenarios/paper/large-ep64.json --set deployment.experts.ep=8..64*2\n"
    "  foretoken predict ops.jsonl > answers.jsonl\n"
    "  foretoken schema scenario > scenario.schema.json\n";

constexpr const char* kExitCodes =
    "Exit codes: 0 ok, 1 internal error, 2 bad usage or input, 3 infeasible (memory), 4 a gate failed,\n"
    "            5 measurement unhealthy, 6 a rank, device or link failed, 130 interrupted.";

}  // namespace

int run(const std::vector<std::string>& arguments, std::ostream& out, std::ostream& err) {
  CLI::App app{"foretoken predicts how fast a Mixture-of-Experts language model serves on a GPU cluster.\n\n" +
                   std::string(kExamples),
               "foretoken"};
  app.footer(kExitCodes);
  app.require_subcommand(1);
  app.set_version_flag("--version", "foretoken " + std::string(version()));

  std::function<void()> chosen;

  ScenarioCommands scenario_options;
  add_scenario_commands(app, scenario_options, chosen, out, err);
  ResultCommands result_options;
  add_result_commands(app, result_options, chosen, out, err);
  PlanningOptions planning_options;
  add_planning_commands(app, planning_options, chosen, out, err);
  OpCommands op_options;
  add_op_commands(app, op_options, chosen, out, err);
  TopologyCommands topology_options;
  add_topology_commands(app, topology_options, chosen, out, err);
  CalibrationCommands calibration_options;
  add_calibration_commands(app, calibration_options, chosen, out, err);

  std::string schema_name;
  CLI::App* schema = app.add_subcommand("schema", "Print the JSON Schema of a file format");
  schema->footer("Example: foretoken schema scenario > scenario.schema.json");
  schema->add_option("name", schema_name, "Which format")
      ->required()
      ->type_name(fmt::format("{{{}}}", fmt::join(schema_names(), ",")));
  schema->callback([&] { chosen = [&] { run_schema(schema_name, out); }; });

  std::string shell;
  CLI::App* completion = app.add_subcommand("completion", "Print what makes a shell complete foretoken's arguments");
  completion->footer("Example: source <(foretoken completion bash)");
  completion->add_option("shell", shell, "Shell to complete in")
      ->required()
      ->type_name(fmt::format("{{{}}}", fmt::join(completion_shells(), ",")));
  completion->callback([&] { chosen = [&] { out << completion_script(app, shell); }; });

  CLI::App* version_command = app.add_subcommand("version", "Print version and commit");
  bool version_json = false;
  version_command->add_flag("--json", version_json, "Machine-readable output");
  version_command->callback([&] {
    chosen = [&] {
      if (version_json) {
        out << R"({"schema_version": 1, "version": ")" << version() << R"(", "commit": ")" << commit() << "\"}\n";
      } else {
        out << "foretoken " << version() << " (" << commit() << ")\n";
      }
    };
  });

  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // CLI11 takes its vector from the back
    app.parse(reversed);
  } catch (const CLI::ParseError& error) {
    return app.exit(error, out, err) == 0 ? 0 : static_cast<int>(ErrorCode::invalid_input);
  }

  try {
    chosen();
    out.flush();
    if (!out)
      throw Error(ErrorCode::invalid_input, "standard output: cannot be written; check the pipe or the free space");
    return 0;
  } catch (const Error& error) {
    err << "foretoken: " << error.what() << "\n";
    return static_cast<int>(error.code());
  } catch (const std::bad_alloc&) {
    err << "foretoken: out of memory on this computer; make the scenario smaller (ranks, micro-batches, steps)\n";
    return static_cast<int>(ErrorCode::internal);
  } catch (const std::exception& error) {
    err << "foretoken: internal error: " << error.what() << "; please report it\n";
    return static_cast<int>(ErrorCode::internal);
  }
}

}  // namespace foretoken::cli
