// foretoken compare: two stored results of one plan, or one beside what was published for it.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <ostream>

#include "core/error.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/comparison_report.hpp"
#include "tools/explain/compare.hpp"
#include "tools/explain/gate.hpp"
#include "tools/explain/stored_result.hpp"

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

}  // namespace

void run_compare(const CompareOptions& options, std::ostream& out) {
  const std::vector<explain::Gate> gates = gates_of(options);
  const JsonDocument first = JsonDocument::from_file(options.a);
  if (options.b.empty()) {
    if (options.cpu || options.by_layer || options.brief)
      throw input_error(options.cpu        ? "--clock cpu"
                        : options.by_layer ? "--by layer"
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
  if (options.json) out << as_text(comparison_json(a, b, comparison, by, verdicts)) << "\n";
  else if (options.brief) out << comparison_brief(a, comparison);
  else out << comparison_text(a, b, comparison);
  require_passed(verdicts);
}

}  // namespace foretoken::cli
