#include "plan/routing/routing.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <numeric>
#include <utility>

#include "core/error.hpp"
#include "plan/routing/routing_record.hpp"
#include "plan/routing/zipf_weights.hpp"
#include "plan/scenario/limits.hpp"

namespace foretoken::plan {
namespace {

// What a sequence of random numbers is for; keeps the draws of one purpose apart from those of another.
enum class Purpose : std::uint32_t { experts_of_token = 1, popularity_of_experts = 2 };

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
  if (spec_.kind != RoutingKind::zipf) return;

  thresholds_ = zipf_thresholds(experts_, spec_.exponent);
  expert_of_rank_.resize(static_cast<std::size_t>(layers_ * experts_));
  for (std::int64_t layer = 0; layer < layers_; ++layer) {
    const auto of_layer = std::span(expert_of_rank_)
                              .subspan(static_cast<std::size_t>(layer * experts_), static_cast<std::size_t>(experts_));
    std::iota(of_layer.begin(), of_layer.end(), 0);
    // Fisher-Yates: every permutation is equally likely.
    RandomSequence random = sequence_for(spec_, Purpose::popularity_of_experts, layer, 0, 0);
    for (std::size_t last = of_layer.size() - 1; last > 0; --last)
      std::swap(of_layer[last], of_layer[random.below(last + 1)]);
  }
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
  if (spec_.kind == RoutingKind::uniform) {
    draw_uniform(random, experts);
  } else {
    draw_zipf(random, layer, experts);
  }
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

void Routing::draw_zipf(RandomSequence& random, std::int64_t layer, std::span<std::int32_t> experts) const {
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
    expert = expert_of_rank_[static_cast<std::size_t>(layer * experts_) + rank];
  }
}

std::string Routing::canonical_text() const {
  // Version of the drawing itself: raise it when the same numbers would give other experts.
  std::string text = "routing 1\n";
  switch (spec_.kind) {
    case RoutingKind::uniform: text += "kind uniform\n"; break;
    case RoutingKind::zipf: text += fmt::format("kind zipf\nexponent {:a}\n", spec_.exponent); break;
    case RoutingKind::model: text += "kind model\n"; break;
    case RoutingKind::recorded: text += fmt::format("kind recorded\nchoices {}\n", spec_.record->hash); break;
  }
  text += fmt::format("seed {}\nrouted_steps {}\nlayers {}\nexperts {}\ntop_k {}\n", spec_.seed, spec_.routed_steps,
                      layers_, experts_, top_k_);
  return text;
}

}  // namespace foretoken::plan
