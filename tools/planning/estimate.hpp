// What a candidate deployment needs and takes: memory, a bound, and a simulation of some layers that stand for all.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/calibration.hpp"
#include "core/json_reader.hpp"
#include "plan/layer_sample.hpp"
#include "plan/machine/topology.hpp"
#include "sim/simulate.hpp"
#include "tools/explain/model_errors.hpp"
#include "tools/planning/deployments.hpp"
#include "tools/planning/point.hpp"

namespace foretoken::planning {

/// What all candidates have in common.
struct EstimateBasis {
  nlohmann::json const& scenario;  // all members but deployment and workload.sequences
  const plan::Machine& machine;
  const Calibration& calibration;
  const explain::ModelErrors* errors;  // may be null
  sim::SimulateOptions simulation;
};

/// A candidate as a scenario.
/// @throws Error{invalid_input} if it is none
plan::Scenario scenario_of(const EstimateBasis& basis, const Candidate& candidate);

/// Memory of the fullest rank. Grows with the batch.
PointMemory memory_of(const EstimateBasis& basis, const Candidate& candidate);

/// The layers that are simulated instead of all: the fewest that plan/layer_sample.hpp takes, all of a small model.
/// Nothing if it takes none: stages that cannot have equal shares of a deep model.
std::optional<plan::LayerSample> layers_of(const plan::Scenario& scenario);

/// No simulation of these layers, scaled to all, gives less: least_tpot(), less `kBoundSlack`, as time on the
/// critical path that is in no layer is not scaled, and where stages or micro-batches are in different layers at a time
/// it is not this rank's layer that scales it; and less twice the accuracy to which links are shared.
Seconds tpot_bound(const EstimateBasis& basis, const Candidate& candidate);
inline constexpr double kBoundSlack = 0.02;

/// Simulates. The figures' relative_error covers the sampling too.
PointFigures estimate(const EstimateBasis& basis, const Candidate& candidate);

}  // namespace foretoken::planning
