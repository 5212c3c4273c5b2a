// From the run of a plan with some of a model's layers (plan/layer_sample.hpp) to what all layers would take.
//
// On the critical path of the counted steps every instant belongs to an op, hence to a layer or to none. What is in
// sampled layers lasts as much longer as they stand for others, what is outside lasts as long as it did:
//
//   time with all layers = outside + sum over strata of (layers of the stratum x mean time of its sampled ones)
//
// Outside is also the norm that leads from one layer to the next: a stage's first one adds nothing to the residual.
//
// Ranks that meet, directly or through others, share a path: the one to the last step_end among them. Replicas that
// never meet have their own.
//
// How far the means may be off, at 90 %, with L layers of which n are sampled, whose times have the standard deviation
// s (of a stratum with experts; dense layers all do the same):
//
//   variance = sum over strata of L^2 s^2 / n x (1 - n / L)        drawn without replacement
//   error    = Student's t (95 %, degrees of freedom by Welch and Satterthwaite) x sqrt(variance)
//
// A layer's time is the mean of the counted steps and, weighted by what each adds to mean TPOT, of the replicas.
//
// Not covered by that error: what depends on how many layers there are, as whether a pipeline's transfers hide behind
// its stages; that the path of all layers may go another way; and what the calibration does not know.
#pragma once

#include <utility>
#include <vector>

#include "core/breakdown.hpp"
#include "core/metrics.hpp"
#include "core/trace.hpp"
#include "plan/layer_sample.hpp"
#include "plan/plan.hpp"

namespace foretoken::explain {

/// What a stratum's sampled layers took.
struct StratumTimes {
  std::vector<Seconds> times;  // of a step, [sampled layer]
  Seconds mean;
  Seconds deviation;  // standard deviation; 0 of one layer
};

struct SampledRun {
  Metrics metrics;                   // of all layers; TPS x mean TPOT = sequences decoding, as ever
  Breakdown breakdown;               // of all layers; parts add up to its window
  std::vector<StratumTimes> strata;  // as the sample has them
  Seconds outside;                   // of a step with all layers, what is in none
  Seconds error;                     // of mean TPOT: half the width of its 90 % interval

  /// Bounds of mean TPOT, and the TPS that go with them. TPOT is not below what is outside of layers.
  [[nodiscard]] std::pair<Seconds, Seconds> tpot() const;
  [[nodiscard]] std::pair<double, double> tps() const;
};

inline constexpr double kSamplingConfidence = 0.9;

/// @param trace  of with_layers(plan, machine, sample); from simulation, or live with one clock
/// @param plan   of all layers, or of the sample's
/// Of a sample of all layers: the metrics and the breakdown of the trace, and an error of 0.
SampledRun scale_to_all_layers(const Trace& trace, const plan::Plan& plan, const plan::LayerSample& sample);

}  // namespace foretoken::explain
