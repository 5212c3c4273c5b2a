#include "tools/cli/advise_command.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/metrics.hpp"
#include "tools/cli/interval_report.hpp"
#include "tools/cli/load.hpp"
#include "tools/cli/measurement.hpp"
#include "tools/cli/numbers.hpp"
#include "tools/cli/report_json.hpp"
#include "tools/cli/validators.hpp"
#include "tools/cli/version.hpp"
#include "tools/cli/write_file.hpp"
#include "tools/explain/advice.hpp"
#include "tools/explain/critical_path.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::ordered_json;
using explain::MeasurementGain;
using explain::Span;

struct Advice {
  Metrics metrics;
  IntervalReport interval;
  std::vector<MeasurementGain> gains;
  std::vector<std::string> commands;  // [gain]
};

Span tpot_ms(const Advice& advice, double relative) {
  return explain::span_of(advice.metrics.tpot.mean.value() * 1e3, relative);
}

Advice advise(const AdviseOptions& options, const Loaded& loaded, const Calibration& calibration) {
  const Trace trace = sim::simulate(loaded.plan, loaded.machine, calibration, simulation_options(options));
  Advice advice{compute_metrics(trace), report_interval(trace, calibration, options.errors), {}, {}};
  if (!advice.interval.errors)
    throw input_error(loaded.scenario.name, "", advice.interval.why_not,
                      "give --errors FILE, of which `foretoken schema model-errors` says what is in it");
  Measurements measurements(loaded, options, trace);
  std::map<std::pair<std::int32_t, std::int32_t>, std::string> shapes;  // by role and op
  const auto shape_of = [&](std::size_t event) {
    const std::pair key(trace.role_of_rank[static_cast<std::size_t>(trace.rank[event])], trace.op[event]);
    const auto known = shapes.find(key);
    return known != shapes.end() ? known->second : shapes.emplace(key, measurements.shape(event)).first->second;
  };
  advice.gains =
      explain::measurement_gains(explain::find_critical_path(trace), trace, *advice.interval.errors, shape_of);
  for (const MeasurementGain& gain : advice.gains) advice.commands.push_back(measurements.command(gain.event));
  return advice;
}

// No upper end: null.
Json advice_json(const AdviseOptions& options, const Loaded& loaded, const Calibration& calibration,
                 const Advice& advice) {
  const double relative = advice.interval.first_order.relative;
  Json list = Json::array();
  for (std::size_t i = 0; i < advice.gains.size(); ++i) {
    const MeasurementGain& gain = advice.gains[i];
    const explain::ModelError& row = advice.interval.errors->rows()[gain.row];
    const auto narrower = explain::narrower(relative, gain.relative_then);
    list.push_back({{"op", gain.kind},
                    {"shape", gain.shape},
                    {"names", gain.names},
                    {"provenance", name_of(gain.provenance)},
                    {"share", gain.share},
                    {"predicted_us", to_seconds(gain.predicted).value() * 1e6},
                    {"p90", row.p90},
                    {"p90_assumed", row.assumed},
                    {"error", gain.share * row.p90},
                    {"tpot_relative_then", gain.relative_then},
                    {"tpot_ms_then", span_json(tpot_ms(advice, gain.relative_then))},
                    {"narrower", narrower ? Json(*narrower) : Json()},
                    {"command", advice.commands[i]}});
  }
  return {{"schema_version", 1},
          {"kind", "advice"},
          {"foretoken", {{"version", version()}, {"commit", commit()}}},
          {"scenario", loaded.scenario.name},
          {"overrides", options.overrides},
          {"topology", loaded.machine.name()},
          {"calibration", calibration.name},
          {"plan_hash", loaded.plan.plan_hash},
          {"tpot_mean_ms", advice.metrics.tpot.mean.value() * 1e3},
          {"interval", interval_json(advice.interval, advice.metrics)},
          {"measurements", std::move(list)}};
}

std::string percent(double share) { return fmt::format("{:.1f} %", 100 * share); }

std::string span_text(const Span& span) {
  const int decimals = decimals_for(span.low);
  return std::isfinite(span.high) ? fmt::format("{:.{}f} to {:.{}f} ms", span.low, decimals, span.high, decimals)
                                  : fmt::format("{:.{}f} ms or more", span.low, decimals);
}

std::string advice_text(const AdviseOptions& options, const Loaded& loaded, const Calibration& calibration,
                        const Advice& advice) {
  const double relative = advice.interval.first_order.relative;
  const double tpot = advice.metrics.tpot.mean.value() * 1e3;
  std::string text =
      fmt::format("{} on {}, calibration {}\n  TPOT {:.{}f} ms, 90 % from {} (off by {}, {})\n\n", loaded.scenario.name,
                  loaded.machine.name(), calibration.name, tpot, decimals_for(tpot),
                  span_text(tpot_ms(advice, relative)), percent(relative), advice.interval.file);
  text += "  By how much narrower that gets, if one op were measured exactly:\n\n";
  text += fmt::format("  {:>9}{:>9}{:>9}  {:<13} {}\n", "narrower", "of TPOT", "error", "rests on", "op");
  const std::size_t shown = std::min(advice.gains.size(), static_cast<std::size_t>(options.top));
  for (std::size_t i = 0; i < shown; ++i) {
    const MeasurementGain& gain = advice.gains[i];
    const explain::ModelError& row = advice.interval.errors->rows()[gain.row];
    const auto narrower = explain::narrower(relative, gain.relative_then);
    text += fmt::format("  {:>9}{:>9}{:>9}  {:<13} {} ({}): {}\n", narrower ? percent(*narrower) : "-",
                        percent(gain.share), percent(row.p90) + (row.assumed ? "*" : ""), name_of(gain.provenance),
                        gain.kind, fmt::join(gain.names, ", "), gain.shape);
    text += fmt::format("  {:29}then {}\n  {:29}{}\n", "", span_text(tpot_ms(advice, gain.relative_then)), "",
                        advice.commands[i]);
  }
  if (shown < advice.gains.size()) text += fmt::format("  and {} more (--top)\n", advice.gains.size() - shown);
  return text + "\n  error: 90th percentile of |predicted / measured - 1| of such ops; *: assumed\n";
}

}  // namespace

void run_advise(const AdviseOptions& options, std::ostream& out) {
  check_out(options);
  refuse_to_replace(options.out, options.calibration);
  const Loaded loaded = load(options.scenarios.front(), options);
  const Calibration calibration = load_calibration(loaded, options.calibration);
  const Advice advice = advise(options, loaded, calibration);
  const Json json = advice_json(options, loaded, calibration, advice);
  if (!options.out.empty()) write_file(options.out, json.dump(2) + "\n");
  if (options.json) out << json.dump(2) << "\n";
  else out << advice_text(options, loaded, calibration, advice);
}

void add_advise(CLI::App& calibrate, AdviseOptions& options, std::function<void()>& chosen, std::ostream& out) {
  CLI::App* advise =
      calibrate.add_subcommand("advise",
                               "What to measure next: the ops on a scenario's critical path, by how much narrower the "
                               "90 % interval of its TPOT\n"
                               "gets if one of them were measured exactly, and the command that measures it");
  advise->footer(
      "Example: foretoken calibrate advise scenarios/paper/large-ep64.json --json | jq -r "
      "'.measurements[0].command'");
  const auto add_file = [&](const char* name, std::filesystem::path& file, const char* help) {
    advise->add_option(name, file, help)->type_name("FILE")->check(kNotEmpty);
  };
  advise->add_option("scenario", options.scenarios, "Scenario file")
      ->required()
      ->expected(1)
      ->type_name("FILE")
      ->check(kNotEmpty);
  advise
      ->add_option("--set", options.overrides,
                   "Override a field of the scenario: --set deployment.micro_batches=8 (repeatable)")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->take_all();
  add_file("--topology", options.topology, "Use this machine instead of the scenario's cluster.topology");
  add_file("--calibration", options.calibration, "Use this calibration instead of the topology's");
  add_file("--errors", options.errors,
           "How far predictions of ops are off (kind model_errors; default: as shipped for the calibration)");
  advise
      ->add_option("--framework", options.framework,
                   "Whose kernels to predict, among those that the calibration has: vllm, sglang, trtllm")
      ->type_name("NAME");
  advise->add_option("--top", options.top, "Show so many of the list (default 10); --json has all")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1'000'000}));
  advise->add_flag("--json", options.json, "Machine-readable output");
  add_file("--out", options.out, "Also store the JSON in FILE, whole or not at all");
  advise->callback([&] { chosen = [&] { run_advise(options, out); }; });
}

}  // namespace foretoken::cli
