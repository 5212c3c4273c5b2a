#include "tools/cli/sweep_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "tools/cli/numbers.hpp"
#include "tools/cli/version.hpp"
#include "tools/explain/model_errors.hpp"
#include "tools/planning/point.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::ordered_json;
using planning::Axis;
using planning::Point;
using planning::PointFigures;

constexpr std::size_t kPointsShown = 24;
constexpr std::size_t kReasonsShown = 8;

Point point_of(const SweepTable& table, std::size_t point) {
  return planning::point_of(nlohmann::json::parse(table.results[point]));
}

// ---- CSV -----------------------------------------------------------------------------------------------------------

std::string cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

std::string figures_cells(const PointFigures& figures) {
  const explain::Span span = explain::span_of(figures.tpot_ms_mean, figures.relative_error);
  return fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{},{},", figures.gpus, figures.tps, figures.tps_per_gpu(),
                     figures.tps_per_user(), figures.tpot_ms_mean, figures.tpot_ms_p50, figures.tpot_ms_p95,
                     figures.tpot_ms_p99, span.low, span.high, figures.exposed_ms, figures.hidden_ms,
                     figures.memory.total() / 1e9, figures.bounds.empty() ? "" : figures.bounds.front().first);
}

// ---- text ----------------------------------------------------------------------------------------------------------

std::string values_text(const SweepTable& table, std::size_t point) {
  const std::vector<std::size_t> values = table.space.values_of(point);
  std::string text;
  for (std::size_t a = 0; a < values.size(); ++a) {
    const Axis& axis = table.space.axes()[a];
    if (axis.values.size() == 1) continue;
    text += fmt::format("{}{}={}", text.empty() ? "" : " ", axis.field.substr(axis.field.rfind('.') + 1),
                        axis.values[values[a]]);
  }
  return text.empty() ? "-" : text;
}

std::string row_text(const SweepTable& table, std::size_t index, const Point& point, std::size_t width) {
  const std::string values = values_text(table, index);
  if (!point.ran()) return fmt::format("  {:<{}}  {}: {}\n", values, width, point.status, point.reason);
  const PointFigures& figures = point.figures;
  return fmt::format("  {:<{}}{:>12}{:>10}{:>10.3f}{:>12.1f}{:>10.1f}{:>8}  {}\n", values, width, grouped(figures.tps),
                     grouped(figures.tps_per_gpu()), figures.tpot_ms_mean, figures.tps_per_user(),
                     figures.memory.total() / 1e9,
                     figures.relative_error > 0 ? fmt::format("{:.0f}", 100 * figures.relative_error) : "-",
                     figures.bounds.empty() ? "-" : figures.bounds.front().first);
}

}  // namespace

std::string sweep_csv(const SweepTable& table) {
  std::string text = "point";
  for (const Axis& axis : table.space.axes()) text += "," + cell(axis.field);
  text +=
      ",status,gpus,tps,tps_per_gpu,tps_per_user,tpot_ms,tpot_ms_p50,tpot_ms_p95,tpot_ms_p99,tpot_ms_low,tpot_ms_high,"
      "exposed_ms,hidden_ms,memory_gb,limited_by,reason\n";
  for (std::size_t i = 0; i < table.space.size(); ++i) {
    text += std::to_string(i);
    const std::vector<std::size_t> values = table.space.values_of(i);
    for (std::size_t a = 0; a < values.size(); ++a) text += "," + cell(table.space.axes()[a].values[values[a]]);
    const Point point = point_of(table, i);
    text += "," + point.status + ",";
    text += point.ran() ? figures_cells(point.figures) : std::string(14, ',') + cell(point.reason);
    text += "\n";
  }
  return text;
}

std::string sweep_json(const SweepTable& table) {
  Json axes = Json::array();
  for (const Axis& axis : table.space.axes()) axes.push_back({{"field", axis.field}, {"values", axis.values}});
  const Json head{{"schema_version", 1},
                  {"kind", "sweep"},
                  {"foretoken", {{"version", std::string(version())}, {"commit", std::string(commit())}}},
                  {"scenario", table.scenario},
                  {"axes", std::move(axes)}};
  // A row at a time: there may be many.
  std::string text = head.dump();
  text.pop_back();
  text += ",\"points\":[";
  for (std::size_t i = 0; i < table.space.size(); ++i) {
    const Json values = table.space.values_of(i);
    text += fmt::format("{}\n{{\"point\":{},\"values\":{},{}", i == 0 ? "" : ",", i, values.dump(),
                        table.results[i].substr(1));
  }
  return text + "\n]}\n";
}

std::string sweep_text(const SweepTable& table) {
  std::vector<Point> points;
  std::map<std::string, std::size_t> reasons;
  std::vector<std::size_t> ran;
  std::size_t width = 30;
  for (std::size_t i = 0; i < table.space.size(); ++i) {
    points.push_back(point_of(table, i));
    if (points.back().ran()) ran.push_back(i);
    else ++reasons[points.back().reason];
  }
  std::vector<std::size_t> shown(table.space.size());
  for (std::size_t i = 0; i < shown.size(); ++i) shown[i] = i;
  const bool all = shown.size() <= kPointsShown;
  if (!all) {
    shown = ran;
    std::stable_sort(shown.begin(), shown.end(), [&](std::size_t a, std::size_t b) {
      return points[a].figures.tps_per_gpu() > points[b].figures.tps_per_gpu();
    });
    shown.resize(std::min(shown.size(), kPointsShown));
  }
  for (const std::size_t i : shown) width = std::max(width, values_text(table, i).size());
  std::string text = fmt::format(
      "{}: {} points, {} of which run{}\n", table.scenario, grouped(static_cast<double>(table.space.size())),
      grouped(static_cast<double>(ran.size())), all ? "" : "; the best by TPS per GPU (--csv and --json have all)");
  for (const Axis& axis : table.space.axes())
    if (axis.values.size() == 1) text += fmt::format("  with {}={}\n", axis.field, axis.values.front());
  text += fmt::format("  {:<{}}{:>12}{:>10}{:>10}{:>12}{:>10}{:>8}  {}\n", "", width, "TPS", "TPS/GPU", "TPOT ms",
                      "tokens/s/user", "memory GB", "+- %", "limited by");
  for (const std::size_t i : shown) text += row_text(table, i, points[i], width);
  if (all || reasons.empty()) return text;
  std::vector<std::pair<std::size_t, std::string>> by_count;
  for (const auto& [reason, count] : reasons) by_count.emplace_back(count, reason);
  std::stable_sort(by_count.begin(), by_count.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  text += "  why others cannot be\n";
  for (std::size_t i = 0; i < std::min(by_count.size(), kReasonsShown); ++i)
    text += fmt::format("  {:>8}  {}\n", by_count[i].first, by_count[i].second);
  if (by_count.size() > kReasonsShown) text += fmt::format("  and {} other reasons\n", by_count.size() - kReasonsShown);
  return text;
}

}  // namespace foretoken::cli
