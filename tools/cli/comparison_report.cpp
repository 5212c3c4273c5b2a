#include "tools/cli/comparison_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "tools/cli/numbers.hpp"
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

constexpr std::size_t kRowsMax = 16;  // of a waterfall; what is smaller stands in one line

double milliseconds(Seconds time) { return time.value() * 1e3; }

// ---- JSON ----------------------------------------------------------------------------------------------------------

Json headline_json(const StoredHeadline& side) {
  return {{"file", side.file},   {"foretoken", side.build},   {"scenario", side.scenario},
          {"clock", side.clock}, {"topology", side.topology}, {"calibration", side.calibration},
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

Json figures_json(const std::vector<Figure>& figures) {
  Json json = Json::object();
  for (const Figure& figure : figures)
    json[std::string(figure.name)] = {{"a", figure.a}, {"b", figure.b}, {"error", figure.error()}};
  return json;
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

/// Five significant digits of the largest number of a table, and the same decimals for all of it.
int decimals_for(double largest) {
  if (!(largest > 0)) return 3;
  return std::clamp(4 - static_cast<int>(std::floor(std::log10(largest))), 1, 9);
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

std::string figures_text(const std::vector<Figure>& figures, const char* b_name) {
  std::string text = fmt::format("  {:<14}{:>16}{:>16}{:>12}\n", "", "A", b_name, "error of A");
  for (const FigureRow& row : kFigureRows) {
    const Figure* figure = find_figure(figures, row.name);
    if (figure == nullptr) continue;
    const bool whole = row.name == "tps";
    const int decimals = decimals_for(std::max(figure->a, figure->b));
    text += fmt::format("  {:<14}{:>16}{:>16}{:>+10.1f} %  {}\n", row.label, figure_text(figure->a, whole, decimals),
                        figure_text(figure->b, whole, decimals), 100 * figure->error(), row.unit);
  }
  return text;
}

std::string direction(double error) {
  const double percent = std::abs(100 * error);
  if (percent < 0.05) return "right to 0.1 %";
  return fmt::format("{:.1f} % too {}", percent, error > 0 ? "high" : "low");
}

std::string verdict_text(const std::vector<Figure>& figures, const char* if_right) {
  std::string text;
  for (const auto& [name, label] : {std::pair("tps", "TPS"), std::pair("tpot_mean_ms", "TPOT")})
    if (const Figure* figure = find_figure(figures, name))
      text += fmt::format("{}{} is {}", text.empty() ? "" : ", ", label, direction(figure->error()));
  return fmt::format("  If {} is right, A's {}.\n", if_right, text);
}

std::string configuration_text(const StoredResult& a, const StoredResult& b) {
  std::string text = fmt::format("{}: two results of plan {}\n", a.scenario, a.plan_hash);
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
  row("seed", std::to_string(a.seed), std::to_string(b.seed));
  row("steps", std::to_string(a.trace.steps), std::to_string(b.trace.steps));
  row("slowest rank", std::to_string(a.slowest_rank), std::to_string(b.slowest_rank));
  return text + "\n";
}

struct WaterfallTitle {
  const char* head;   // what the parts are
  const char* whole;  // what they add up to
  const char* of;     // what shares are of
};

std::string waterfall_text(const Waterfall& waterfall, const WaterfallTitle& title) {
  const auto ms = [&](SimTime time) { return milliseconds(waterfall.per_step(time)); };
  const double whole_b = ms(waterfall.b);
  const int decimals = decimals_for(std::max(ms(waterfall.a), whole_b));
  std::string text = fmt::format("\n  {}\n    {:<16}{:<16}{:>14}{:>14}{:>14}{:>12}\n", title.head, "", "", "A, ms",
                                 "B, ms", "A - B, ms", title.of);
  const auto line = [&](std::string_view cause, std::string_view of, SimTime a, SimTime b) {
    text += fmt::format("    {:<16}{:<16}{:>14.{}f}{:>14.{}f}{:>+14.{}f}{:>+10.1f} %\n", cause, of, ms(a), decimals,
                        ms(b), decimals, ms(a - b), decimals, 100 * ms(a - b) / whole_b);
  };
  Part rest;
  std::size_t rows = 0, others = 0;
  for (const Part& part : waterfall.parts) {
    if (part.a == SimTime(0) && part.b == SimTime(0)) continue;
    if (++rows <= kRowsMax) {
      line(name_of(part.cause), part.of, part.a, part.b);
      continue;
    }
    ++others;
    rest.a += part.a;
    rest.b += part.b;
  }
  if (others > 0) line("others", fmt::format("{} parts", others), rest.a, rest.b);
  line("sum", title.whole, waterfall.a, waterfall.b);
  return text;
}

std::string subject(const Part& part) {
  switch (part.cause) {
    case Cause::compute: return fmt::format("compute of {}", part.of);
    case Cause::exposed: return fmt::format("communication of {} that no compute hides", part.of);
    case Cause::waiting: return fmt::format("waiting for peers in {}", part.of);
    case Cause::idle: return "idle time";
    case Cause::instrumentation: return "what timing every op costs the run that was timed";
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
  std::string text =
      fmt::format("  Largest cause: {}, {:.{}f} ms {} in A than in B ({:+.1f} % {}).\n", subject(largest),
                  std::abs(ms(largest.difference())), decimals_for(std::max(ms(waterfall.a), whole_b)),
                  largest.difference() > SimTime(0) ? "more" : "less", 100 * ms(largest.difference()) / whole_b, of);
  if (waterfall.errors_cancel())
    text +=
        fmt::format("  Errors cancel: parts add up to {:+.1f} % and {:+.1f} %, so the small sum says little about A.\n",
                    100 * ms(waterfall.longer()) / whole_b, 100 * ms(waterfall.shorter()) / whole_b);
  return text;
}

std::string legend_text(const Waterfall& waterfall) {
  constexpr std::array<std::pair<Cause, const char*>, 6> meanings{
      {{Cause::compute, "an op computes"},
       {Cause::exposed, "communication is under way and nothing computes"},
       {Cause::waiting, "communication is posted, its peers are not there yet"},
       {Cause::idle, "the rank has nothing to do: a bubble"},
       {Cause::instrumentation, "the ops were timed in a second run, whose steps took so much longer (negative)"},
       {Cause::edges, "TPOT without the slowest rank's steps: batches of another pace, another rank slowest before"}}};
  std::string text;
  for (const auto& [cause, meaning] : meanings)
    if (std::any_of(waterfall.parts.begin(), waterfall.parts.end(), [cause = cause](const Part& part) {
          return part.cause == cause && (part.a != SimTime(0) || part.b != SimTime(0));
        }))
      text += fmt::format("    {:<16}{}\n", name_of(cause), meaning);
  return text;
}

}  // namespace

Json comparison_json(const StoredResult& a, const StoredResult& b, const explain::Comparison& comparison,
                     explain::GroupBy by, const std::vector<explain::GateVerdict>& gates) {
  Json json = head_json();
  json["plan_hash"] = a.plan_hash;
  json["a"] = side_json(a);
  json["b"] = side_json(b);
  json["figures"] = figures_json(comparison.figures);
  json["by"] = by == explain::GroupBy::kind ? "kind" : "layer";
  json["tpot"] = waterfall_json(comparison.tpot);
  if (comparison.cpu) json["cpu"] = waterfall_json(*comparison.cpu);
  json["gates"] = gates_json(gates);
  return json;
}

Json published_json(const StoredHeadline& a, const std::vector<Figure>& figures,
                    const std::vector<explain::GateVerdict>& gates) {
  Json json = head_json();
  json["plan_hash"] = a.plan_hash;
  json["a"] = headline_json(a);
  json["published"] = {{"source", a.published->source}};
  json["figures"] = figures_json(figures);
  json["gates"] = gates_json(gates);
  return json;
}

std::string comparison_text(const StoredResult& a, const StoredResult& b, const explain::Comparison& comparison) {
  std::string text =
      configuration_text(a, b) + figures_text(comparison.figures, "B") + verdict_text(comparison.figures, "B") +
      waterfall_text(comparison.tpot, {"Where the difference in TPOT comes from, per step:", "= TPOT", "of B's TPOT"}) +
      legend_text(comparison.tpot) + cause_text(comparison.tpot, "of B's TPOT");
  if (comparison.cpu)
    text += waterfall_text(*comparison.cpu,
                           {"CPU time of all ranks together, waits left out, per step:", "= CPU time", "of B's CPU"}) +
            cause_text(*comparison.cpu, "of B's CPU time");
  return text;
}

std::string published_text(const StoredHeadline& a, const std::vector<Figure>& figures) {
  return fmt::format("{}: {} beside what was published\n  source        {}\n  plan          {}\n\n", a.scenario, a.file,
                     a.published->source, a.plan_hash) +
         figures_text(figures, "published") + verdict_text(figures, "what was published");
}

}  // namespace foretoken::cli
