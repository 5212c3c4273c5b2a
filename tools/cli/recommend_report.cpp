#include "tools/cli/recommend_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tools/cli/numbers.hpp"
#include "tools/cli/report_json.hpp"
#include "tools/cli/version.hpp"
#include "tools/explain/model_errors.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::ordered_json;
using planning::Fate;
using planning::PointFigures;
using planning::Row;

// JSON has no infinity: an interval without an upper end.

std::size_t count(const RecommendReport& report, Fate fate) {
  const auto& rows = report.result.rows;
  return static_cast<std::size_t>(
      std::count_if(rows.begin(), rows.end(), [&](const Row& row) { return row.fate == fate; }));
}

/// What of `other` differs from `row`: "ep 16 instead of 32".
std::string difference(const Row& row, const Row& other) {
  const auto own = row.candidate.choices();
  const auto its = other.candidate.choices();
  std::string text;
  for (std::size_t c = 0; c < own.size(); ++c)
    if (own[c].second != its[c].second)
      text +=
          fmt::format("{}{} {} instead of {}", text.empty() ? "" : ", ", own[c].first, its[c].second, own[c].second);
  return text;
}

std::string why_not(const RecommendReport& report, const Row& row, const Row& other) {
  switch (other.fate) {
    case Fate::no_memory:
      return other.memory.device > 0 ? fmt::format("needs {:.1f} GB of a GPU's {:.1f}", other.memory.total() / 1e9,
                                                   other.memory.device / 1e9)
                                     : "does not fit, as a smaller batch does not";
    case Fate::not_simulated: return other.reason;
    case Fate::bound: return fmt::format("TPOT is {:.2f} ms at least: excluded by its bound", other.bound_ms);
    case Fate::left: return "not looked at: the search ended before it";
    case Fate::simulated: break;
  }
  const PointFigures& figures = other.figures;
  if (report.objective.tpot && figures.tpot_ms_mean > report.objective.tpot->value() * 1e3)
    return fmt::format("TPOT {:.2f} ms breaks the limit", figures.tpot_ms_mean);
  if (!other.keeps) return fmt::format("{} tokens/s are too few", grouped(figures.tps));
  if (other.on_front) return "also on the front";
  return fmt::format(
      "{} TPS per GPU at TPOT {:.2f} ms: {}", grouped(figures.tps_per_gpu()), figures.tpot_ms_mean,
      figures.tps_per_gpu() < row.figures.tps_per_gpu() && figures.tpot_ms_mean > row.figures.tpot_ms_mean
          ? "worse in both"
          : "another is better in both");
}

Json row_json(const RecommendReport& report, std::size_t index) {
  const Row& row = report.result.rows[index];
  Json choices = Json::object();
  for (const auto& [name, value] : row.candidate.choices()) choices[std::string(name)] = value;
  Json json{{"label", row.candidate.label()},
            {"choices", std::move(choices)},
            {"deployment", Json::parse(row.candidate.deployment_json().dump())},
            {"sequences", row.candidate.sequences()},
            {"memory_gb",
             {{"weights", row.memory.weights / 1e9},
              {"kv_cache", row.memory.kv_cache / 1e9},
              {"activations", row.memory.activations / 1e9},
              {"total", row.memory.total() / 1e9},
              {"device", row.memory.device / 1e9}}}};
  if (row.fate != Fate::simulated) return json;
  const PointFigures& figures = row.figures;
  const explain::Span tpot = explain::span_of(figures.tpot_ms_mean, figures.relative_error);
  json.update({{"tps", figures.tps},
               {"tps_per_gpu", figures.tps_per_gpu()},
               {"tps_per_user", figures.tps_per_user()},
               {"tpot_ms", figures.tpot_ms_mean},
               {"tpot_ms_interval", {number_json(tpot.low), number_json(tpot.high)}},
               {"relative_error", figures.relative_error},
               {"limited_by", figures.bounds.empty() ? "" : figures.bounds.front().first},
               {"keeps_objective", row.keeps}});
  if (report.price)
    json["cost_per_million_tokens"] = {{"amount", per_million_tokens(*report.price, figures.tps_per_gpu())},
                                       {"currency", report.price->currency}};
  if (report.watts) json["joules_per_token"] = planning::joules_per_token(*report.watts, figures.tps_per_gpu());
  Json neighbours = Json::array();
  for (const std::size_t other : planning::neighbours_of(report.result, index))
    neighbours.push_back({{"change", difference(row, report.result.rows[other])},
                          {"why_not", why_not(report, row, report.result.rows[other])}});
  json["neighbours"] = std::move(neighbours);
  return json;
}

std::string objective_text(const planning::Objective& objective) {
  std::string text;
  if (objective.tpot) text += fmt::format(", TPOT at most {:g} ms", objective.tpot->value() * 1e3);
  if (objective.rate) text += fmt::format(", at least {} tokens/s", grouped(*objective.rate));
  return text;
}

std::string row_text(const RecommendReport& report, const Row& row) {
  const PointFigures& figures = row.figures;
  std::string text =
      fmt::format("  {:>9}{:>9.1f}{:>10.2f}{:>6}{:>8.1f}  {:<17}", grouped(figures.tps_per_gpu()),
                  figures.tps_per_user(), figures.tpot_ms_mean, fmt::format("{:.0f}", 100 * figures.relative_error),
                  row.memory.total() / 1e9, figures.bounds.empty() ? "-" : figures.bounds.front().first);
  if (report.price) text += fmt::format("{:>11.3f}", per_million_tokens(*report.price, figures.tps_per_gpu()));
  if (report.watts) text += fmt::format("{:>9.3f}", planning::joules_per_token(*report.watts, figures.tps_per_gpu()));
  return text + "  " + row.candidate.label() + "\n";
}

std::string heading(const RecommendReport& report) {
  std::string text = fmt::format("  {:>9}{:>9}{:>10}{:>6}{:>8}  {:<17}", "TPS/GPU", "TPS/user", "TPOT, ms", "+- %",
                                 "GB/GPU", "limited by");
  if (report.price) text += fmt::format("{:>11}", report.price->currency + "/M tok");
  if (report.watts) text += fmt::format("{:>9}", "J/token");
  return text + "\n";
}

}  // namespace

Json recommend_json(const RecommendReport& report) {
  const planning::Recommendation& result = report.result;
  Json objective = Json::object();
  if (report.objective.tpot) objective["tpot_ms"] = report.objective.tpot->value() * 1e3;
  if (report.objective.rate) objective["tps"] = *report.objective.rate;
  Json json{{"schema_version", 1},
            {"kind", "recommendation"},
            {"foretoken", {{"version", std::string(version())}, {"commit", std::string(commit())}}},
            {"model", report.model},
            {"cluster", report.cluster},
            {"gpus", report.gpus},
            {"context", report.context},
            {"objective", std::move(objective)},
            {"candidates",
             {{"all", result.rows.size()},
              {"no_memory", count(report, Fate::no_memory)},
              {"excluded_by_bound", count(report, Fate::bound)},
              {"not_simulated", count(report, Fate::not_simulated)},
              {"simulated", count(report, Fate::simulated)},
              {"left", result.left}}}};
  json["best"] = result.best ? row_json(report, *result.best) : Json(nullptr);
  Json front = Json::array();
  for (const std::size_t row : result.front) front.push_back(row_json(report, row));
  json["front"] = std::move(front);
  json["nearest"] = result.nearest ? row_json(report, *result.nearest) : Json(nullptr);
  return json;
}

std::string recommend_text(const RecommendReport& report) {
  const planning::Recommendation& result = report.result;
  std::string text = fmt::format("{} on {} GPUs of {}, context {}{}\n", report.model, report.gpus, report.cluster,
                                 report.context, objective_text(report.objective));
  text += fmt::format("  {} candidates: {} do not fit, {} excluded by a bound, {} simulated", result.rows.size(),
                      count(report, Fate::no_memory), count(report, Fate::bound), count(report, Fate::simulated));
  if (const std::size_t cannot = count(report, Fate::not_simulated); cannot > 0)
    text += fmt::format(", {} cannot be simulated", cannot);
  if (result.left > 0)
    text += fmt::format(", {} LEFT OUT unseen: there may be better ones (--simulations)", result.left);
  text += "\n";
  if (!result.best) return text;
  text += "\n  Front: no other has as many tokens/s per GPU and per user\n" + heading(report);
  for (const std::size_t row : result.front) text += row_text(report, result.rows[row]);
  const Row& best = result.rows[*result.best];
  text += fmt::format("\n  Recommended: {}\n  Why not its neighbours\n", best.candidate.label());
  for (const std::size_t other : planning::neighbours_of(result, *result.best))
    text +=
        fmt::format("    {:<52} {}\n", difference(best, result.rows[other]), why_not(report, best, result.rows[other]));
  return text;
}

}  // namespace foretoken::cli
