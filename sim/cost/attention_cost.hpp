// Attention in decode and prefill: (kernel floor + roofline of the shape) x fitted slowdown.
#pragma once

#include "core/calibration_compute.hpp"
#include "sim/cost/estimate.hpp"
#include "sim/cost/roofline.hpp"

namespace foretoken::sim {

/// The place of a shape in an AttentionFit's lattice.
std::array<double, 2> attention_coordinates(AttentionPhase phase, const AttentionShape& shape);

class AttentionCost {
 public:
  AttentionCost(AttentionPhase phase, const AttentionFit& fit, MachineRates rates);

  /// time = max(lower bound, (floor + roofline) x exp(log_slowdown)); see attention_roofline.
  ///
  /// @param shape all >= 0, context >= query, heads a multiple of kv_heads; a zero takes no time
  /// Provenance: `extrapolated` outside the measured range; for a head_dim or a number of query heads per KV head that
  /// was not measured; for latent attention; for prefill on top of a cached prefix; and for cold operands small enough
  /// that the benchmark had them in L2, where the cold time is computed and was not measured.
  [[nodiscard]] Estimate operator()(const AttentionShape& shape) const;

 private:
  AttentionPhase phase_;
  AttentionFit fit_;
  MachineRates rates_;
};

}  // namespace foretoken::sim
