#include "tools/explain/compare.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>

#include "core/error.hpp"
#include "tools/explain/stored_trace.hpp"

namespace foretoken::explain {
namespace {

constexpr std::size_t kDifferencesMax = 8;
constexpr std::size_t kShownBytesMax = 60;

std::string shown(const nlohmann::json* value) {
  if (value == nullptr) return "nothing";
  std::string text =
      value->dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);  // ASCII, so that any cut is UTF-8
  if (text.size() > kShownBytesMax) text = text.substr(0, kShownBytesMax - 3) + "...";
  return text;
}

/// Lines "pointer: a in A, b in B" for leaves that differ, in order of their pointers.
void list_differences(const nlohmann::json* a, const nlohmann::json* b, const nlohmann::json::json_pointer& at,
                      std::vector<std::string>& lines) {
  if (a != nullptr && b != nullptr && *a == *b) return;
  if (a != nullptr && b != nullptr && a->is_object() && b->is_object()) {
    std::set<std::string> keys;
    for (const nlohmann::json* side : {a, b})
      for (const auto& item : side->items()) keys.insert(item.key());
    for (const std::string& key : keys)
      list_differences(a->contains(key) ? &(*a)[key] : nullptr, b->contains(key) ? &(*b)[key] : nullptr, at / key,
                       lines);
    return;
  }
  if (a != nullptr && b != nullptr && a->is_array() && b->is_array() && a->size() == b->size()) {
    for (std::size_t i = 0; i < a->size(); ++i) list_differences(&(*a)[i], &(*b)[i], at / i, lines);
    return;
  }
  lines.push_back(fmt::format("{}: {} in A, {} in B", at.to_string(), shown(a), shown(b)));
}

/// What decides about the plans and is not the same; more than the first few are counted in the last line.
std::vector<std::string> plan_differences(const StoredResult& a, const StoredResult& b) {
  nlohmann::json of_a = a.scenario_document, of_b = b.scenario_document;
  for (const char* said : {"$schema", "about", "name", "published", "open_choices"}) {  // decide nothing about a plan
    of_a.erase(said);
    of_b.erase(said);
  }
  std::vector<std::string> differences;
  list_differences(&of_a, &of_b, nlohmann::json::json_pointer(), differences);
  if (differences.size() > kDifferencesMax) {
    const std::size_t more = differences.size() - kDifferencesMax;
    differences.resize(kDifferencesMax);
    differences.push_back(fmt::format("and {} more", more));
  }
  return differences;
}

/// Whether nothing but the scenarios may have made two results differ, as far as they say: both are predictions, by one
/// program and calibration. What follows from a scenario's line may differ with it.
bool all_else_equal(const StoredResult& a, const StoredResult& b, const std::string& difference) {
  const auto within = [&](const char* pointer) { return difference.starts_with(pointer); };
  return a.clock == "simulated" && b.clock == "simulated" && a.build == b.build && a.calibration == b.calibration &&
         a.communicator == b.communicator && (a.topology == b.topology || within("/cluster/")) &&
         (a.conditions == b.conditions || within("/faults") || within("/execution")) &&
         (a.seed == b.seed || within("/routing/"));
}

void require_same_plan(const StoredResult& a, const StoredResult& b) {
  if (a.plan_hash == b.plan_hash) return;
  std::string found =
      fmt::format("{} and {} are of different plans:\n  A  plan {}  scenario {}  {}\n  B  plan {}  scenario {}  {}\n",
                  a.file, b.file, a.plan_hash, a.scenario, a.file, b.plan_hash, b.scenario, b.file);
  const std::vector<std::string> differences = plan_differences(a, b);
  if (differences.empty())
    found += fmt::format("Their scenarios are the same, so what planned them differs: foretoken {} and {}, {} and {}\n",
                         a.build, b.build, a.topology, b.topology);
  else found += "Their scenarios differ:\n";
  for (const std::string& difference : differences) found += fmt::format("  {}\n", difference);
  throw Error(ErrorCode::invalid_input,
              found +
                  "Only results of one plan did the same work: make both from one scenario file, with the same "
                  "--set; or ask with --across why one deployment is faster than the other");
}

void require_cpu(const StoredResult& result) {
  if (result.trace.cpu.empty())
    throw input_error(result.file, "/trace/events", "there is no CPU time (the column \"cpu\")",
                      "compare results that have it: of `foretoken run`, or simulated on a host topology");
  if (!has_all_ranks(result.trace))
    throw input_error(result.file, "/trace/ranks",
                      fmt::format("the trace has the CPU time of some of {} ranks alone", result.trace.ranks),
                      "compare CPU time of results with at most 64 ranks, whose traces are whole");
}

Side side_of(const StoredResult& result) {
  return {result.tpot.mean, result.step.mean, result.overhead, &result.trace};
}

}  // namespace

const Figure* find_figure(const std::vector<Figure>& figures, std::string_view name) {
  const auto found =
      std::find_if(figures.begin(), figures.end(), [&](const Figure& figure) { return figure.name == name; });
  return found == figures.end() ? nullptr : &*found;
}

Comparison compare(const StoredResult& a, const StoredResult& b, const CompareOptions& options) {
  if (!options.across) require_same_plan(a, b);
  if (options.cpu) {
    require_cpu(a);
    require_cpu(b);
  }
  Comparison comparison;
  const auto add = [&](std::string_view name, Seconds of_a, Seconds of_b) {
    comparison.figures.push_back({name, milliseconds(of_a), milliseconds(of_b)});
  };
  comparison.figures.push_back({"tps", a.tps, b.tps});
  add("tpot_mean_ms", a.tpot.mean, b.tpot.mean);
  add("tpot_p50_ms", a.tpot.p50, b.tpot.p50);
  add("tpot_p95_ms", a.tpot.p95, b.tpot.p95);
  add("tpot_p99_ms", a.tpot.p99, b.tpot.p99);
  add("step_mean_ms", a.step.mean, b.step.mean);
  if (a.cpu_step && b.cpu_step) add("cpu_step_ms", *a.cpu_step, *b.cpu_step);
  comparison.tpot = explain_tpot(side_of(a), side_of(b), options.by);
  comparison.findings =
      diagnose(a.trace, b.trace,
               options.by == GroupBy::kind ? comparison.tpot : explain_tpot(side_of(a), side_of(b), GroupBy::kind));
  comparison.configuration = plan_differences(a, b);
  if (comparison.configuration.size() == 1 && all_else_equal(a, b, comparison.configuration.front()))
    comparison.only_difference = comparison.configuration.front();
  if (options.cpu)
    comparison.cpu = explain_cpu(CpuSide{a.cpu_step, &a.trace}, CpuSide{b.cpu_step, &b.trace}, options.by);
  return comparison;
}

std::vector<Figure> compare_with_published(const StoredHeadline& result) {
  std::vector<Figure> figures;
  if (result.published) {
    if (result.published->tps) figures.push_back({"tps", result.tps, *result.published->tps});
    if (result.published->tpot)
      figures.push_back({"tpot_mean_ms", milliseconds(result.tpot.mean), milliseconds(*result.published->tpot)});
  }
  if (figures.empty())
    throw input_error(result.file, "/published", "nothing was published for this scenario to compare with",
                      "give a second result, foretoken compare A B, or simulate a scenario that has `published`");
  return figures;
}

}  // namespace foretoken::explain
