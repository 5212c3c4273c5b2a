#include "sim/cost/attention_cost.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"

namespace foretoken::sim {

namespace {

// A cold time this much above the repeated one is computed rather than measured.
constexpr double kColdIsAnotherRegime = 1.05;

}  // namespace

std::array<double, 2> attention_coordinates(AttentionPhase phase, const AttentionShape& shape) {
  const auto d = [](std::int64_t value) { return static_cast<double>(value); };
  if (phase == AttentionPhase::decode)
    return {std::log2(d(shape.batch) * d(shape.kv_heads)), std::log2(d(shape.context) * kv_elements(shape) / 2)};
  return {std::log2(d(shape.batch) * d(shape.heads)), std::log2(d(shape.query))};
}

AttentionCost::AttentionCost(AttentionPhase phase, const AttentionFit& fit, MachineRates rates)
    : phase_(phase), fit_(fit), rates_(rates) {}

Estimate AttentionCost::operator()(const AttentionShape& shape) const {
  FORETOKEN_CHECK(
      shape.batch >= 0 && shape.query >= 0 && shape.heads >= 0 && shape.kv_heads >= 0 && shape.head_dim >= 0,
      "attention has no negative dimension");
  FORETOKEN_CHECK(shape.context >= shape.query, "the context of attention includes its new tokens");
  if (shape.batch == 0 || shape.query == 0 || shape.heads == 0 || shape.kv_heads == 0 || shape.head_dim == 0)
    return {Seconds(0), Provenance::measured};
  FORETOKEN_CHECK(shape.heads % shape.kv_heads == 0, "query heads share KV heads evenly");
  FORETOKEN_CHECK(phase_ == AttentionPhase::prefill || shape.query == 1, "decode attention has one new token");

  const std::array<double, 2> x = attention_coordinates(phase_, shape);
  const double slowdown = std::exp(fit_.log_slowdown.at(x));
  const Seconds ideal = fit_.floor + attention_roofline(phase_, shape, fit_.per_item, rates_);
  const std::int64_t group = shape.heads / shape.kv_heads;
  bool inside = fit_.log_slowdown.contains(x) && x[0] + x[1] <= fit_.corner_sum_max && group >= fit_.group_min &&
                group <= fit_.group_max &&
                std::find(fit_.head_dims.begin(), fit_.head_dims.end(), shape.head_dim) != fit_.head_dims.end() &&
                value_dim(shape) == shape.head_dim && !shape.latent;
  if (phase_ == AttentionPhase::prefill && shape.context != shape.query) inside = false;
  if (shape.kv == Residency::cold) {
    AttentionShape repeated = shape;
    repeated.kv = Residency::repeated;
    const Seconds warm = fit_.floor + attention_roofline(phase_, repeated, fit_.per_item, rates_);
    if (ideal > warm * kColdIsAnotherRegime) inside = false;
  }
  Estimate result{std::max(ideal * slowdown, attention_lower_bound(shape, rates_)),
                  inside ? Provenance::interpolated : Provenance::extrapolated};
  if (inside) result.error_p90 = fit_.held_out.known_p90();
  return result;
}

}  // namespace foretoken::sim
