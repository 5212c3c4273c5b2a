#include "tools/cli/whatif_report.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "tools/cli/explanation_report.hpp"
#include "tools/cli/numbers.hpp"
#include "tools/cli/report_json.hpp"
#include "tools/cli/version.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::ordered_json;
using explain::PathShare;
using explain::Sensitivity;

constexpr double kSame = 1e-9;  // relative
constexpr std::size_t kSharesShown = 12;
constexpr double kBarPerPercent = 4;  // characters of the tornado

// JSON has no infinity: an interval without an upper end.

/// Milliseconds per step before and after, by name; largest difference first, then by name.
struct Moved {
  std::string name;
  double before = 0;
  double after = 0;
};
using SharesOf = std::vector<PathShare> (*)(const WhatifSide&);

std::vector<Moved> moved(const Whatif& whatif, SharesOf shares) {
  std::map<std::string, Moved> by_name;
  for (const PathShare& share : shares(whatif.before))
    by_name[share.name].before = milliseconds(whatif.before.path.per_step(share.time));
  for (const PathShare& share : shares(whatif.after))
    by_name[share.name].after = milliseconds(whatif.after.path.per_step(share.time));
  std::vector<Moved> all;
  for (auto& [name, one] : by_name) all.push_back({name, one.before, one.after});
  std::stable_sort(all.begin(), all.end(), [](const Moved& a, const Moved& b) {
    return std::abs(a.after - a.before) > std::abs(b.after - b.before);
  });
  return all;
}

std::vector<PathShare> by_kind(const WhatifSide& side) {
  return shares_of(side.path, side.trace, explain::PathBy::kind);
}
std::vector<PathShare> by_bound(const WhatifSide& side) { return side.bounds; }

/// Elasticities of a resource on both sides, largest after first.
struct Bar {
  explain::Resource resource;
  double before = 0;
  double after = 0;
  Seconds tpot;  // after, with the better resource
};

std::vector<Bar> tornado(const Whatif& whatif) {
  std::vector<Bar> bars;
  for (const Sensitivity& after : whatif.after.sensitivities) {
    Bar bar{after.resource, 0, after.elasticity, after.tpot};
    for (const Sensitivity& before : whatif.before.sensitivities)
      if (before.resource == after.resource) bar.before = before.elasticity;
    bars.push_back(bar);
  }
  std::stable_sort(bars.begin(), bars.end(), [](const Bar& a, const Bar& b) { return a.after > b.after; });
  return bars;
}

Json side_json(const WhatifSide& side) {
  const Metrics& metrics = side.metrics;
  return {{"gpus", side.trace.ranks},
          {"sequences", metrics.sequences},
          {"tps", metrics.tps},
          {"tps_per_gpu", metrics.tps / static_cast<double>(side.trace.ranks)},
          {"tpot_ms",
           {{"mean", milliseconds(metrics.tpot.mean)},
            {"p50", milliseconds(metrics.tpot.p50)},
            {"p95", milliseconds(metrics.tpot.p95)},
            {"p99", milliseconds(metrics.tpot.p99)}}},
          {"memory_gb", side.memory.total() / 1e9},
          {"critical_path", critical_path_json(side.path, side.trace)}};
}

Json moved_json(const std::vector<Moved>& all) {
  Json json = Json::array();
  for (const Moved& one : all) json.push_back({{"name", one.name}, {"before_ms", one.before}, {"after_ms", one.after}});
  return json;
}

std::string moved_text(const char* title, const std::vector<Moved>& all) {
  std::string text =
      fmt::format("\n  {}, ms per step\n    {:<34}{:>10}{:>10}{:>10}\n", title, "", "before", "after", "change");
  for (std::size_t i = 0; i < std::min(all.size(), kSharesShown); ++i)
    text += fmt::format("    {:<34}{:>10.3f}{:>10.3f}{:>+10.3f}\n", all[i].name, all[i].before, all[i].after,
                        all[i].after - all[i].before);
  return text;
}

std::string tornado_text(const Whatif& whatif) {
  std::string text =
      fmt::format("\n  Sensitivity: TPOT with each resource {:.0f} % better, one at a time\n    {:<10}{:>10}{:>10}\n",
                  100 * (kBetter - 1), "", "before", "after");
  for (const Bar& bar : tornado(whatif)) {
    const auto percent = [](double elasticity) { return 100 * (std::pow(kBetter, -elasticity) - 1); };
    const auto length = static_cast<std::size_t>(std::max(0.0, std::round(-percent(bar.after) * kBarPerPercent)));
    text += fmt::format("    {:<10}{:>+8.2f} %{:>+8.2f} %  {}\n", name_of(bar.resource), percent(bar.before),
                        percent(bar.after), std::string(length, '#'));
  }
  return text;
}

}  // namespace

const char* Whatif::verdict() const {
  const double change = ratio() - 1;
  if (std::abs(change) < kSame) return "the same";
  if (has_interval && span().holds(1)) return "ambiguous";
  return change < 0 ? "faster" : "slower";
}

Json whatif_json(const Whatif& whatif) {
  Json json{{"schema_version", 1},
            {"kind", "whatif"},
            {"foretoken", {{"version", std::string(version())}, {"commit", std::string(commit())}}},
            {"scenario", whatif.scenario},
            {"set", whatif.set},
            {"verdict", whatif.verdict()},
            {"tpot_ratio", whatif.ratio()},
            {"tps_ratio", whatif.after.metrics.tps / whatif.before.metrics.tps}};
  if (whatif.has_interval)
    json["tpot_ratio_interval"] = {number_json(whatif.span().low), number_json(whatif.span().high)};
  json["before"] = side_json(whatif.before);
  json["after"] = side_json(whatif.after);
  json["path_by_kind"] = moved_json(moved(whatif, by_kind));
  json["path_by_bound"] = moved_json(moved(whatif, by_bound));
  Json bars = Json::array();
  for (const Bar& bar : tornado(whatif))
    bars.push_back({{"resource", name_of(bar.resource)},
                    {"elasticity_before", bar.before},
                    {"elasticity_after", bar.after},
                    {"tpot_ms", milliseconds(bar.tpot)}});
  json["sensitivity"] = {{"factor", kBetter}, {"resources", std::move(bars)}};
  Json alone = Json::array();
  for (std::size_t i = 0; i < whatif.alone.size(); ++i) {
    Json one{{"set", whatif.set[i]}};
    one.update(planning::point_json(whatif.alone[i]));
    alone.push_back(std::move(one));
  }
  json["alone"] = std::move(alone);
  return json;
}

std::string whatif_text(const Whatif& whatif) {
  const Metrics& before = whatif.before.metrics;
  const Metrics& after = whatif.after.metrics;
  std::string text = fmt::format("{}, with {}: {}\n  {:<22}{:>14}{:>14}{:>10}\n", whatif.scenario,
                                 fmt::join(whatif.set, " "), whatif.verdict(), "", "before", "after", "ratio");
  text += fmt::format("  {:<22}{:>14}{:>14}{:>10.3f}\n", "TPS", grouped(before.tps), grouped(after.tps),
                      after.tps / before.tps);
  text += fmt::format("  {:<22}{:>14.3f}{:>14.3f}{:>10.3f}", "TPOT, ms", milliseconds(before.tpot.mean),
                      milliseconds(after.tpot.mean), whatif.ratio());
  if (whatif.has_interval)
    text += std::isfinite(whatif.span().high)
                ? fmt::format("  {:.3f} to {:.3f} at 90 %", whatif.span().low, whatif.span().high)
                : fmt::format("  from {:.3f} at 90 %", whatif.span().low);
  else text += "  (how far the calibration is off is not known)";
  text += fmt::format("\n  {:<22}{:>14}{:>14}\n", "GPUs", whatif.before.trace.ranks, whatif.after.trace.ranks);
  text += fmt::format("  {:<22}{:>14.2f}{:>14.2f}\n", "memory of a rank, GB", whatif.before.memory.total() / 1e9,
                      whatif.after.memory.total() / 1e9);
  if (whatif.has_interval && whatif.verdict() == std::string("ambiguous"))
    text += "  The interval holds 1: the calibration does not say which is faster\n";
  if (!whatif.alone.empty())
    text += fmt::format("\n  Each change by itself\n    {:<44}{:>12}{:>10}\n", "", "TPOT, ms", "ratio");
  for (std::size_t i = 0; i < whatif.alone.size(); ++i) {
    const planning::Point& point = whatif.alone[i];
    text += point.ran() ? fmt::format("    {:<44}{:>12.3f}{:>10.3f}\n", whatif.set[i], point.figures.tpot_ms_mean,
                                      point.figures.tpot_ms_mean / milliseconds(before.tpot.mean))
                        : fmt::format("    {:<44}  {}: {}\n", whatif.set[i], point.status, point.reason);
  }
  text += moved_text("Critical path by kind of op", moved(whatif, by_kind));
  if (!whatif.before.bounds.empty()) text += moved_text("What it was bound by", moved(whatif, by_bound));
  return text + tornado_text(whatif);
}

}  // namespace foretoken::cli
