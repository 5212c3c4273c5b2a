// Does the grouped-GEMM mapping hold? Predictions of whole MoE layers against measurements that nothing was fitted to.
#pragma once

#include <span>
#include <vector>

#include "calibrate/import/compute_samples.hpp"
#include "core/calibration_compute.hpp"
#include "sim/cost/compute_cost.hpp"

namespace foretoken::calibrate {

/// Time of one MoE layer with balanced routing on one GPU:
///
///   router top-k + permute + grouped GEMM (gate and up) + activation + grouped GEMM (down) + unpermute
///
/// the element-wise ones as memory-bound kernels.
/// @throws Error{invalid_input} for a model whose dimensions are not known here
Seconds moe_layer_time(const sim::ComputeCost& cost, const MoeSample& sample);

/// Error over the samples; rows of small batches (fewer than one row per expert) included.
HeldOut check_moe(const sim::ComputeCost& cost, std::span<const MoeSample> samples);

}  // namespace foretoken::calibrate
