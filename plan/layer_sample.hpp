// Which layers of a model stand for all of them, when a simulation of all would take too long.
//
// Layers differ by kind (dense or with experts), by pipeline stage, and by whom their tokens are routed to. Kind and
// stage are strata: each has its own share of the sample. Within a stratum layers do the same work but for the routing,
// which is drawn for each by itself, so any choice is as good as another; it is spread evenly, and the same every time.
// What the sampled layers say of the others is tools/explain/layer_sampling.hpp's to tell.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/machine/machine.hpp"
#include "plan/placement.hpp"
#include "plan/plan.hpp"
#include "plan/scenario/scenario.hpp"

namespace foretoken::plan {

/// Layers that do the same work but for their routing.
struct LayerStratum {
  std::int64_t stage = 0;
  bool dense = false;
  Range layers;                       // of the model, contiguous
  std::vector<std::int64_t> sampled;  // ascending

  /// Layers that each sampled one stands for.
  [[nodiscard]] double weight() const {
    return static_cast<double>(layers.size()) / static_cast<double>(sampled.size());
  }
};

struct LayerSample {
  std::int64_t layers = 0;            // of the model
  std::vector<LayerStratum> strata;   // in order of their layers
  std::vector<std::int64_t> sampled;  // of all strata, ascending

  /// @throws Error{internal} if the layer is not in the model
  [[nodiscard]] const LayerStratum& stratum_of(std::int64_t layer) const;
};

/// Chooses `count` layers, or all if there are no more.
///
///   one stage       one dense layer, for they are all alike, and count - 1 with experts; without dense ones count
///   several stages  the same share of every stratum: in a pipeline the times of stages do not just add up
///
/// A stratum is cut into runs of `period` layers, the least number after which experts are on the same ranks again:
/// 1 but for round robin over more ranks than experts, where the experts of a layer are beside those of the one before.
/// Of r runs that it has, k are taken: those at floor((2 i + 1) r / 2 k), i = 0 .. k - 1.
///
/// @throws Error{invalid_input} naming numbers that would do if count leaves a stratum without a share; a stratum with
///         experts with only one of its layers, which says nothing of how layers differ; or a part of a run; and if
///         something happens at a time of the run (a fault later than its start), which a shorter run would not meet;
///         and if layers differ by more than the first ones being dense
LayerSample sample_layers(const Scenario& scenario, std::int64_t count);

/// The plan of a scenario with these layers alone: the same ops on the same ranks, the layers under their own numbers
/// and with their own routing. Its hashes, and what was checked of memory, are those of the whole plan.
/// @param whole  of all layers, made for this machine
Plan with_layers(const Plan& whole, const Machine& machine, const LayerSample& sample);

}  // namespace foretoken::plan
