#include "tools/cli/comparison_report.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "tools/cli/findings_report.hpp"
#include "tools/cli/numbers.hpp"
#include "tools/cli/report_json.hpp"
#include "tools/cli/version.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::ordered_json;
using explain::Cause;
using explain::Figure;
using explain::Part;
using explain::StoredHeadline;
using explain::StoredResult;
using explain::Waterfall;

constexpr std::size_t kErrorPartsMax = 3;
constexpr std::size_t kRowsMax = 16;  // of a waterfall; what is smaller stands in one line

// ---- JSON ----------------------------------------------------------------------------------------------------------

Json headline_json(const StoredHeadline& side) {
  return {{"file", side.file},
          {"foretoken", side.build},
          {"scenario", side.scenario},
          {"clock", side.clock},
          {"topology", side.topology},
          {"calibration", side.calibration},
          {"communicator", side.communicator},
          {"conditions", side.conditions},
          {"seed", side.seed}};
}

Json side_json(const StoredResult& side) {
  Json json = headline_json(side);
  json["warmup_steps"] = side.trace.warmup_steps;
  json["steps"] = side.trace.steps;
  json["ranks"] = side.trace.ranks;
  json["slowest_rank"] = side.slowest_rank;
  return json;
}

// No upper end: null.
Json figures_json(const std::vector<Figure>& figures) {
  Json json = Json::object();
  for (const Figure& figure : figures) {
    Json& entry = json[std::string(figure.name)] = {{"a", figure.a}, {"b", figure.b}, {"error", figure.error()}};
    if (!figure.judged) continue;
    entry["interval"] = span_json(figure.judged->a);
    if (figure.judged->b.low < figure.judged->b.high) entry["interval_b"] = span_json(figure.judged->b);
    entry["verdict"] = name_of(figure.judged->verdict);
  }
  return json;
}

Json intervals_json(const Intervals& intervals) {
  if (!intervals.uncertainty) return {{"why_not", intervals.why_not}};
  Json parts = Json::array();
  for (const explain::ErrorPart& part : intervals.uncertainty->parts) {
    const explain::ModelError& row = intervals.errors->rows()[part.row];
    parts.push_back({{"of", name_of(row)}, {"error", part.error}, {"assumed", row.assumed}});
  }
  return {{"confidence", 0.9},
          {"errors", intervals.file},
          {"of", intervals.uncertainty->of_ratio ? "ratio" : "a"},
          {"tpot_relative", intervals.uncertainty->relative},
          {"parts", std::move(parts)}};
}

Json gates_json(const std::vector<explain::GateVerdict>& gates) {
  Json json = Json::array();
  for (const explain::GateVerdict& verdict : gates)
    json.push_back({{"condition", verdict.gate.condition},
                    {"figure", verdict.gate.figure},
                    {"threshold", verdict.gate.threshold},
                    {"error", verdict.error},
                    {"failed", verdict.failed}});
  return json;
}

Json waterfall_json(const Waterfall& waterfall) {
  Json parts = Json::array();
  for (const Part& part : waterfall.parts)
    parts.push_back({{"cause", name_of(part.cause)},
                     {"of", part.of},
                     {"a_ps", part.a.value()},
                     {"b_ps", part.b.value()},
                     {"difference_ps", part.difference().value()},
                     {"difference_ms", milliseconds(waterfall.per_step(part.difference()))}});
  return {{"steps", waterfall.steps},
          {"a_ps", waterfall.a.value()},
          {"b_ps", waterfall.b.value()},
          {"difference_ps", waterfall.difference().value()},
          {"difference_ms", milliseconds(waterfall.per_step(waterfall.difference()))},
          {"longer_ps", waterfall.longer().value()},
          {"shorter_ps", waterfall.shorter().value()},
          {"errors_cancel", waterfall.errors_cancel()},
          {"parts", std::move(parts)}};
}

Json head_json() {
  return {{"schema_version", 1}, {"kind", "comparison"}, {"foretoken", {{"version", version()}, {"commit", commit()}}}};
}

// ---- text ----------------------------------------------------------------------------------------------------------

/// "+1.2 %"; what rounds to nothing has no sign.
std::string percent_text(double share) {
  return std::abs(share) < 0.0005 ? "0.0 %" : fmt::format("{:+.1f} %", 100 * share);
}

struct FigureRow {
  std::string_view name;
  const char* label;
  const char* unit;
};

constexpr std::array<FigureRow, 7> kFigureRows{{{"tps", "TPS", "tokens/s"},
                                                {"tpot_mean_ms", "TPOT mean", "ms"},
                                                {"tpot_p50_ms", "TPOT p50", "ms"},
                                                {"tpot_p95_ms", "TPOT p95", "ms"},
                                                {"tpot_p99_ms", "TPOT p99", "ms"},
                                                {"step_mean_ms", "step mean", "ms"},
                                                {"cpu_step_ms", "CPU per step", "ms"}}};

std::string figure_text(double value, bool whole, int decimals) {
  return whole && value >= 100 ? grouped(value) : fmt::format("{:.{}f}", value, decimals);
}

std::string span_text(const explain::Span& span, bool whole, int decimals) {
  const std::string low = figure_text(span.low, whole, decimals);
  return std::isfinite(span.high) ? low + " to " + figure_text(span.high, whole, decimals) : low + " or more";
}

std::string figures_text(const std::vector<Figure>& figures, const char* b_name, const char* ratio = "error of A") {
  const bool judged =
      std::any_of(figures.begin(), figures.end(), [](const Figure& figure) { return figure.judged.has_value(); });
  std::string text = fmt::format("  {:<14}{:>16}{:>16}{:>12}", "", "A", b_name, ratio);
  text += judged ? fmt::format("  {:<10}{:<26}{} is\n", "", "90 % interval of A", b_name) : "\n";
  for (const FigureRow& row : kFigureRows) {
    const Figure* figure = find_figure(figures, row.name);
    if (figure == nullptr) continue;
    const bool whole = row.name == "tps";
    const int decimals = decimals_for(std::max(figure->a, figure->b));
    text += fmt::format("  {:<14}{:>16}{:>16}{:>12}  ", row.label, figure_text(figure->a, whole, decimals),
                        figure_text(figure->b, whole, decimals), percent_text(figure->error()));
    text += figure->judged ? fmt::format("{:<10}{:<26}{}\n", row.unit, span_text(figure->judged->a, whole, decimals),
                                         name_of(figure->judged->verdict))
                           : fmt::format("{}\n", row.unit);
  }
  return text;
}

std::string intervals_text(const std::vector<Figure>& figures, const Intervals& intervals) {
  if (!intervals.uncertainty) return fmt::format("  No 90 % interval: {}.\n", intervals.why_not);
  std::string text = fmt::format(
      "  90 %: if {} ops are off as such ops were on measurements that no fit saw\n  ({}), TPOT {} off by {:.1f} %",
      intervals.uncertainty->of_ratio ? "the" : "A's", intervals.file,
      intervals.uncertainty->of_ratio ? "of A against B's is" : "is", 100 * intervals.uncertainty->relative);
  const auto& parts = intervals.uncertainty->parts;
  for (std::size_t p = 0; p < std::min(parts.size(), kErrorPartsMax); ++p)
    text += fmt::format("{} {} {:.1f} %", p == 0 ? ":" : ",", name_of(intervals.errors->rows()[parts[p].row]),
                        100 * parts[p].error);
  text += parts.size() > kErrorPartsMax ? fmt::format(", and {} smaller\n", parts.size() - kErrorPartsMax) : "\n";
  if (intervals.uncertainty->of_ratio)
    text +=
        "  Both are predictions: what they rest on alike cancels; outside says that the model's errors do not "
        "explain the difference.\n";
  if (std::any_of(figures.begin(), figures.end(), [](const Figure& figure) {
        return figure.judged && figure.judged->verdict == explain::FigureVerdict::ambiguous;
      }))
    text += "  Ambiguous: B's steps vary too much, or are too few, to tell inside from outside.\n";
  return text;
}

std::string direction(double error) {
  const double percent = std::abs(100 * error);
  if (percent < 0.05) return "right to 0.1 %";
  return fmt::format("{:.1f} % too {}", percent, error > 0 ? "high" : "low");
}

std::string verdict_text(const std::vector<Figure>& figures, const char* other, const char* if_right) {
  const Figure* tps = find_figure(figures, "tps");
  const Figure* tpot = find_figure(figures, "tpot_mean_ms");
  std::string text = fmt::format("  An error is A / {} - 1. If {} right,", other, if_right);
  if (tps != nullptr) text += fmt::format(" A's TPS is {}", direction(tps->error()));
  if (tpot != nullptr)
    text += fmt::format("{} TPOT {}{}", tps != nullptr ? " and its" : " A's", tps != nullptr ? "" : "is ",
                        direction(tpot->error()));
  return text + ".\n";
}

std::string configuration_text(const StoredResult& a, const StoredResult& b,
                               const std::vector<std::string>& differences) {
  std::string text = a.plan_hash == b.plan_hash
                         ? fmt::format("{}: two results of plan {}\n", a.scenario, a.plan_hash)
                         : fmt::format("{} and {}: results of two plans\n", a.scenario, b.scenario);
  const auto row = [&](const char* label, const std::string& of_a, const std::string& of_b) {
    if (of_a.empty() && of_b.empty()) return;
    const auto shown = [](const std::string& value) { return value.empty() ? std::string("-") : value; };
    text += of_a == of_b ? fmt::format("  {:<14}{}\n", label, of_a)
                         : fmt::format("  {:<14}{:<34}  {}\n", label, shown(of_a), shown(of_b));
  };
  row("", "A", "B");
  row("file", a.file, b.file);
  row("scenario", a.scenario == b.scenario ? "" : a.scenario, a.scenario == b.scenario ? "" : b.scenario);
  row("clock", a.clock, b.clock);
  row("topology", a.topology, b.topology);
  row("calibration", a.calibration, b.calibration);
  row("messages by", a.communicator, b.communicator);
  row("conditions", a.conditions, b.conditions);
  row("seed", std::to_string(a.seed), std::to_string(b.seed));
  row("steps", std::to_string(a.trace.steps), std::to_string(b.trace.steps));
  row("ranks", std::to_string(a.trace.ranks), std::to_string(b.trace.ranks));
  row("slowest rank", std::to_string(a.slowest_rank), std::to_string(b.slowest_rank));
  if (!differences.empty()) text += "  They were not asked for the same:\n";
  for (const std::string& difference : differences) text += fmt::format("    {}\n", difference);
  return text + "\n";
}

struct WaterfallTitle {
  const char* head;   // what the parts are
  const char* whole;  // what they add up to
  const char* of;     // what shares are of
};

/// A waterfall as a table: parts that show, the rest in one line, the sum.
class WaterfallTable {
 public:
  WaterfallTable(const Waterfall& waterfall, const WaterfallTitle& title)
      : waterfall_(waterfall), decimals_(decimals_for(std::max(ms(waterfall.a), ms(waterfall.b)))) {
    text_ = fmt::format("\n  {}\n    {:<16}{:<20}{:>12}{:>12}{:>12}{:>14}\n", title.head, "", "", "A, ms", "B, ms",
                        "A - B, ms", title.of);
    Part rest;
    std::size_t others = 0;
    for (const Part& part : waterfall.parts) {
      if (part.a == SimTime(0) && part.b == SimTime(0)) continue;
      if (shown_.size() < kRowsMax && std::abs(ms(part.difference())) >= 0.5 * std::pow(10.0, -decimals_)) {
        line(name_of(part.cause), part.of, part.a, part.b);
        shown_.push_back(part.cause);
        continue;
      }
      ++others;
      rest.a += part.a;
      rest.b += part.b;
    }
    if (others > 0) line(shown_.empty() ? "all" : "others", fmt::format("{} equal or small", others), rest.a, rest.b);
    line("sum", title.whole, waterfall.a, waterfall.b);
  }

  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] bool shows(Cause cause) const { return std::find(shown_.begin(), shown_.end(), cause) != shown_.end(); }

 private:
  [[nodiscard]] double ms(SimTime time) const { return milliseconds(waterfall_.per_step(time)); }
  void line(std::string_view cause, std::string_view of, SimTime a, SimTime b) {
    const double difference = ms(a - b);
    const bool zero = std::abs(difference) < 0.5 * std::pow(10.0, -decimals_);
    text_ += fmt::format("    {:<16}{:<20}{:>12.{}f}{:>12.{}f}{:>12}{:>14}\n", cause, of, ms(a), decimals_, ms(b),
                         decimals_, zero ? "0" : fmt::format("{:+.{}f}", difference, decimals_),
                         percent_text(difference / ms(waterfall_.b)));
  }

  const Waterfall& waterfall_;
  int decimals_;
  std::string text_;
  std::vector<Cause> shown_;
};

std::string subject(const Part& part) {
  switch (part.cause) {
    case Cause::compute: return fmt::format("compute of {}", part.of);
    case Cause::exposed: return fmt::format("communication of {} that no compute hides", part.of);
    case Cause::waiting: return fmt::format("waiting for peers in {}", part.of);
    case Cause::idle: return "idle time";
    case Cause::instrumentation: return "the headline run against the second run, which timed the ops";
    case Cause::edges: return "what TPOT has beside the slowest rank's steps";
    case Cause::cpu: return fmt::format("CPU time of {}", part.of);
    case Cause::untraced: return "CPU time outside the trace";
  }
  return "";
}

std::string cause_text(const Waterfall& waterfall, const char* of) {
  const auto ms = [&](SimTime time) { return milliseconds(waterfall.per_step(time)); };
  const double whole_b = ms(waterfall.b);
  const Part& largest = waterfall.parts.front();
  if (largest.difference() == SimTime(0)) return "  A and B are equal in every part.\n";
  std::string text = fmt::format("  Largest cause: {}, {:.{}f} ms {} in A than in B ({} {}).\n", subject(largest),
                                 std::abs(ms(largest.difference())), decimals_for(std::max(ms(waterfall.a), whole_b)),
                                 largest.difference() > SimTime(0) ? "more" : "less",
                                 percent_text(ms(largest.difference()) / whole_b), of);
  if (waterfall.errors_cancel())
    text +=
        fmt::format("  Errors cancel: parts add up to {} and {}; their sum says less about A than they do.\n",
                    percent_text(ms(waterfall.longer()) / whole_b), percent_text(ms(waterfall.shorter()) / whole_b));
  return text;
}

std::string legend_text(const WaterfallTable& table) {
  constexpr std::array<std::pair<Cause, const char*>, 6> meanings{
      {{Cause::compute, "an op computes"},
       {Cause::exposed, "communication is under way and nothing computes"},
       {Cause::waiting, "communication is posted, its peers are not there yet"},
       {Cause::idle, "the rank has nothing to do: a bubble"},
       {Cause::instrumentation,
        "headline run less second run, which timed the ops: what timing costs, and what differs from run to run"},
       {Cause::edges, "TPOT beside the slowest rank's steps: batches of another pace, another rank slowest before"}}};
  std::string text;
  for (const auto& [cause, meaning] : meanings)
    if (table.shows(cause)) text += fmt::format("    {:<16}{}\n", name_of(cause), meaning);
  return text.empty() ? "" : "  Where\n" + text;
}

}  // namespace

Json comparison_json(const StoredResult& a, const StoredResult& b, const explain::Comparison& comparison,
                     explain::GroupBy by, const Intervals& intervals, const std::vector<explain::GateVerdict>& gates) {
  Json json = head_json();
  json["plan_hash"] = a.plan_hash;
  json["a"] = side_json(a);
  json["b"] = side_json(b);
  json["figures"] = figures_json(comparison.figures);
  json["intervals"] = intervals_json(intervals);
  json["by"] = by == explain::GroupBy::kind ? "kind" : "layer";
  json["tpot"] = waterfall_json(comparison.tpot);
  json["findings"] = findings_json(comparison.tpot, comparison.findings);
  if (!comparison.only_difference.empty()) json["only_difference"] = comparison.only_difference;
  if (a.plan_hash != b.plan_hash) json["plan_hash_b"] = b.plan_hash;
  if (!comparison.configuration.empty()) json["configuration"] = comparison.configuration;
  if (comparison.cpu) json["cpu"] = waterfall_json(*comparison.cpu);
  json["gates"] = gates_json(gates);
  return json;
}

Json serving_json(const StoredHeadline& a, const explain::ServingResult& b, const std::vector<Figure>& figures,
                  const Intervals& intervals, const std::vector<explain::GateVerdict>& gates) {
  Json json = head_json();
  json["plan_hash"] = a.plan_hash;
  json["a"] = headline_json(a);
  json["serving"] = {{"file", b.file}, {"tool", b.tool}, {"definitions", b.definitions}};
  if (b.concurrency) json["serving"]["concurrency"] = *b.concurrency;
  json["figures"] = figures_json(figures);
  json["intervals"] = intervals_json(intervals);
  json["gates"] = gates_json(gates);
  return json;
}

std::string serving_text(const StoredHeadline& a, const explain::ServingResult& b, const std::vector<Figure>& figures,
                         const Intervals& intervals) {
  std::string text = fmt::format("{}: {} beside what {} measured\n  measured      {}\n  plan          {}\n", a.scenario,
                                 a.file, b.tool, b.file, a.plan_hash);
  const double decoding = a.tps * a.tpot.mean.value();  // Little's law
  if (b.concurrency)
    text += fmt::format("  in flight     {:.0f} sequences in A, {:.0f} requests measured\n", decoding, *b.concurrency);
  text += "\n" + figures_text(figures, b.tool.c_str()) + verdict_text(figures, "B", "the measurement is") +
          intervals_text(figures, intervals) + "\n  The figures are not defined alike:\n";
  for (const std::string& definition : b.definitions) text += fmt::format("    {}\n", definition);
  return text;
}

Json published_json(const StoredHeadline& a, const std::vector<Figure>& figures, const Intervals& intervals,
                    const std::vector<explain::GateVerdict>& gates) {
  Json json = head_json();
  json["plan_hash"] = a.plan_hash;
  json["a"] = headline_json(a);
  json["published"] = {{"source", a.published->source}};
  json["figures"] = figures_json(figures);
  json["intervals"] = intervals_json(intervals);
  json["gates"] = gates_json(gates);
  return json;
}

std::string comparison_text(const StoredResult& a, const StoredResult& b, const explain::Comparison& comparison,
                            const Intervals& intervals) {
  const WaterfallTable tpot(
      comparison.tpot,
      {"Where the difference in TPOT comes from, per step on each side's slowest rank:", "= TPOT", "of B's TPOT"});
  std::string text = configuration_text(a, b, comparison.configuration) +
                     figures_text(comparison.figures, "B", a.plan_hash == b.plan_hash ? "error of A" : "A / B - 1") +
                     (a.plan_hash == b.plan_hash ? verdict_text(comparison.figures, "B", "B is") : "") +
                     intervals_text(comparison.figures, intervals) + tpot.text() +
                     cause_text(comparison.tpot, "of B's TPOT") + legend_text(tpot) + findings_text(comparison);
  if (!comparison.cpu) return text;
  const WaterfallTable cpu(*comparison.cpu,
                           {"CPU time of all ranks together, waits left out, per step:", "= CPU time", "of B's CPU"});
  return text + cpu.text() + cause_text(*comparison.cpu, "of B's CPU time");
}

std::string comparison_brief(const StoredResult& a, const explain::Comparison& comparison) {
  std::string text = fmt::format("{:<34}", a.scenario);
  for (const char* name : {"tpot_mean_ms", "cpu_step_ms"}) {
    const Figure* figure = explain::find_figure(comparison.figures, name);
    text += figure == nullptr
                ? fmt::format(" {:>10} {:>10} {:>8}", "-", "-", "-")
                : fmt::format(" {:>10.3f} {:>10.3f} {:>+8.1f}", figure->a, figure->b, 100 * figure->error());
  }
  return text + "\n";
}

std::string published_text(const StoredHeadline& a, const std::vector<Figure>& figures, const Intervals& intervals) {
  return fmt::format("{}: {} beside what was published\n  source        {}\n  plan          {}\n\n", a.scenario, a.file,
                     a.published->source, a.plan_hash) +
         figures_text(figures, "published") + verdict_text(figures, "published", "the published figures are") +
         intervals_text(figures, intervals);
}

}  // namespace foretoken::cli
