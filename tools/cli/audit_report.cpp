#include "tools/cli/audit_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "tools/cli/numbers.hpp"
#include "tools/cli/report_json.hpp"
#include "tools/cli/version.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::ordered_json;
using explain::ModelErrors;
using planning::AuditResult;
using planning::Judged;
using planning::OptionResult;
using planning::Pair;
using planning::Sample;
using planning::SettlementResult;
using planning::StatementKind;
using planning::StatementResult;
using planning::Swept;
using planning::Tally;
using planning::Verdict;

constexpr std::size_t kAgreeingShown = 12;
constexpr std::size_t kReasonsShown = 3;

double milliseconds(const Sample& sample) { return sample.metrics.tpot.mean.value() * 1e3; }
double interval_of(const Sample& sample, const ModelErrors& errors) {
  return explain::relative_error(sample.path_shares, errors);
}

std::string shared_label(const AuditResult& result, std::size_t settlement) {
  return result.settlements[settlement].label(result.shared);
}
std::string own_label(const Swept& swept, std::size_t own) { return swept.own[own].label(swept.choices); }

// ---- JSON ----------------------------------------------------------------------------------------------------------

// JSON has no infinity: an interval without an upper end.

Json bounds_json(const explain::Span& span) {
  return {{"low", number_json(span.low)}, {"high", number_json(span.high)}};
}

Json judged_json(const Judged& judged) {
  return {{"value", judged.value}, {"low", number_json(judged.span.low)}, {"high", number_json(judged.span.high)}};
}

Json prediction_json(const Sample& sample, const ModelErrors& errors) {
  const double h = interval_of(sample, errors);
  return {{"tps", sample.metrics.tps},
          {"tpot_ms", milliseconds(sample)},
          {"tpot_ms_interval", bounds_json(explain::span_of(milliseconds(sample), h))},
          {"relative_error", h}};
}

Json deployment_json(const Swept& swept, const AuditResult& result, const ModelErrors& errors) {
  Json published{{"source", swept.published.source}};
  if (swept.published.tps) published["tps"] = *swept.published.tps;
  if (swept.published.tpot) published["tpot_ms"] = swept.published.tpot->value() * 1e3;
  Json outcomes = Json::array();
  for (std::size_t s = 0; s < result.settlements.size(); ++s)
    for (std::size_t o = 0; o < swept.own.size(); ++o) {
      const planning::Outcome& outcome = swept.at(s, o);
      Json row{{"settlement", shared_label(result, s)}, {"own", own_label(swept, o)}};
      if (outcome.ran()) {
        row.update(prediction_json(outcome.sample, errors));
        row["agrees"] = planning::agrees(outcome.sample, swept.published, errors);
      } else {
        row["error"] = outcome.error;
      }
      outcomes.push_back(std::move(row));
    }
  return {{"scenario", swept.name}, {"published", std::move(published)}, {"outcomes", std::move(outcomes)}};
}

Json tally_json(const Tally& tally) {
  Json json{{"count", tally.count}, {"holds", tally.holds}, {"within", tally.within}, {"fails", tally.fails}};
  if (tally.count > 0) json.update({{"least", tally.least}, {"median", tally.median}, {"most", tally.most}});
  return json;
}

Json statement_json(const StatementResult& row) {
  Json json{{"kind", name_of(row.statement.kind)},
            {"says", row.statement.says},
            {"at_least", row.statement.at_least},
            {"why", row.statement.why},
            {"verdict", name_of(row.verdict)}};
  if (row.published) json["of_published_figures"] = *row.published;
  json["all"] = tally_json(row.all);
  json["agreeing"] = tally_json(row.agreeing);
  json["best_run"] = tally_json(row.best_run);
  return json;
}

Json settlement_json(const SettlementResult& row, const AuditResult& result) {
  Json json{{"settlement", shared_label(result, row.settlement)}, {"agreeing", row.agreeing}};
  const auto add = [&](const char* name, const Swept& swept, const std::optional<std::size_t>& own) {
    if (own)
      json[name] = {{"own", own_label(swept, *own)}, {"tpot_ms", milliseconds(swept.at(row.settlement, *own).sample)}};
  };
  add("baseline_best", result.baseline, row.baseline_best);
  add("baseline_slowest", result.baseline, row.baseline_slowest);
  add("method_best", result.method, row.method_best);
  add("method_slowest", result.method, row.method_slowest);
  if (row.agreeing > 0) json["speed_up_agreeing"] = {{"least", row.agreeing_least}, {"most", row.agreeing_most}};
  if (row.best_run) json["speed_up_best_run"] = judged_json(*row.best_run);
  return json;
}

Json pair_json(const Pair& pair, const AuditResult& result) {
  const Sample& baseline = result.baseline.at(pair.settlement, pair.baseline).sample;
  const Sample& method = result.method.at(pair.settlement, pair.method).sample;
  return {{"settlement", shared_label(result, pair.settlement)},
          {"baseline", own_label(result.baseline, pair.baseline)},
          {"method", own_label(result.method, pair.method)},
          {"baseline_tpot_ms", milliseconds(baseline)},
          {"method_tpot_ms", milliseconds(method)},
          {"speed_up", method.metrics.tps / baseline.metrics.tps}};
}

// ---- text ----------------------------------------------------------------------------------------------------------

std::string published_text(const Swept& swept, const ModelErrors& errors, const AuditResult& result) {
  double least = 1e9, most = 0;
  for (const planning::Outcome& outcome : swept.outcomes) {
    if (!outcome.ran()) continue;
    least = std::min(least, interval_of(outcome.sample, errors));
    most = std::max(most, interval_of(outcome.sample, errors));
  }
  std::size_t agreeing = 0;
  for (const planning::Outcome& outcome : swept.outcomes)
    agreeing += outcome.ran() && planning::agrees(outcome.sample, swept.published, errors) ? 1 : 0;
  std::string text = fmt::format("  {:<26}", swept.name);
  text += fmt::format("{:>10} {:>9}", swept.published.tps ? grouped(*swept.published.tps) : "-",
                      swept.published.tpot ? fmt::format("{:.3f}", swept.published.tpot->value() * 1e3) : "-");
  return text + fmt::format("{:>12} of {:<6} within {:.0f} to {:.0f} %\n", agreeing,
                            result.settlements.size() * swept.own.size(), 100 * least, 100 * most);
}

/// Why combinations do not run: the commonest reasons. A mistake in an option must not look like a finding.
std::string impossible_text(const AuditResult& result) {
  std::map<std::string, std::int64_t> reasons;
  for (const Swept* swept : {&result.baseline, &result.method})
    for (const planning::Outcome& outcome : swept->outcomes)
      if (!outcome.ran()) ++reasons[fmt::format("{}: {}", swept->name, outcome.error)];
  std::vector<std::pair<std::string, std::int64_t>> sorted(reasons.begin(), reasons.end());
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& x, const auto& y) { return x.second > y.second; });
  std::string text;
  for (std::size_t r = 0; r < std::min(sorted.size(), kReasonsShown); ++r)
    text += fmt::format("  {} times {}\n", sorted[r].second, sorted[r].first);
  if (sorted.size() > kReasonsShown) text += fmt::format("  and {} other reasons\n", sorted.size() - kReasonsShown);
  return text.empty() ? text : text + "\n";
}

std::string agreeing_text(const AuditResult& result) {
  std::string text =
      fmt::format("\nAgreeing combinations, nearest first{}\n  {:>9} {:>9} {:>8}\n",
                  result.agreeing.size() > kAgreeingShown
                      ? fmt::format(" ({} of {}; --json has all)", kAgreeingShown, result.agreeing.size())
                      : "",
                  "TPOT, ms", "", "speed-up");
  for (std::size_t i = 0; i < std::min(result.agreeing.size(), kAgreeingShown); ++i) {
    const Pair& pair = result.agreeing[i];
    const Sample& baseline = result.baseline.at(pair.settlement, pair.baseline).sample;
    const Sample& method = result.method.at(pair.settlement, pair.method).sample;
    text += fmt::format("  {:>9.3f} {:>9.3f} {:>8.2f}  {}; {}; {}\n", milliseconds(baseline), milliseconds(method),
                        method.metrics.tps / baseline.metrics.tps, shared_label(result, pair.settlement),
                        own_label(result.baseline, pair.baseline), own_label(result.method, pair.method));
  }
  return text;
}

std::string options_text(const AuditResult& result) {
  std::string text = fmt::format(
      "\nSpeed-up (ratio of TPS) by choice, over all combinations with it\n  {:<58}{:>7}{:>8}{:>8}{:>7} to {}\n", "",
      "all", "agree", "median", "least", "most");
  for (const OptionResult& row : result.by_option)
    text +=
        fmt::format("  {:<58}{:>7}{:>8}{:>8.2f}{:>7.2f} to {:.2f}\n", fmt::format("{} = {}", row.choice, row.option),
                    row.combinations, row.agreeing, row.median, row.least, row.most);
  return text;
}

std::string settlements_text(const AuditResult& result) {
  std::string text = fmt::format(
      "\nBy settlement of what both share: TPOT in ms, best to slowest run; speed-up of those that agree, and with "
      "both "
      "at their best\n  {:<46}{:>16}{:>16}{:>7}{:>14}{:>20}\n",
      "", "baseline", "method", "agree", "speed-up", "best against best");
  for (const SettlementResult& row : result.by_settlement) {
    const auto range = [&](const Swept& swept, const auto& best, const auto& slowest) {
      if (!best || !slowest) return std::string("-");
      return fmt::format("{:.2f} to {:.2f}", milliseconds(swept.at(row.settlement, *best).sample),
                         milliseconds(swept.at(row.settlement, *slowest).sample));
    };
    text += fmt::format("  {:<46}{:>16}{:>16}{:>7}{:>14}{:>20}\n", shared_label(result, row.settlement),
                        range(result.baseline, row.baseline_best, row.baseline_slowest),
                        range(result.method, row.method_best, row.method_slowest), row.agreeing,
                        row.agreeing > 0 ? fmt::format("{:.2f} to {:.2f}", row.agreeing_least, row.agreeing_most) : "-",
                        row.best_run ? fmt::format("{:.2f} ({:.2f} to {:.2f})", row.best_run->value,
                                                   row.best_run->span.low, row.best_run->span.high)
                                     : "-");
  }
  return text;
}

const char* figure_name(StatementKind kind) {
  switch (kind) {
    case StatementKind::tps_ratio: return "ratio of TPS";
    case StatementKind::tpot_ratio: return "ratio of TPOT";
    case StatementKind::per_gpu: return "TPS per GPU, method / baseline";
    case StatementKind::scaling: return "throughput gained / GPUs added";
    case StatementKind::hidden: return "hidden share of communication";
  }
  return "";
}

const char* verdict_text(Verdict verdict) {
  switch (verdict) {
    case Verdict::contradicted: return "contradicted by the published figures themselves";
    case Verdict::open: return "cannot be said: no combination agrees with both rows";
    case Verdict::fails: return "does not hold under any combination that agrees with both rows";
    case Verdict::as_run: return "possible only against the baseline as it was run; does not hold against its best run";
    case Verdict::holds: return "holds under every combination that agrees with both rows";
    case Verdict::ambiguous: return "depends on what is left open, or lies within the interval";
  }
  return "";
}

std::string tally_text(const char* of, const Tally& tally, double at_least) {
  if (tally.count == 0) return "";
  return fmt::format("    {:<34}{:.2f} (from {:.2f} to {:.2f}); at least {:g} in {} of {}, within the interval in {}\n",
                     of, tally.median, tally.least, tally.most, at_least, tally.holds, tally.count, tally.within);
}

std::string statements_text(const AuditResult& result) {
  std::string text = "\nStatements\n";
  for (const StatementResult& row : result.statements) {
    const double at_least = row.statement.at_least;
    text += fmt::format("  \"{}\": {}\n    {} of at least {:g}: {}\n", row.statement.says, verdict_text(row.verdict),
                        figure_name(row.statement.kind), at_least, row.statement.why);
    if (row.published) text += fmt::format("    {:<34}{:.3f}\n", "from the published rows", *row.published);
    text += tally_text("agreeing combinations, median", row.agreeing, at_least);
    text += tally_text("best run of both, median", row.best_run, at_least);
    text += tally_text("all combinations, median", row.all, at_least);
  }
  return text;
}

}  // namespace

Json audit_json(const planning::AuditSpec& spec, const AuditResult& result, const ModelErrors& errors) {
  Json json{{"schema_version", 1},
            {"kind", "audit-report"},
            {"foretoken", {{"version", std::string(version())}, {"commit", std::string(commit())}}},
            {"audit", spec.name},
            {"set", spec.set},
            {"combinations", result.combinations},
            {"impossible", result.impossible},
            {"agreeing_combinations", result.agreeing.size()}};
  Json statements = Json::array(), settlements = Json::array(), options = Json::array(), agreeing = Json::array();
  for (const StatementResult& row : result.statements) statements.push_back(statement_json(row));
  for (const SettlementResult& row : result.by_settlement) settlements.push_back(settlement_json(row, result));
  for (const OptionResult& row : result.by_option)
    options.push_back({{"choice", row.choice},
                       {"option", row.option},
                       {"combinations", row.combinations},
                       {"agreeing", row.agreeing},
                       {"speed_up", {{"least", row.least}, {"median", row.median}, {"most", row.most}}}});
  for (const Pair& pair : result.agreeing) agreeing.push_back(pair_json(pair, result));
  Json known = Json::array();
  for (const explain::ModelError& row : errors.rows())
    known.push_back({{"ops", row.ops}, {"p90", row.p90}, {"assumed", row.assumed}, {"source", row.source}});
  json["statements"] = std::move(statements);
  json["settlements"] = std::move(settlements);
  json["options"] = std::move(options);
  json["agreeing"] = std::move(agreeing);
  json["baseline"] = deployment_json(result.baseline, result, errors);
  json["method"] = deployment_json(result.method, result, errors);
  json["errors"] = std::move(known);
  return json;
}

std::string audit_text(const planning::AuditSpec& spec, const AuditResult& result, const ModelErrors& errors) {
  std::string text = fmt::format(
      "{}: {} combinations of what is left open{}\n\n", spec.name, grouped(static_cast<double>(result.combinations)),
      result.impossible > 0 ? fmt::format(", {} of which do not run", result.impossible) : "");
  text += impossible_text(result);
  text += fmt::format("  {:<26}{:>10} {:>9}{:>22}\n", "published", "TPS", "TPOT, ms", "agree, of all");
  text += published_text(result.baseline, errors, result) + published_text(result.method, errors, result);
  text += fmt::format(
      "  {} of {} combinations agree with both rows. A figure agrees if what rounds to it is in the 90 % interval of "
      "the\n"
      "  prediction: what is on the critical path, op by op, as uncertain as such ops are on measurements that no fit "
      "saw\n",
      result.agreeing.size(), result.combinations);
  if (!result.agreeing.empty()) text += agreeing_text(result);
  return text + settlements_text(result) + options_text(result) + statements_text(result);
}

}  // namespace foretoken::cli
