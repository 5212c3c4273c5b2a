#include "plan/routing/routing.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <cmath>
#include <numeric>
#include <utility>

#include "core/error.hpp"
#include "plan/routing/expert_counts.hpp"
#include "plan/routing/expert_shares.hpp"
#include "plan/routing/routing_record.hpp"
#include "plan/routing/zipf_weights.hpp"
#include "plan/scenario/limits.hpp"

namespace foretoken::plan {
namespace {

// What a sequence of random numbers is for; keeps the draws of one purpose apart from those of another.
enum class Purpose : std::uint32_t { experts_of_token = 1, popularity_of_experts = 2, drift = 3 };

// Layers are below 2^16, so purpose and layer share a counter word.
RandomSequence sequence_for(const RoutingSpec& spec, Purpose purpose, std::int64_t layer, std::int64_t step,
                            std::int64_t token) {
  return RandomSequence(spec.seed, static_cast<std::uint32_t>(purpose) << 16 | static_cast<std::uint32_t>(layer),
                        static_cast<std::uint32_t>(step), static_cast<std::uint32_t>(token));
}

// Rejected draws per slot before the exact draw takes over: with at least a tenth of the weight left, the chance to get
// there is 0.9^64 = 0.1 %.
constexpr int kTriesMax = 64;

}  // namespace

Routing::Routing(const RoutingSpec& spec, std::int64_t layers, std::int64_t experts, std::int64_t top_k)
    : spec_(spec), layers_(layers), experts_(experts), top_k_(top_k) {
  FORETOKEN_CHECK(layers >= 1 && layers <= kLayersMax, "routing for a number of layers outside its limits");
  FORETOKEN_CHECK(experts >= 1 && experts <= kExpertsMax, "routing over a number of experts outside its limits");
  FORETOKEN_CHECK(top_k >= 1 && top_k <= experts, "routing to a number of experts outside 1..experts");
  FORETOKEN_CHECK(spec.routed_steps >= 1 && spec.routed_steps <= kRoutedStepsMax, "routed steps outside their limits");
  if (spec_.kind == RoutingKind::zipf) {
    thresholds_ = zipf_thresholds(experts_, spec_.exponent);
    shuffle_popularities();
  } else if (spec_.kind == RoutingKind::hot_set) {
    weights_ = hot_set_weights(experts_, spec_.hot, spec_.share, top_k_);
    total_weight_ = std::accumulate(weights_.begin(), weights_.end(), std::uint64_t{0});
    shuffle_popularities();
  }
}

void Routing::shuffle_popularities() {
  static_assert(kExpertsMax <= 1 << 16);
  const auto experts = static_cast<std::size_t>(experts_);
  const auto moving = static_cast<std::size_t>(std::floor(spec_.drift * static_cast<double>(experts_) + 0.5));
  const std::int64_t steps = moving > 1 ? spec_.routed_steps : 1;
  expert_of_rank_.resize(static_cast<std::size_t>(steps * layers_) * experts);
  std::vector<std::size_t> ranks(experts);
  for (std::int64_t layer = 0; layer < layers_; ++layer) {
    const auto of_step = [&](std::int64_t step) {
      return std::span(expert_of_rank_).subspan(static_cast<std::size_t>(step * layers_ + layer) * experts, experts);
    };
    const auto first = of_step(0);
    std::iota(first.begin(), first.end(), std::uint16_t{0});
    // Fisher-Yates: every permutation is equally likely.
    RandomSequence random = sequence_for(spec_, Purpose::popularity_of_experts, layer, 0, 0);
    for (std::size_t last = experts - 1; last > 0; --last) std::swap(first[last], first[random.below(last + 1)]);
    // From step to step, experts at some popularity ranks change places in a ring, so that each of them moves.
    for (std::int64_t step = 1; step < steps; ++step) {
      const auto now = of_step(step);
      std::copy_n(of_step(step - 1).begin(), experts, now.begin());
      RandomSequence drift = sequence_for(spec_, Purpose::drift, layer, step, 0);
      std::iota(ranks.begin(), ranks.end(), std::size_t{0});
      for (std::size_t i = 0; i < moving; ++i) {
        std::swap(ranks[i], ranks[i + drift.below(experts - i)]);
        if (i > 0) std::swap(now[ranks[i - 1]], now[ranks[i]]);
      }
    }
  }
}

std::span<const std::uint16_t> Routing::experts_by_popularity(std::int64_t step, std::int64_t layer) const {
  const auto experts = static_cast<std::size_t>(experts_);
  const std::size_t of_one_step = static_cast<std::size_t>(layers_) * experts;
  const std::size_t drifted = expert_of_rank_.size() > of_one_step ? static_cast<std::size_t>(step) * of_one_step : 0;
  return std::span(expert_of_rank_).subspan(drifted + static_cast<std::size_t>(layer) * experts, experts);
}

void Routing::experts_of(std::int64_t step, std::int64_t layer, std::int64_t token,
                         std::span<std::int32_t> experts) const {
  FORETOKEN_CHECK(step >= 0 && step < spec_.routed_steps, "a routed step outside the cycle was asked for");
  FORETOKEN_CHECK(layer >= 0 && layer < layers_, "the routing of a layer outside the model was asked for");
  FORETOKEN_CHECK(token >= 0 && token <= kSequencesMax, "the routing of a token outside the batch was asked for");
  FORETOKEN_CHECK(static_cast<std::int64_t>(experts.size()) == top_k_, "room for top_k experts is needed");
  if (spec_.kind == RoutingKind::model)
    throw Error(ErrorCode::invalid_input,
                "routing.kind \"model\": the experts are not known before the model has run; run it with --routing-out "
                "FILE, and then use --set 'routing={\"kind\":\"recorded\",\"file\":\"FILE\"}'");
  if (spec_.record) {
    const auto chosen = spec_.record->experts_of(step, layer, token);
    std::copy(chosen.begin(), chosen.end(), experts.begin());
    return;
  }
  RandomSequence random = sequence_for(spec_, Purpose::experts_of_token, layer, step, token);
  if (spec_.kind == RoutingKind::uniform) draw_uniform(random, experts);
  else if (spec_.kind == RoutingKind::zipf) draw_zipf(random, step, layer, experts);
  else draw_shares(random, step, layer, experts);
}

void Routing::draw_uniform(RandomSequence& random, std::span<std::int32_t> experts) const {
  // Slot i draws r in [0, experts - i) and takes the r-th expert that no earlier slot took: exact, and i draws for i
  // slots. Stepping over the taken ones in ascending order costs top_k^2 / 2, small for the top_k that models have.
  std::array<std::int32_t, kExpertsMax> taken;  // ascending
  for (std::size_t slot = 0; slot < experts.size(); ++slot) {
    auto expert = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(experts_) - slot));
    std::size_t place = 0;
    for (; place < slot && taken[place] <= expert; ++place) ++expert;
    std::copy_backward(taken.begin() + place, taken.begin() + slot, taken.begin() + slot + 1);
    taken[place] = expert;
    experts[slot] = expert;
  }
}

std::size_t Routing::popularity_at(std::uint64_t point) const {
  const auto above = std::upper_bound(thresholds_.begin(), thresholds_.end(), point);
  return static_cast<std::size_t>(above - thresholds_.begin());
}

void Routing::draw_shares(RandomSequence& random, std::int64_t step, std::int64_t layer,
                          std::span<std::int32_t> experts) const {
  thread_local std::vector<std::int32_t> order;
  order.resize(static_cast<std::size_t>(experts_));
  if (spec_.kind == RoutingKind::counts) {
    const auto visits = spec_.counts->of(step, layer);
    draw_by_shares(random, visits, std::accumulate(visits.begin(), visits.end(), std::uint64_t{0}), order, experts);
    return;
  }
  draw_by_shares(random, weights_, total_weight_, order, experts);
  const auto by_popularity = experts_by_popularity(step, layer);
  for (std::int32_t& expert : experts) expert = by_popularity[static_cast<std::size_t>(expert)];
}

void Routing::draw_zipf(RandomSequence& random, std::int64_t step, std::int64_t layer,
                        std::span<std::int32_t> experts) const {
  const auto by_popularity = experts_by_popularity(step, layer);
  const auto weight = [&](std::size_t rank) { return thresholds_[rank] - (rank == 0 ? 0 : thresholds_[rank - 1]); };
  std::bitset<kExpertsMax> taken;  // popularity ranks
  std::uint64_t remaining = thresholds_.back();
  for (std::int32_t& expert : experts) {
    // Rejecting what is taken draws from the remaining weights, exactly.
    std::size_t rank = popularity_at(random.below(thresholds_.back()));
    for (int tries = 1; tries < kTriesMax && taken[rank]; ++tries)
      rank = popularity_at(random.below(thresholds_.back()));
    if (taken[rank]) {
      // Nearly all the weight is taken: draw a point on what remains and walk to it.
      std::uint64_t point = random.below(remaining);
      for (rank = 0; taken[rank] || point >= weight(rank); ++rank)
        if (!taken[rank]) point -= weight(rank);
    }
    taken[rank] = true;
    remaining -= weight(rank);
    expert = by_popularity[rank];
  }
}

std::string Routing::canonical_text() const {
  // Version of the drawing itself: raise it when the same numbers would give other experts.
  std::string text = "routing 1\n";
  switch (spec_.kind) {
    case RoutingKind::uniform: text += "kind uniform\n"; break;
    case RoutingKind::zipf: text += fmt::format("kind zipf\nexponent {:a}\n", spec_.exponent); break;
    case RoutingKind::hot_set: text += fmt::format("kind hot_set\nhot {}\nshare {:a}\n", spec_.hot, spec_.share); break;
    case RoutingKind::counts: text += fmt::format("kind counts\nvisits {}\n", spec_.counts->hash); break;
    case RoutingKind::model: text += "kind model\n"; break;
    case RoutingKind::recorded: text += fmt::format("kind recorded\nchoices {}\n", spec_.record->hash); break;
  }
  if (spec_.drift > 0) text += fmt::format("drift {:a}\n", spec_.drift);
  text += fmt::format("seed {}\nrouted_steps {}\nlayers {}\nexperts {}\ntop_k {}\n", spec_.seed, spec_.routed_steps,
                      layers_, experts_, top_k_);
  return text;
}

}  // namespace foretoken::plan
