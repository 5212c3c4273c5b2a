// Who goes to which expert: for step s, layer l and token t, top_k distinct experts.
//
// Counter-based: the answer is a pure function of (seed, step, layer, token), so that it is the same on every executor,
// rank count and machine. Draws compare integers with integer thresholds, never floats.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/random.hpp"
#include "plan/scenario/scenario.hpp"

namespace foretoken::plan {

class Routing {
 public:
  /// @param layers 1..1024, @param experts 1..4096, @param top_k 1..experts
  Routing(const RoutingSpec& spec, std::int64_t layers, std::int64_t experts, std::int64_t top_k);

  /// Distinct routed steps; step s of a run uses routed step s mod routed_steps().
  [[nodiscard]] std::int64_t routed_steps() const { return spec_.routed_steps; }
  [[nodiscard]] std::int64_t top_k() const { return top_k_; }

  /// False where the model's own router decides: experts_of() then throws, naming what to do.
  [[nodiscard]] bool known() const { return spec_.kind != RoutingKind::model; }

  /// Fills `experts` (size top_k) with the distinct experts of one token, in the order in which they were drawn.
  /// @param step   routed step, 0 <= step < routed_steps()
  /// @param layer  0 <= layer < layers
  /// @param token  global index of the sequence within the step's batch
  void experts_of(std::int64_t step, std::int64_t layer, std::int64_t token, std::span<std::int32_t> experts) const;

  /// Everything that decides the answers, as text: what routing_hash covers.
  [[nodiscard]] std::string canonical_text() const;

 private:
  void draw_uniform(RandomSequence& random, std::span<std::int32_t> experts) const;
  void draw_zipf(RandomSequence& random, std::int64_t step, std::int64_t layer, std::span<std::int32_t> experts) const;
  void draw_shares(RandomSequence& random, std::int64_t step, std::int64_t layer,
                   std::span<std::int32_t> experts) const;
  /// [popularity rank] -> expert
  [[nodiscard]] std::span<const std::uint16_t> experts_by_popularity(std::int64_t step, std::int64_t layer) const;
  void shuffle_popularities();
  /// Popularity rank whose share of [0, total weight) holds `point`.
  [[nodiscard]] std::size_t popularity_at(std::uint64_t point) const;

  RoutingSpec spec_;
  std::int64_t layers_;
  std::int64_t experts_;
  std::int64_t top_k_;
  std::vector<std::uint64_t> thresholds_;  // Zipf: weights of popularity ranks 0..r added up; the last is the total
  std::vector<std::uint64_t> weights_;     // hot set: [popularity rank]
  std::uint64_t total_weight_ = 0;
  // Zipf and hot set: [routed step][layer][popularity rank] -> expert; where nothing drifts, of one step
  std::vector<std::uint16_t> expert_of_rank_;
};

/// Most routed steps x layers x experts for which popularities may drift.
inline constexpr double kDriftMax = 1e8;

}  // namespace foretoken::plan
