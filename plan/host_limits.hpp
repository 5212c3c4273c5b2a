// What a computer's cores can run: the rule that a live run and a simulation of one share.
#pragma once

#include "plan/plan.hpp"

namespace foretoken::plan {

/// The host computes in fp32 alone, so that the bytes it moves are the bytes that were predicted. It launches no
/// kernels.
/// @throws Error{invalid_input} if the model has any other dtype (the message says what to --set), or if the scenario
///         says how kernels are launched, and as require_live_model
void require_host_can_run(const Plan& plan);

}  // namespace foretoken::plan
