// foretoken compare: two stored results, of one plan or of two; or one beside what was published for it, or beside
// what a serving benchmark measured.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>

#include "core/error.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/comparison_report.hpp"
#include "tools/cli/explanation_report.hpp"
#include "tools/cli/load.hpp"
#include "tools/cli/shipped_data.hpp"
#include "tools/cli/write_file.hpp"
#include "tools/explain/compare.hpp"
#include "tools/explain/critical_path.hpp"
#include "tools/explain/gate.hpp"
#include "tools/explain/interval.hpp"
#include "tools/explain/model_errors.hpp"
#include "tools/explain/serving_result.hpp"
#include "tools/explain/stored_result.hpp"
#include "tools/explain/stored_trace.hpp"
#include "tools/explain/timeline.hpp"

namespace foretoken::cli {
namespace {

using explain::GateVerdict;

/// @throws Error{gate_failed} naming every gate that failed
void require_passed(const std::vector<GateVerdict>& verdicts) {
  std::string message;
  for (const GateVerdict& verdict : verdicts)
    if (verdict.failed)
      message += fmt::format("{}--fail-if '{}': the error is {:+.1f} %", message.empty() ? "gate failed: " : "; ",
                             verdict.gate.condition, 100 * verdict.error);
  if (!message.empty()) throw Error(ErrorCode::gate_failed, message);
}

// File names need not be UTF-8.
std::string as_text(const nlohmann::ordered_json& json) {
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::vector<explain::Gate> gates_of(const CompareOptions& options) {
  std::vector<explain::Gate> gates;
  for (const std::string& condition : options.fail_if) gates.push_back(explain::parse_gate(condition));
  return gates;
}

struct CriticalPaths {
  explain::CriticalPath a;
  explain::CriticalPath b;
};

explain::CriticalPath critical_path_of(const explain::StoredResult& result) {
  if (!explain::says_who_waits(result.trace))
    throw input_error(result.file, "/trace/op_columns", "does not say which ops wait for which (the column \"after\")",
                      "store the result again with this program");
  if (!explain::has_all_ranks(result.trace))
    throw input_error(
        result.file, "/trace/ranks", fmt::format("the trace has some of {} ranks alone", result.trace.ranks),
        "compare critical paths of results with at most 64 ranks, whose traces are whole, or simulate with "
        "--explain");
  return explain::find_critical_path(result.trace);
}

void require_no_traces(const CompareOptions& options, const char* why) {
  if (const char* option = needs_traces(options))
    throw input_error(option, "", why, "give a second result: foretoken compare A B");
}

bool is_prediction(const explain::StoredHeadline& result) { return result.clock == "simulated"; }

/// The file of a calibration's errors that is shipped, by the calibration's name; nothing if there is none.
std::optional<std::filesystem::path> shipped_errors(const std::string& calibration) {
  const bool plain = !calibration.empty() && calibration.front() != '.' &&
                     std::all_of(calibration.begin(), calibration.end(), [](char c) {
                       return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-' || c == '_';
                     });
  if (!plain) return std::nullopt;
  try {
    return shipped_file(std::filesystem::path("topologies/calibrations/errors") / (calibration + ".json"));
  } catch (const Error&) {
    return std::nullopt;
  }
}

/// Gives the figures intervals and verdicts, if it is known how far A may be off.
/// @param a  with its trace, or nothing
/// @param b  a result, or nothing if B is a published figure
Intervals judge(const CompareOptions& options, const explain::StoredHeadline& headline, const explain::StoredResult* a,
                const explain::StoredResult* b, std::vector<explain::Figure>& figures) {
  Intervals intervals;
  const auto without = [&](std::string why) {
    intervals.why_not = std::move(why);
    return intervals;
  };
  if (!is_prediction(headline)) return without("A was measured, and intervals are of predictions");
  if (a == nullptr) return without("A was stored without its trace, which says what it rests on");
  if (!explain::says_who_waits(a->trace) || !explain::has_all_ranks(a->trace))
    return without("A's trace has some of the ranks alone, or does not say which ops wait for which");
  const auto shipped = shipped_errors(headline.calibration);
  if (options.errors.empty() && !shipped)
    return without(fmt::format("it is not known how far calibration {} is off (--errors FILE)", headline.calibration));
  const JsonDocument document = JsonDocument::from_file(options.errors.empty() ? *shipped : options.errors);
  intervals.errors = explain::ModelErrors::read(document);
  intervals.file = options.errors.empty() ? "errors/" + shipped->filename().string() : options.errors.string();
  // Of two predictions with one calibration all errors that they share cancel.
  const bool alike = b != nullptr && is_prediction(*b) && b->calibration == headline.calibration &&
                     explain::says_who_waits(b->trace) && explain::has_all_ranks(b->trace);
  intervals.uncertainty = explain::uncertainty_of(a->trace, alike ? &b->trace : nullptr, *intervals.errors);
  explain::judge(figures, *intervals.uncertainty, b != nullptr && !is_prediction(*b) ? &b->trace : nullptr);
  return intervals;
}

/// The whole result, if it was stored.
std::optional<explain::StoredResult> whole_result(const JsonDocument& document) {
  if (!document.json().contains("trace")) return std::nullopt;
  return explain::read_result(document);
}

void compare_with_published(const CompareOptions& options, const JsonDocument& first,
                            const std::vector<explain::Gate>& gates, std::ostream& out) {
  require_no_traces(options, "published figures have no trace");
  const explain::StoredHeadline a = explain::read_headline(first);
  auto figures = explain::compare_with_published(a);
  const auto whole = whole_result(first);
  const Intervals intervals = judge(options, a, whole ? &*whole : nullptr, nullptr, figures);
  const auto verdicts = explain::check_gates(gates, figures);
  if (options.json) out << as_text(published_json(a, figures, intervals, verdicts)) << "\n";
  else out << published_text(a, figures, intervals);
  require_passed(verdicts);
}

void compare_with_serving(const CompareOptions& options, const JsonDocument& first, const JsonDocument& second,
                          const std::vector<explain::Gate>& gates, std::ostream& out) {
  require_no_traces(options, "serving benchmarks store no trace");
  const explain::StoredHeadline a = explain::read_headline(first);
  const explain::ServingResult b = explain::read_serving(second);
  auto figures = explain::compare_with_serving(a, b);
  const auto whole = whole_result(first);
  const Intervals intervals = judge(options, a, whole ? &*whole : nullptr, nullptr, figures);
  const auto verdicts = explain::check_gates(gates, figures);
  if (options.json) out << as_text(serving_json(a, b, figures, intervals, verdicts)) << "\n";
  else out << serving_text(a, b, figures, intervals);
  require_passed(verdicts);
}

// A gate holds a prediction to a measurement of the same work.
void check_across(const CompareOptions& options) {
  if (options.across && !options.fail_if.empty())
    throw input_error("--across", "", "--fail-if is given too, and deployments that differ are no error of each other",
                      "leave one of them out");
}

void store_both(const CompareOptions& options, const explain::StoredResult& a, const explain::StoredResult& b) {
  if (!options.trace.empty())
    write_file(options.trace,
               explain::timelines_json(a.trace, critical_path_of(a), b.trace, critical_path_of(b),
                                       fmt::format("A {}, B {}, aligned at the first counted step", a.file, b.file)));
  if (!options.csv.empty()) write_file(options.csv, explain::ops_csv(a.trace, b.trace));
}

}  // namespace

const char* needs_traces(const CompareOptions& options) {
  if (options.cpu) return "--clock cpu";
  if (options.by_layer) return "--by layer";
  if (options.critical_path) return "--critical-path";
  if (options.across) return "--across";
  if (!options.trace.empty()) return "--trace";
  if (!options.csv.empty()) return "--csv";
  return options.brief ? "--brief" : nullptr;
}

void run_compare(const CompareOptions& options, std::ostream& out, std::ostream&) {
  if (options.a.empty())
    throw input_error("compare", "", "no result is given", "foretoken compare A B, or foretoken compare --suite DIR");
  if (options.gate)
    throw input_error("--gate", "", "is for --suite", "hold two results to each other with --fail-if 'tpot>10%'");
  for (const std::filesystem::path& target : {options.trace, options.csv}) {
    if (target.empty()) continue;
    for (const std::filesystem::path& input : {options.a, options.b})
      refuse_to_replace(target, input, "--trace, --csv");
    require_writable(target);
  }
  check_across(options);
  const std::vector<explain::Gate> gates = gates_of(options);
  const JsonDocument first = JsonDocument::from_file(options.a);
  if (explain::is_serving(first))
    throw input_error(options.a.string(), "", "is what a serving benchmark measured, and stands as A",
                      "write the prediction first: foretoken compare RESULT SERVED");
  if (options.b.empty()) return compare_with_published(options, first, gates, out);
  const JsonDocument second = JsonDocument::from_file(options.b);
  if (explain::is_serving(second)) return compare_with_serving(options, first, second, gates, out);
  const explain::StoredResult a = explain::read_result(first);
  const explain::StoredResult b = explain::read_result(second);
  const explain::GroupBy by = options.by_layer ? explain::GroupBy::layer : explain::GroupBy::kind;
  explain::Comparison comparison = explain::compare(a, b, explain::CompareOptions{by, options.cpu, options.across});
  const auto verdicts = explain::check_gates(gates, comparison.figures);
  store_both(options, a, b);
  const Intervals intervals = judge(options, a, &a, &b, comparison.figures);
  std::optional<CriticalPaths> paths;
  if (options.critical_path) paths = CriticalPaths{critical_path_of(a), critical_path_of(b)};
  if (options.json) {
    nlohmann::ordered_json json = comparison_json(a, b, comparison, by, intervals, verdicts);
    if (paths)
      json["critical_path"] = {{"a", critical_path_json(paths->a, a.trace)},
                               {"b", critical_path_json(paths->b, b.trace)}};
    out << as_text(json) << "\n";
  } else if (options.brief) {
    out << comparison_brief(a, comparison);
  } else {
    out << comparison_text(a, b, comparison, intervals);
    if (paths) out << critical_paths_text(paths->a, a.trace, paths->b, b.trace);
  }
  require_passed(verdicts);
}

}  // namespace foretoken::cli
