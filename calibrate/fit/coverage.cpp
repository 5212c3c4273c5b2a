#include "calibrate/fit/coverage.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <set>
#include <utility>

#include "calibrate/fit/held_out.hpp"
#include "core/error.hpp"

namespace foretoken::calibrate {
namespace {

constexpr double kCovered = 0.9;

}  // namespace

Coverage coverage_of(std::string family, const HeldOutErrors& held_out) {
  FORETOKEN_CHECK(held_out.errors.size() == held_out.folds.size(), "every error has its fold");
  const std::set<std::int64_t> folds(held_out.folds.begin(), held_out.folds.end());
  if (folds.size() < 2)
    throw input_error("", "", "all rows of " + family + " were held out together",
                      "an interval is tried on rows that its width has not seen: two folds are needed");
  Coverage out;
  out.family = std::move(family);
  out.rows = std::ssize(held_out.errors);
  out.folds = std::ssize(folds);
  for (const std::int64_t fold : folds) {
    std::vector<double> others;
    for (std::size_t i = 0; i < held_out.errors.size(); ++i)
      if (held_out.folds[i] != fold) others.push_back(held_out.errors[i]);
    const double width = held_out_statistics(std::move(others)).p90;
    for (std::size_t i = 0; i < held_out.errors.size(); ++i)
      out.covered += held_out.folds[i] == fold && std::abs(held_out.errors[i]) <= width ? 1 : 0;
  }
  out.p_value = binomial_p_value(out.covered, out.rows, kCovered);
  return out;
}

double binomial_p_value(std::int64_t successes, std::int64_t trials, double chance) {
  FORETOKEN_CHECK(successes >= 0 && successes <= trials && chance > 0 && chance < 1, "a count of trials");
  const auto log_likelihood = [&](std::int64_t k) {
    const auto n = static_cast<double>(trials);
    const auto x = static_cast<double>(k);
    return std::lgamma(n + 1) - std::lgamma(x + 1) - std::lgamma(n - x + 1) + x * std::log(chance) +
           (n - x) * std::log1p(-chance);
  };
  // Outcomes that are as likely but for rounding count.
  const double limit = log_likelihood(successes) + 1e-9;
  double sum = 0;
  for (std::int64_t k = 0; k <= trials; ++k)
    if (log_likelihood(k) <= limit) sum += std::exp(log_likelihood(k));
  return std::min(1.0, sum);
}

std::int64_t rejected_together(std::vector<double> p_values, double level) {
  std::sort(p_values.begin(), p_values.end());
  std::int64_t rejected = 0;
  for (const double p : p_values) {
    if (p * static_cast<double>(std::ssize(p_values) - rejected) > level) break;
    ++rejected;
  }
  return rejected;
}

}  // namespace foretoken::calibrate
