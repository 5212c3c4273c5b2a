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

/// time = choose experts + sort + permute + grouped GEMM (up, and gate) + activation + grouped GEMM (down) + unpermute
///
/// each as op_duration says, but
///
///   sort  four short kernels: three sum the experts' choices up, and one writes down where each expert's rows begin.
///   Up
///         to 256 tokens fit into one thread block, and the three are one.
///   in a narrow dtype the activations are quantised once, by a kernel of its own; the second time the activation does
///         it. GEMM sweeps that quantise in front of every GEMM have that taken off: ComputeCost::quantising.
///
/// Source of both: the kernels that TensorRT-LLM's module launches (cutlass_kernels/moe_gemm). Triton's, of vLLM and
/// SGLang, are not counted here; they sort as well. The router's own GEMM is not in it: such benchmarks are given
/// logits.
/// @param rows_per_expert  of this GPU's experts, see expert_rows
/// Limits: kernels that fuse some of these save their launches and traffic.
/// @throws Error{invalid_input} as ComputeCost::gemm
Estimate moe_module(const ComputeCost& cost, const MoeModule& module, std::span<const std::int64_t> rows_per_expert);

}  // namespace foretoken::sim
