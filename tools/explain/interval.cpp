#include "tools/explain/interval.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <limits>
#include <map>

#include "core/breakdown.hpp"

namespace foretoken::explain {
namespace {

constexpr double kTail = 0.05;  // of 90 %, on either side
constexpr double kNoEnd = std::numeric_limits<double>::infinity();

/// Durations of the counted steps of the slowest rank, seconds.
std::vector<double> step_times(const Trace& trace) {
  const std::int32_t rank = slowest_of(step_windows(trace)).rank;
  std::map<std::int64_t, SimTime> end_of;  // by step; a rank of several micro-batches has several ends
  for (std::size_t e = 0; e < trace.size(); ++e)
    if (trace.rank[e] == rank && trace.op_of(e).kind == "step_end")
      end_of[trace.step[e]] = std::max(end_of[trace.step[e]], trace.ended[e]);
  std::vector<double> times;
  for (std::int64_t step = trace.warmup_steps; step < trace.warmup_steps + trace.steps; ++step)
    times.push_back(to_seconds(end_of.at(step) - end_of.at(step - 1)).value());
  return times;
}

std::optional<double> percentile_of(std::string_view figure) {
  if (figure == "tpot_p50_ms") return 0.50;
  if (figure == "tpot_p95_ms") return 0.95;
  if (figure == "tpot_p99_ms") return 0.99;
  return std::nullopt;
}

Span scaled(const Span& span, double value) { return {span.low * value, span.high * value}; }

Span point(double value) { return {value, value}; }

FigureVerdict verdict_of(const Span& a, const Span& b) {
  if (b.high < a.low || b.low > a.high) return FigureVerdict::outside;
  return a.holds(b.low) && a.holds(b.high) ? FigureVerdict::inside : FigureVerdict::ambiguous;
}

Uncertainty uncertainty_of_shares(const std::vector<double>& of_a, const std::vector<double>& of_b,
                                  const ModelErrors& errors) {
  Uncertainty uncertainty;
  uncertainty.relative = ratio_error(of_a, of_b, errors);
  for (std::size_t row = 0; row < of_a.size(); ++row)
    if (const double error = std::abs(of_a[row] - of_b[row]) * errors.rows()[row].p90; error > 0)
      uncertainty.parts.push_back({row, error});
  std::stable_sort(uncertainty.parts.begin(), uncertainty.parts.end(),
                   [](const ErrorPart& x, const ErrorPart& y) { return x.error > y.error; });
  return uncertainty;
}

}  // namespace

Span inverse(const Span& span) { return {1 / span.high, span.low > 0 ? 1 / span.low : kNoEnd}; }

Span spread_of_mean(const std::vector<double>& samples) {
  const auto n = static_cast<double>(samples.size());
  if (samples.size() < 2) return {0, kNoEnd};
  double sum = 0, squares = 0;
  for (const double x : samples) sum += x;
  const double mean = sum / n;
  for (const double x : samples) squares += std::pow(x - mean, 2);
  const double t = boost::math::quantile(boost::math::students_t(n - 1), 1 - kTail);
  const double half = t * std::sqrt(squares / (n - 1) / n) / mean;
  return {std::max(0.0, 1 - half), 1 + half};
}

Span spread_of_percentile(std::vector<double> samples, double p) {
  std::sort(samples.begin(), samples.end());
  const auto n = static_cast<double>(samples.size());
  const boost::math::binomial below(n, p);  // how many samples are not above the percentile
  const double own = samples[static_cast<std::size_t>(std::ceil(p * n * (1 - 1e-12))) - 1];
  Span span{0, kNoEnd};
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const double above = boost::math::cdf(below, static_cast<double>(i));  // that the (i + 1)th is
    if (above <= kTail) span.low = samples[i] / own;
    if (above >= 1 - kTail && span.high == kNoEnd) span.high = samples[i] / own;
  }
  return span;
}

std::string name_of(const ModelError& row) {
  std::string name =
      row.ops == std::vector<std::string>{"*"} ? "other ops" : fmt::format("{}", fmt::join(row.ops, "/"));
  std::vector<std::string_view> provenance;
  for (const Provenance one : row.provenance) provenance.push_back(foretoken::name_of(one));
  return provenance.empty() ? name : fmt::format("{} {}", name, fmt::join(provenance, "/"));
}

std::array<double, kProvenanceNames.size()> provenance_shares(const CriticalPath& path, const Trace& trace) {
  std::array<double, kProvenanceNames.size()> shares{};
  for (const PathSegment& segment : path.segments)
    if (segment.work != PathWork::gap)
      shares[static_cast<std::size_t>(trace.provenance[segment.event])] += ratio(segment.time(), path.window());
  return shares;
}

Uncertainty uncertainty_of(const CriticalPath& path, const Trace& trace, const ModelErrors& errors) {
  const std::vector<double> shares = error_shares(path, trace, errors);
  return uncertainty_of_shares(shares, std::vector<double>(shares.size()), errors);
}

Uncertainty uncertainty_of(const Trace& a, const Trace* b, const ModelErrors& errors) {
  if (b == nullptr) return uncertainty_of(find_critical_path(a), a, errors);
  Uncertainty uncertainty = uncertainty_of_shares(error_shares(find_critical_path(a), a, errors),
                                                  error_shares(find_critical_path(*b), *b, errors), errors);
  uncertainty.of_ratio = true;
  return uncertainty;
}

void judge(std::vector<Figure>& figures, const Uncertainty& uncertainty, const Trace* measured) {
  std::vector<double> steps;
  if (measured != nullptr) steps = step_times(*measured);
  for (Figure& figure : figures) {
    const bool rate = figure.name == "tps";
    if (figure.name == "cpu_step_ms") continue;
    Span b = point(figure.b);
    if (measured != nullptr) {
      const auto p = percentile_of(figure.name);
      const Span spread = p ? spread_of_percentile(steps, *p) : spread_of_mean(steps);
      b = scaled(rate ? inverse(spread) : spread, figure.b);
    }
    const Span a =
        rate ? inverse(span_of(1 / figure.a, uncertainty.relative)) : span_of(figure.a, uncertainty.relative);
    figure.judged = Judgement{a, b, verdict_of(a, b)};
  }
}

}  // namespace foretoken::explain
