// foretoken compare: two stored results of one plan, or one beside what was published for it.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>

#include "core/error.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/comparison_report.hpp"
#include "tools/cli/explanation_report.hpp"
#include "tools/explain/compare.hpp"
#include "tools/explain/critical_path.hpp"
#include "tools/explain/gate.hpp"
#include "tools/explain/stored_result.hpp"
#include "tools/explain/stored_trace.hpp"

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

}  // namespace

void run_compare(const CompareOptions& options, std::ostream& out) {
  const std::vector<explain::Gate> gates = gates_of(options);
  const JsonDocument first = JsonDocument::from_file(options.a);
  if (options.b.empty()) {
    if (options.cpu || options.by_layer || options.brief || options.critical_path)
      throw input_error(options.cpu             ? "--clock cpu"
                        : options.by_layer      ? "--by layer"
                        : options.critical_path ? "--critical-path"
                                                : "--brief",
                        "", "published figures have no trace", "give a second result: foretoken compare A B");
    const explain::StoredHeadline a = explain::read_headline(first);
    const auto figures = explain::compare_with_published(a);
    const auto verdicts = explain::check_gates(gates, figures);
    if (options.json) out << as_text(published_json(a, figures, verdicts)) << "\n";
    else out << published_text(a, figures);
    return require_passed(verdicts);
  }
  const explain::StoredResult a = explain::read_result(first);
  const explain::StoredResult b = explain::read_result(JsonDocument::from_file(options.b));
  const explain::GroupBy by = options.by_layer ? explain::GroupBy::layer : explain::GroupBy::kind;
  const explain::Comparison comparison = explain::compare(a, b, explain::CompareOptions{by, options.cpu});
  const auto verdicts = explain::check_gates(gates, comparison.figures);
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
