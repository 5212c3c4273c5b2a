#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <ostream>

#include "sim/simulate.hpp"
#include "tools/cli/choices_report.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/load.hpp"
#include "tools/cli/result.hpp"
#include "tools/cli/write_file.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::ordered_json;

// The whole result: what --json prints, the scenario as it was resolved, and the trace.
Json whole_result(const Loaded& loaded, const SimulateOptions& options, const Result& result, const Trace& trace) {
  Json json = result_json(loaded, options.overrides, result);
  json["resolved_scenario"] = Json::parse(loaded.document.json().dump());
  json["trace"] = trace_json(trace, result.breakdown);
  return json;
}

Json one_or_list(Json list) { return list.size() == 1 ? list.front() : list; }

}  // namespace

sim::SimulateOptions simulation_options(const SimulateOptions& options) {
  sim::SimulateOptions result;
  result.framework = options.framework;
  result.communicator = options.communicator;
  return result;
}

void run_simulate(const SimulateOptions& options, std::ostream& out, std::ostream& err) {
  check_out(options);
  refuse_to_replace(options.out, options.calibration);
  std::string text;
  Json results = Json::array();
  Json whole = Json::array();
  for (const auto& scenario : options.scenarios) {
    const Loaded loaded = load(scenario, options);
    const Calibration calibration = load_calibration(loaded, options.calibration);
    const Trace trace = sim::simulate(loaded.plan, loaded.machine, calibration, simulation_options(options));
    Result result = make_result(trace, calibration.name);
    if (calibration.host) result.communicator = calibration.host->communicator(options.communicator).communicator;
    if (!options.out.empty()) whole.push_back(whole_result(loaded, options, result, trace));
    results.push_back(result_json(loaded, options.overrides, result));
    if (options.brief) {
      text += brief_text(loaded, result, text.empty());
    } else {
      if (!text.empty()) text += "\n";
      text += result_text(loaded, result);
    }
  }
  if (options.choices) {
    ChoicesReport report = report_choices(options, err);
    text += report.text;
    results = Json{{"schema_version", 1},
                   {"kind", "choices"},
                   {"results", std::move(results)},
                   {"choices", std::move(report.json)}};
  }
  if (!options.out.empty()) {
    Json stored = one_or_list(std::move(whole));
    if (options.choices)
      stored = Json{
          {"schema_version", 1}, {"kind", "choices"}, {"results", std::move(stored)}, {"choices", results["choices"]}};
    write_file(options.out, stored.dump() + "\n");
  }
  if (options.json) out << (options.choices ? results : one_or_list(std::move(results))).dump(2) << "\n";
  else out << text;
}

}  // namespace foretoken::cli
