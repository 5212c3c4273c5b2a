// foretoken explain: why one stored result took as long as it did.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <ostream>

#include "core/breakdown.hpp"
#include "core/error.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/explanation_report.hpp"
#include "tools/cli/resimulation.hpp"
#include "tools/cli/version.hpp"
#include "tools/explain/sensitivity.hpp"
#include "tools/explain/stored_result.hpp"
#include "tools/explain/stored_trace.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::ordered_json;

template <class Each>
void for_each_part(const Breakdown& breakdown, const Each& each) {
  for (const BreakdownPart& part : breakdown.compute) each("compute", part.kind, part.time);
  for (const BreakdownPart& part : breakdown.exposed) each("exposed", part.kind, part.time);
  for (const BreakdownPart& part : breakdown.waiting) each("waiting", part.kind, part.time);
  each("idle", std::string(), breakdown.idle);
}

std::string breakdown_text(const Breakdown& breakdown) {
  std::string text = fmt::format("\n  Where a step goes, on the slowest rank ({}):\n", breakdown.rank);
  for_each_part(breakdown, [&](const char* cause, const std::string& of, SimTime time) {
    if (time == SimTime(0)) return;
    text += fmt::format("    {:<10} {:<20} {:>9.3f} ms  {:>5.1f} %\n", cause, of,
                        milliseconds(breakdown.per_step(time)), 100 * ratio(time, breakdown.window()));
  });
  return text + fmt::format("  Communication: {:.3f} ms exposed, {:.3f} ms hidden behind compute\n",
                            milliseconds(breakdown.per_step(total(breakdown.exposed))),
                            milliseconds(breakdown.per_step(total(breakdown.hidden))));
}

Json breakdown_json(const Breakdown& breakdown) {
  Json parts = Json::array();
  for_each_part(breakdown, [&](const char* cause, const std::string& of, SimTime time) {
    parts.push_back(
        {{"cause", cause}, {"of", of}, {"ps", time.value()}, {"ms", milliseconds(breakdown.per_step(time))}});
  });
  return {{"rank", breakdown.rank},
          {"steps", breakdown.steps},
          {"parts", std::move(parts)},
          {"hidden_ms", milliseconds(breakdown.per_step(total(breakdown.hidden)))}};
}

Explanation of_stored(const explain::StoredResult& result) {
  if (!explain::says_who_waits(result.trace) || !explain::has_all_ranks(result.trace))
    throw input_error(result.file, "/trace", "does not have every rank, or does not say which ops wait for which",
                      "of more than 64 ranks, ask while simulating: foretoken simulate SCENARIO --explain");
  Explanation explanation;
  explanation.path = explain::find_critical_path(result.trace);
  explanation.stragglers = explain::straggler_waits(result.trace);
  return explanation;
}

Explanation of_prediction(const explain::StoredResult& result, const Resimulation& again, std::ostream& err) {
  Explanation explanation = explain_trace(again.trace, again.loaded);
  explanation.tpot = result.tpot.mean;
  explanation.sensitivities = explain::sensitivities(
      {again.loaded.plan, again.loaded.topology, again.calibration, again.options, explanation.tpot}, kBetter,
      [&](explain::Resource resource) {
        err << fmt::format("{}: simulating with better {}\n", result.scenario, name_of(resource));
      });
  return explanation;
}

}  // namespace

void run_explain(const ExplainOptions& options, std::ostream& out, std::ostream& err) {
  const explain::StoredResult result = explain::read_result(JsonDocument::from_file(options.result));
  const ResimulationAnswer again = resimulate(result, options.topology, options.calibration);
  const Trace& trace = again.run ? again.run->trace : result.trace;
  const Explanation explanation = again.run ? of_prediction(result, *again.run, err) : of_stored(result);
  const Breakdown breakdown = break_down(trace);
  if (options.json) {
    Json json{{"schema_version", 1},
              {"kind", "explanation"},
              {"foretoken", {{"version", std::string(version())}, {"commit", std::string(commit())}}},
              {"file", result.file},
              {"scenario", result.scenario},
              {"plan_hash", result.plan_hash},
              {"clock", result.clock},
              {"tps", result.tps},
              {"tpot_ms", milliseconds(result.tpot.mean)},
              {"breakdown", breakdown_json(breakdown)}};
    json.update(explanation_json(explanation, trace));
    if (!again.run) json["no_links_and_sensitivity"] = again.why_not;
    out << json.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
    return;
  }
  out << fmt::format("{}: {}, plan {}\n  {:.0f} tokens/s, TPOT {:.3f} ms mean, {} clock\n", result.scenario,
                     result.file, result.plan_hash, result.tps, milliseconds(result.tpot.mean), result.clock)
      << breakdown_text(breakdown) << explanation_text(explanation, trace);
  if (!again.run) out << fmt::format("\n  No use of links and no sensitivity: {}.\n", again.why_not);
}

}  // namespace foretoken::cli
