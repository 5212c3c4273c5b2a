#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <system_error>

#include "core/error.hpp"
#include "sim/simulate.hpp"
#include "tools/cli/choices_report.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/explanation_report.hpp"
#include "tools/cli/interval_options.hpp"
#include "tools/cli/interval_report.hpp"
#include "tools/cli/load.hpp"
#include "tools/cli/nccl_report.hpp"
#include "tools/cli/result.hpp"
#include "tools/cli/write_file.hpp"
#include "tools/explain/timeline.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::ordered_json;

// The whole result: what --json prints, the scenario as it was resolved, and the trace.
Json whole_result(const Loaded& loaded, Json json, const Trace& trace, const Breakdown& breakdown) {
  json["resolved_scenario"] = Json::parse(loaded.document.json().dump());
  json["trace"] = trace_json(trace, breakdown);
  return json;
}

void check_trace(const SimulateOptions& options) {
  if (options.trace.empty()) return;
  const std::string shown = "--trace " + options.trace.string();
  if (options.trace.extension() != ".json")
    throw input_error(shown, "", "is not named *.json, and a timeline is JSON", "name it for example timeline.json");
  if (options.scenarios.size() != 1)
    throw input_error(shown, "", fmt::format("{} scenarios are given", options.scenarios.size()),
                      "store the timeline of one scenario at a time");
  std::error_code status;
  if (!options.out.empty() && (options.trace.lexically_normal() == options.out.lexically_normal() ||
                               std::filesystem::equivalent(options.trace, options.out, status)))
    throw input_error(shown, "", "is also named by --out", "name another file");
  require_writable(options.trace);
}

void refuse_to_replace_inputs(const SimulateOptions& options, const Loaded& loaded) {
  for (const std::filesystem::path& input :
       {options.scenarios.front(), loaded.scenario.cluster.topology, loaded.topology.calibration, options.calibration})
    refuse_to_replace(options.trace, input, "--trace");
}

Explanation explanation_of(const SimulateOptions& options, const Loaded& loaded, const Calibration& calibration,
                           const Trace& trace, const Result& result, std::ostream& err) {
  Explanation explanation;
  if (options.explain) explanation = explain_trace(trace, loaded);
  explanation.tpot = result.metrics.tpot.mean;
  if (!options.sensitivity) return explanation;
  const sim::SimulateOptions plain = simulation_options(options);
  explanation.sensitivities = explain::sensitivities(
      {loaded.plan, loaded.topology, calibration, plain, explanation.tpot}, kBetter, [&](explain::Resource resource) {
        err << fmt::format("{}: simulating with better {}\n", loaded.scenario.name, name_of(resource));
      });
  return explanation;
}

void write_timeline(const SimulateOptions& options, const Loaded& loaded, const Trace& trace,
                    const Explanation& explanation) {
  const explain::CriticalPath path = explanation.path ? *explanation.path : explain::find_critical_path(trace);
  write_file(options.trace,
             explain::timeline_json(trace, path, loaded.scenario.name + ", plan " + loaded.plan.plan_hash));
}

void check_brief(const SimulateOptions& options, const IntervalOptions& interval) {
  if (options.brief && !options.json && (options.explain || options.sensitivity))
    throw input_error(
        "--brief", "",
        fmt::format("{} is given too, which is all about why", options.explain ? "--explain" : "--sensitivity"),
        "leave one of them out");
  if (options.brief && !options.json && drawn_method(interval.interval))
    throw input_error("--brief", "",
                      fmt::format("--interval {} is given too, and one line has no room for it", interval.interval),
                      "leave one of them out");
}

// What looks at single ops of a run has nothing to say of layers that were not simulated.
void check_sampling(const SimulateOptions& options, const IntervalOptions& interval) {
  if (options.layers_sampled == 0) return;
  const auto refuse = [&](bool given, const std::string& other) {
    if (given)
      throw input_error(fmt::format("--layers-sampled {}", options.layers_sampled), "",
                        fmt::format("{} is given too, which is about all layers", other), "leave one of them out");
  };
  refuse(options.explain, "--explain");
  refuse(options.sensitivity, "--sensitivity");
  refuse(options.choices, "--choices");
  refuse(!options.trace.empty(), "--trace");
  refuse(drawn_method(interval.interval).has_value(), "--interval " + interval.interval);
}

Result sampled_result(const SimulateOptions& options, const Loaded& loaded, const Calibration& calibration,
                      Trace& trace) {
  if (loaded.machine.is_host())
    throw input_error(fmt::format("--layers-sampled {}", options.layers_sampled), "",
                      "the topology is a host, whose caches hold more of fewer layers", "leave it out");
  plan::LayerSample sample = plan::sample_layers(loaded.scenario, options.layers_sampled);
  const plan::Plan plan = plan::with_layers(loaded.plan, loaded.machine, sample);
  trace = sim::simulate(plan, loaded.machine, calibration, simulation_options(options));
  Result result = make_result(trace, calibration.name);
  scale_to_all_layers(result, trace, plan, std::move(sample));
  return result;
}

/// Of a run with all its layers.
std::optional<IntervalReport> interval_of(const IntervalOptions& interval, const DrawnSubject& subject,
                                          const Result& result, std::ostream& err) {
  if (result.sampling &&
      result.sampling->sample.sampled.size() < static_cast<std::size_t>(result.sampling->sample.layers))
    return std::nullopt;
  IntervalReport report = report_interval(subject.trace, subject.calibration, interval.errors);
  if (const auto method = drawn_method(interval.interval)) draw(report, *method, subject, err);
  return report;
}

Json one_or_list(Json list) { return list.size() == 1 ? list.front() : list; }

}  // namespace

sim::SimulateOptions simulation_options(const SimulateOptions& options) {
  sim::SimulateOptions result;
  result.framework = options.framework;
  result.accuracy = options.accuracy;
  result.exchange_seconds_max = options.time_limit;
  result.communicator = options.communicator;
  return result;
}

void run_simulate(const SimulateOptions& options, const IntervalOptions& interval_options, std::ostream& out,
                  std::ostream& err) {
  if (!options.nccl_choices.empty()) {
    SimulateOptions chosen = options;
    chosen.nccl_choices.clear();
    const std::vector<std::string> settings = settings_of_result(options.nccl_choices);
    chosen.overrides.insert(chosen.overrides.begin(), settings.begin(), settings.end());
    run_simulate(chosen, interval_options, out, err);
    return;
  }
  static_cast<void>(drawn_method(interval_options.interval));  // refused before anything is done
  check_out(options);
  refuse_to_replace(options.out, options.calibration);
  check_trace(options);
  check_sampling(options, interval_options);
  check_brief(options, interval_options);
  std::string text;
  Json results = Json::array();
  Json whole = Json::array();
  for (const auto& scenario : options.scenarios) {
    const Loaded loaded = load(scenario, options);
    const Calibration calibration = load_calibration(loaded, options.calibration);
    if (!options.trace.empty()) refuse_to_replace_inputs(options, loaded);
    sim::SimulateOptions simulation = simulation_options(options);
    if (options.explain || !options.trace.empty()) simulation.link_samples = link_samples(loaded);
    Trace trace;
    Result result;
    if (options.layers_sampled > 0) {
      result = sampled_result(options, loaded, calibration, trace);
    } else {
      trace = sim::simulate(loaded.plan, loaded.machine, calibration, simulation);
      result = make_result(trace, calibration.name);
    }
    if (calibration.host) result.communicator = calibration.host->communicator(options.communicator).communicator;
    const Explanation explanation = explanation_of(options, loaded, calibration, trace, result, err);
    if (!options.trace.empty()) write_timeline(options, loaded, trace, explanation);
    const std::optional<IntervalReport> interval =
        interval_of(interval_options, {loaded.plan, loaded.machine, calibration, simulation, trace}, result, err);
    Json json = result_json(loaded, options.overrides, result);
    if (interval) json["interval"] = interval_json(*interval, result.metrics);
    if (!explanation.empty()) json["explanation"] = explanation_json(explanation, trace);
    if (!options.out.empty()) whole.push_back(whole_result(loaded, json, trace, result.breakdown));
    results.push_back(std::move(json));
    if (options.brief) {
      text += brief_text(loaded, result, text.empty());
    } else {
      if (!text.empty()) text += "\n";
      text += result_text(loaded, result);
      if (interval) text += interval_text(*interval, result.metrics);
      text += explanation_text(explanation, trace);
    }
  }
  if (options.choices) {
    ChoicesReport report = report_choices(options);
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
