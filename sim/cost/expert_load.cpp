#include "sim/cost/expert_load.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "core/numbers.hpp"

namespace foretoken::sim {
namespace {

std::vector<std::int64_t> balanced(std::int64_t routed, std::int64_t experts, std::int64_t here) {
  const auto up_to = [&](std::int64_t expert) { return (expert * routed + experts - 1) / experts; };
  std::vector<std::int64_t> rows;
  for (std::int64_t e = 0; e < here; ++e) rows.push_back(up_to(e + 1) - up_to(e));
  return rows;
}

// The (i + 1/2) / count quantiles of a binomial, from its weights within twelve standard deviations, relative to that
// of its mode.
std::vector<std::int64_t> binomial_quantiles(std::int64_t trials, double chance, std::int64_t count) {
  if (chance >= 1) return std::vector<std::int64_t>(static_cast<std::size_t>(count), trials);
  const double mean = as_double(trials) * chance;
  const auto reach = static_cast<std::int64_t>(12 * std::sqrt(mean * (1 - chance))) + 20;
  const auto mode = std::min(trials, static_cast<std::int64_t>(mean));
  const std::int64_t first = std::max<std::int64_t>(0, mode - reach);
  const std::int64_t last = std::min(trials, mode + reach);
  // weight(k + 1) / weight(k)
  const auto growth = [&](std::int64_t k) { return as_double(trials - k) / as_double(k + 1) * chance / (1 - chance); };
  std::vector<double> weight(static_cast<std::size_t>(last - first + 1));
  const auto at = [&](std::int64_t k) -> double& { return weight[static_cast<std::size_t>(k - first)]; };
  at(mode) = 1;
  for (std::int64_t k = mode; k < last; ++k) at(k + 1) = at(k) * growth(k);
  for (std::int64_t k = mode; k > first; --k) at(k - 1) = at(k) / growth(k - 1);
  double total = 0;
  for (const double w : weight) total += w;

  std::vector<std::int64_t> rows;
  std::int64_t k = first;
  double below = at(first);
  for (std::int64_t i = 0; i < count; ++i) {
    const double wanted = total * (as_double(i) + 0.5) / as_double(count);
    while (below < wanted && k < last) below += at(++k);
    rows.push_back(k);
  }
  return rows;
}

// Of all experts, most popular first.
std::vector<std::int64_t> power_law(double exponent, std::int64_t tokens, std::int64_t top_k, std::int64_t experts) {
  const std::int64_t routed = tokens * top_k;
  const bool many = routed > experts;
  const double low = many ? 1.0 : 0.01;
  const double high = many ? std::max(1.0, 0.8 * as_double(tokens)) : 2.0;
  const double power = 1 - exponent;
  // The inverse of the cumulative distribution; its limit for x^-1.
  const auto load = [&](double u) {
    if (std::abs(power) < 1e-9) return low * std::pow(high / low, u);
    const double from = std::pow(low, power);
    return std::pow(from + (std::pow(high, power) - from) * u, 1 / power);
  };
  std::vector<double> share(static_cast<std::size_t>(experts));
  double left_share = 0;
  for (std::size_t e = 0; e < share.size(); ++e)
    left_share += share[e] = load((as_double(experts) - static_cast<double>(e) - 0.5) / as_double(experts));
  // Each takes its share of what is left, so that rounding and the limit of one row per token pass on to the next.
  std::vector<std::int64_t> rows;
  std::int64_t left = routed;
  for (const double s : share) {
    const auto fair = static_cast<std::int64_t>(std::llround(as_double(left) * (s / std::max(s, left_share))));
    rows.push_back(std::min({fair, left, tokens}));
    left -= rows.back();
    left_share -= s;
  }
  // Where popular experts were full to the end, others have room.
  for (std::int64_t& r : rows) {
    const std::int64_t more = std::min(left, tokens - r);
    r += more;
    left -= more;
  }
  return rows;
}

// One with the most popular expert, and an even sample of the others.
std::vector<std::int64_t> busiest(const std::vector<std::int64_t>& by_popularity, std::int64_t here) {
  std::vector<std::int64_t> rows{by_popularity.front()};
  const double others = static_cast<double>(by_popularity.size()) - 1;
  for (std::int64_t i = 1; i < here; ++i)
    rows.push_back(by_popularity[static_cast<std::size_t>(1 + (as_double(i) - 0.5) * others / as_double(here - 1))]);
  return rows;
}

}  // namespace

std::vector<std::int64_t> expert_rows(const ExpertLoad& load, std::int64_t tokens, std::int64_t experts,
                                      std::int64_t top_k, std::int64_t ep) {
  FORETOKEN_CHECK(tokens >= 0 && ep >= 1 && experts >= ep && experts % ep == 0, "experts are spread evenly");
  FORETOKEN_CHECK(1 <= top_k && top_k <= experts, "a token has distinct experts");
  const std::int64_t here = experts / ep;
  switch (load.kind) {
    case ExpertLoad::Kind::balanced: return balanced(tokens * top_k, experts, here);
    case ExpertLoad::Kind::uniform: return binomial_quantiles(tokens, as_double(top_k) / as_double(experts), here);
    case ExpertLoad::Kind::power_law: return busiest(power_law(load.exponent, tokens, top_k, experts), here);
  }
  return {};
}

}  // namespace foretoken::sim
