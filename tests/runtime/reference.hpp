// The whole model on one rank, in plain loops and double precision: no ops, no program, no deployment.
//
// The truth for every live run: whatever the deployment, its activations must agree with these within the rounding of
// fp32. It shares two things with the runtime, the numbers of the model (runtime/model/element.hpp) and the routing.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "plan/routing/routing.hpp"
#include "plan/scenario/scenario.hpp"

namespace foretoken::test {

/// Small lies about the model, to see that the comparison notices.
struct ReferenceFaults {
  /// Changes an element of expert_up: (layer, expert, row, column, value) -> value.
  std::function<double(std::int64_t, std::int64_t, std::int64_t, std::int64_t, double)> expert_up;
  /// Changes the experts of a token in a layer.
  std::function<void(std::int64_t layer, std::int64_t token, std::vector<std::int32_t>& experts)> experts;
};

/// Hidden states [sequence][column] at the end of a routed step.
std::vector<std::vector<double>> reference_hidden_states(const plan::ModelSpec& model,
                                                         const plan::WorkloadSpec& workload,
                                                         const plan::Routing& routing, std::uint64_t seed,
                                                         std::int64_t routed_step, const ReferenceFaults& faults = {});

}  // namespace foretoken::test
