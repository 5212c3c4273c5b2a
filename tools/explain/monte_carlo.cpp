#include "tools/explain/monte_carlo.hpp"

#include <algorithm>
#include <boost/math/distributions/normal.hpp>
#include <cmath>
#include <cstdint>
#include <string_view>
#include <vector>

#include "core/breakdown.hpp"
#include "core/error.hpp"
#include "core/random.hpp"
#include "tools/explain/retiming.hpp"

namespace foretoken::explain {
namespace {

constexpr double kWithin = 0.9;

double standard_normal(std::uint64_t bits) {
  const double uniform = (static_cast<double>(bits >> 11U) + 0.5) * 0x1p-53;  // in (0, 1)
  return boost::math::quantile(boost::math::normal(), uniform);
}

double nearest_rank(const std::vector<double>& sorted, double p) {
  const auto rank = static_cast<std::size_t>(std::ceil(p * static_cast<double>(sorted.size()) * (1 - 1e-12)));
  return sorted[std::max<std::size_t>(rank, 1) - 1];
}

}  // namespace

double log_deviation(double p90) {
  FORETOKEN_CHECK(p90 > 0 && p90 < 1, "an error is a share");
  // |predicted / measured - 1| <= p90 where log(measured / predicted) is from -log(1 + p90) to -log(1 - p90).
  const boost::math::normal normal;
  const auto within = [&](double sigma) {
    return boost::math::cdf(normal, -std::log1p(-p90) / sigma) - boost::math::cdf(normal, -std::log1p(p90) / sigma);
  };
  double low = p90 / 10, high = 10 * p90;  // certainly too narrow, too wide
  for (int i = 0; i < 100; ++i) {
    const double middle = std::sqrt(low * high);
    (within(middle) > kWithin ? low : high) = middle;
  }
  return low;
}

WindowOf retimed(const Trace& trace, const ModelErrors& errors) {
  std::vector<std::size_t> row_of(trace.size());
  for (std::size_t e = 0; e < trace.size(); ++e) row_of[e] = errors.row_of(trace.op_of(e).kind, trace.provenance[e]);
  return [retiming = Retiming(trace, row_of)](const std::vector<double>& factors) { return retiming.window(factors); };
}

WindowOf simulated(const plan::Plan& plan, const plan::Machine& machine, const Calibration& calibration,
                   const sim::SimulateOptions& options, const ModelErrors& errors) {
  return [&](const std::vector<double>& factors) {
    sim::SimulateOptions off = options;
    off.link_samples = 0;  // nobody looks at a draw's links
    off.time_factor = [&](std::string_view kind, Provenance provenance) {
      return factors[errors.row_of(kind, provenance)];
    };
    const Trace trace = sim::simulate(plan, machine, calibration, off);
    const StepWindow slowest = slowest_of(step_windows(trace));
    return slowest.end - slowest.begin;
  };
}

DrawnInterval draw_interval(const WindowOf& window, const ModelErrors& errors, const Draws& draws) {
  FORETOKEN_CHECK(draws.count >= kDrawsMin && draws.count <= kDrawsMax, "a number of draws that says something");
  std::vector<double> deviations;
  for (const ModelError& row : errors.rows()) deviations.push_back(log_deviation(row.p90));
  std::vector<double> factors(deviations.size(), 1.0);
  const SimTime predicted = window(factors);
  std::vector<double> lengths;
  for (std::int64_t draw = 0; draw < draws.count; ++draw) {
    for (std::size_t row = 0; row < factors.size(); ++row) {
      const std::uint64_t bits = random_at(static_cast<std::uint64_t>(draws.seed), static_cast<std::uint32_t>(draw),
                                           static_cast<std::uint32_t>(row), 0, 0);
      factors[row] = std::exp(deviations[row] * standard_normal(bits));
    }
    lengths.push_back(ratio(window(factors), predicted));
  }
  std::sort(lengths.begin(), lengths.end());
  return {draws, nearest_rank(lengths, 0.5), {nearest_rank(lengths, 0.05), nearest_rank(lengths, 0.95)}};
}

}  // namespace foretoken::explain
