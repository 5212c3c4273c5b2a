// foretoken compare: two stored results, of one plan or of two; or one beside what was published for it, or beside
// what a serving benchmark measured.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>

#include "core/error.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/comparison_report.hpp"
#include "tools/cli/explanation_report.hpp"
#include "tools/cli/load.hpp"
#include "tools/cli/write_file.hpp"
#include "tools/explain/compare.hpp"
#include "tools/explain/critical_path.hpp"
#include "tools/explain/gate.hpp"
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

// What needs the trace of both sides.
const char* needs_traces(const CompareOptions& options) {
  if (options.cpu) return "--clock cpu";
  if (options.by_layer) return "--by layer";
  if (options.critical_path) return "--critical-path";
  if (options.across) return "--across";
  if (!options.trace.empty()) return "--trace";
  if (!options.csv.empty()) return "--csv";
  return options.brief ? "--brief" : nullptr;
}

void require_no_traces(const CompareOptions& options, const char* why) {
  if (const char* option = needs_traces(options))
    throw input_error(option, "", why, "give a second result: foretoken compare A B");
}

void compare_with_published(const CompareOptions& options, const JsonDocument& first,
                            const std::vector<explain::Gate>& gates, std::ostream& out) {
  require_no_traces(options, "published figures have no trace");
  const explain::StoredHeadline a = explain::read_headline(first);
  const auto figures = explain::compare_with_published(a);
  const auto verdicts = explain::check_gates(gates, figures);
  if (options.json) out << as_text(published_json(a, figures, verdicts)) << "\n";
  else out << published_text(a, figures);
  require_passed(verdicts);
}

void compare_with_serving(const CompareOptions& options, const JsonDocument& first, const JsonDocument& second,
                          const std::vector<explain::Gate>& gates, std::ostream& out) {
  require_no_traces(options, "serving benchmarks store no trace");
  const explain::StoredHeadline a = explain::read_headline(first);
  const explain::ServingResult b = explain::read_serving(second);
  const auto figures = explain::compare_with_serving(a, b);
  const auto verdicts = explain::check_gates(gates, figures);
  if (options.json) out << as_text(serving_json(a, b, figures, verdicts)) << "\n";
  else out << serving_text(a, b, figures);
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
  if (options.b.empty()) return compare_with_published(options, first, gates, out);
  const JsonDocument second = JsonDocument::from_file(options.b);
  if (explain::is_serving(second)) return compare_with_serving(options, first, second, gates, out);
  const explain::StoredResult a = explain::read_result(first);
  const explain::StoredResult b = explain::read_result(second);
  const explain::GroupBy by = options.by_layer ? explain::GroupBy::layer : explain::GroupBy::kind;
  const explain::Comparison comparison =
      explain::compare(a, b, explain::CompareOptions{by, options.cpu, options.across});
  const auto verdicts = explain::check_gates(gates, comparison.figures);
  store_both(options, a, b);
  std::optional<CriticalPaths> paths;
  if (options.critical_path) paths = CriticalPaths{critical_path_of(a), critical_path_of(b)};
  if (options.json) {
    nlohmann::ordered_json json = comparison_json(a, b, comparison, by, verdicts);
    if (paths)
      json["critical_path"] = {{"a", critical_path_json(paths->a, a.trace)},
                               {"b", critical_path_json(paths->b, b.trace)}};
    out << as_text(json) << "\n";
  } else if (options.brief) {
    out << comparison_brief(a, comparison);
  } else {
    out << comparison_text(a, b, comparison);
    if (paths) out << critical_paths_text(paths->a, a.trace, paths->b, b.trace);
  }
  require_passed(verdicts);
}

}  // namespace foretoken::cli
