// What is planned and simulated, but not yet run live on any backend.
#pragma once

#include "plan/plan.hpp"

namespace foretoken::plan {

/// @throws Error{invalid_input} naming the part of the model: latent or windowed attention, a vocabulary, experts in
///         every n-th layer, experts or dispatched rows in a dtype of their own
void require_live_model(const Plan& plan);

}  // namespace foretoken::plan
