#include "tools/cli/interval_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/error.hpp"
#include "tools/cli/evaluation.hpp"
#include "tools/cli/numbers.hpp"
#include "tools/cli/progress.hpp"
#include "tools/cli/report_json.hpp"
#include "tools/explain/critical_path.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::ordered_json;
using explain::Span;

constexpr double kConfidence = 0.9;
constexpr std::size_t kPartsMax = 3;  // of the text

Span times(const Span& span, double value) { return {span.low * value, span.high * value}; }

/// The intervals of one method, of what it says about times over the predicted ones.
struct Figures {
  Span tpot_ms, step_ms, tps;

  Figures(const Span& relative, const Metrics& metrics)
      : tpot_ms(times(relative, metrics.tpot.mean.value() * 1e3)),
        step_ms(times(relative, metrics.step.mean.value() * 1e3)),
        tps(times(explain::inverse(relative), metrics.tps)) {}
};

// No upper end: null.
Json figures_json(const Figures& figures) {
  return {{"tpot_ms", span_json(figures.tpot_ms)},
          {"step_ms", span_json(figures.step_ms)},
          {"tps", span_json(figures.tps)}};
}

std::string figures_text(const Figures& figures) {
  const int decimals = decimals_for(figures.tpot_ms.low);
  const auto tpot = [&](double value) {
    return std::isfinite(value) ? fmt::format("to {:.{}f} ms", value, decimals) : std::string("ms or more");
  };
  return fmt::format("TPOT {:.{}f} {}, TPS {} to {}", figures.tpot_ms.low, decimals, tpot(figures.tpot_ms.high),
                     grouped(figures.tps.low), grouped(figures.tps.high));
}

double gaps(const IntervalReport& report) {
  return std::max(0.0, 1 - std::accumulate(report.provenance.begin(), report.provenance.end(), 0.0));
}

std::string provenance_text(const IntervalReport& report) {
  std::string text = "  TPOT rests on:";
  const char* separator = " ";
  const auto add = [&](double share, std::string_view name) {
    if (share < 0.0005) return;
    text += fmt::format("{}{:.1f} % {}", separator, 100 * share, name);
    separator = ", ";
  };
  for (const auto& [value, name] : kProvenanceNames) add(report.provenance[static_cast<std::size_t>(value)], name);
  add(gaps(report), "gaps");
  return text + "\n";
}

}  // namespace

IntervalReport report_interval(const Trace& trace, const Calibration& calibration,
                               const std::filesystem::path& errors) {
  IntervalReport report;
  const explain::CriticalPath path = explain::find_critical_path(trace);
  report.provenance = explain::provenance_shares(path, trace);
  EvaluationOptions options;
  options.errors = errors;
  report.errors = model_errors_of(calibration, options);
  if (!report.errors) {
    report.why_not = fmt::format("it is not known how far calibration {} is off (--errors FILE)", calibration.name);
    return report;
  }
  report.file = errors.empty() ? "errors/" + calibration.name + ".json" : errors.string();
  report.first_order = explain::uncertainty_of(path, trace, *report.errors);
  return report;
}

void draw(IntervalReport& report, const DrawnMethod& method, const DrawnSubject& subject, std::ostream& err) {
  if (!report.errors)
    throw input_error(method.simulated ? "--interval sim" : "--interval mc", "", report.why_not, "give --errors FILE");
  report.simulated = method.simulated;
  if (!method.simulated) {
    report.drawn =
        explain::draw_interval(explain::retimed(subject.trace, *report.errors), *report.errors, method.draws);
    return;
  }
  Progress progress(err, "draws", static_cast<std::size_t>(method.draws.count) + 1, 0);
  const explain::WindowOf window =
      explain::simulated(subject.plan, subject.machine, subject.calibration, subject.options, *report.errors);
  report.drawn = explain::draw_interval(
      [&](const std::vector<double>& factors) {
        const SimTime length = window(factors);
        progress.step();
        return length;
      },
      *report.errors, method.draws);
}

Json interval_json(const IntervalReport& report, const Metrics& metrics) {
  Json provenance = Json::object();
  for (const auto& [value, name] : kProvenanceNames)
    provenance[std::string(name)] = report.provenance[static_cast<std::size_t>(value)];
  provenance["gaps"] = gaps(report);
  Json json{{"provenance", std::move(provenance)}};
  if (!report.errors) {
    json["why_not"] = report.why_not;
    return json;
  }
  Json parts = Json::array();
  for (const explain::ErrorPart& part : report.first_order.parts) {
    const explain::ModelError& row = report.errors->rows()[part.row];
    parts.push_back({{"of", name_of(row)}, {"error", part.error}, {"assumed", row.assumed}});
  }
  json["confidence"] = kConfidence;
  json["errors"] = report.file;
  Json& first_order = json["first_order"] = {{"tpot_relative", report.first_order.relative}};
  first_order.update(figures_json({explain::span_of(1, report.first_order.relative), metrics}));
  first_order["parts"] = std::move(parts);
  if (!report.drawn) return json;
  const explain::DrawnInterval& drawn = *report.drawn;
  Json& monte_carlo =
      json["monte_carlo"] = {{"draws", drawn.draws.count}, {"seed", drawn.draws.seed}, {"simulated", report.simulated}};
  monte_carlo.update(figures_json({drawn.span, metrics}));
  monte_carlo["tpot_median_ms"] = drawn.median * metrics.tpot.mean.value() * 1e3;
  return json;
}

std::string interval_text(const IntervalReport& report, const Metrics& metrics) {
  if (!report.errors) return provenance_text(report) + fmt::format("  No 90 % interval: {}.\n", report.why_not);
  const explain::Uncertainty& first_order = report.first_order;
  std::string text = provenance_text(report);
  text += fmt::format("  90 %: {}\n        if its ops are off as such ops were on measurements that no fit saw ({})\n",
                      figures_text({explain::span_of(1, first_order.relative), metrics}), report.file);
  text += fmt::format("        off by {:.1f} %", 100 * first_order.relative);
  for (std::size_t p = 0; p < std::min(first_order.parts.size(), kPartsMax); ++p)
    text += fmt::format("{} {} {:.1f} %", p == 0 ? ":" : ",", name_of(report.errors->rows()[first_order.parts[p].row]),
                        100 * first_order.parts[p].error);
  if (first_order.parts.size() > kPartsMax)
    text += fmt::format(", and {} smaller", first_order.parts.size() - kPartsMax);
  text += "\n";
  if (!report.drawn) return text;
  const explain::DrawnInterval& drawn = *report.drawn;
  const double median_ms = drawn.median * metrics.tpot.mean.value() * 1e3;
  return text + fmt::format("  Monte Carlo, {} {}draws, seed {}: {}, median {:.{}f} ms\n",
                            grouped(static_cast<double>(drawn.draws.count)), report.simulated ? "simulated " : "",
                            drawn.draws.seed, figures_text({drawn.span, metrics}), median_ms, decimals_for(median_ms));
}

}  // namespace foretoken::cli
