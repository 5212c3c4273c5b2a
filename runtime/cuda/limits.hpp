// What the cuda backend runs, and what it refuses by name.
#pragma once

#include "core/dtype.hpp"
#include "plan/plan.hpp"

namespace foretoken::runtime::cuda {

/// The one element type of weights, activations and KV caches of a plan that the cuda backend runs.
DType element_type(const plan::Plan& plan);

/// Whether a step is captured in a graph and launched whole. Unless the scenario says, it is, but for plans whose steps
/// overlap: a graph starts when the one before has ended.
bool captures_steps(const plan::Plan& plan);

/// @throws Error{invalid_input} naming what the backend has not: element types other than fp32, fp16 and bf16, or
///         several at once; micro-stages; hierarchical exchange; graphs of steps that overlap; an NCCL algorithm that
///         differs between the communications of one kind. The message says what to --set.
void require_cuda_can_run(const plan::Plan& plan);

/// The value of NCCL_ALGO under which NCCL carries out the algorithms that the plan names: "allreduce:ring;…", or ""
/// if it has no collective.
std::string nccl_algorithms(const plan::Plan& plan);

}  // namespace foretoken::runtime::cuda
