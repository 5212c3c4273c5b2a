// A whole MoE layer on one GPU without its communication, as module benchmarks time it: the sum of its kernels.
#pragma once

#include <cstdint>
#include <span>

#include "sim/cost/compute_cost.hpp"

namespace foretoken::sim {

struct MoeModule {
  std::int64_t tokens = 0;  ///< whose rows the module is given: all of the expert-parallel group
  std::int64_t hidden = 0;
  std::int64_t expert_hidden = 0;  ///< of this GPU's slice
  std::int64_t experts = 0;        ///< that the router chooses among
  std::int64_t top_k = 0;
  DType dtype = DType::bf16;  ///< of weights and GEMMs; element-wise kernels move at least 2 bytes per element
  bool gated = true;          ///< three matrices per expert instead of two
};

/// time = choose experts + permute + grouped GEMM (up, and gate) + activation + grouped GEMM (down) + unpermute
///
/// each as op_duration says. The router's own GEMM is not in it: such benchmarks are given logits.
/// @param rows_per_expert  of this GPU's experts, see expert_rows
/// Limits: kernels that fuse some of these save their launches and traffic; quantising activations to fp8 is left out.
/// @throws Error{invalid_input} as ComputeCost::gemm
Estimate moe_module(const ComputeCost& cost, const MoeModule& module, std::span<const std::int64_t> rows_per_expert);

}  // namespace foretoken::sim
