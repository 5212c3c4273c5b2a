// Does the grouped-GEMM mapping hold? Predictions of whole MoE layers against measurements that nothing was fitted to.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/calibration_compute.hpp"
#include "core/dtype.hpp"
#include "core/units.hpp"
#include "sim/cost/compute_cost.hpp"

namespace foretoken::calibrate {

/// What one GPU does of a MoE layer as rank 0 of a layout: experts / ep of the experts, each expert_hidden / tp wide.
struct MoeLayoutSample {
  std::string framework;
  std::string model;
  DType dtype = DType::bf16;  ///< of the weights
  std::int64_t tokens = 0;    ///< of all ranks together, routed over all experts
  std::int64_t tp = 1;
  std::int64_t ep = 1;
  Seconds time{};
};

/// The rows with balanced routing, unflagged and of a dtype that is modelled.
/// @throws Error{invalid_input} naming file and line for a missing or damaged file
std::vector<MoeLayoutSample> read_moe_layouts(const std::filesystem::path& path);

/// Rows of each of rank 0's experts in the collector's balanced routing: with a stride of experts / top_k, token t goes
/// to the experts t + i x stride, i < top_k; fewer tokens than the stride are spread over it.
/// @throws Error{invalid_input} for a model whose dimensions are not known here
std::vector<std::int64_t> balanced_rows(const MoeLayoutSample& sample);

/// Time of a MoE layer on one GPU, as sim::moe_module has it.
/// @throws Error{invalid_input} for a model whose dimensions are not known here
Seconds moe_layer_time(const sim::ComputeCost& cost, const MoeLayoutSample& sample);

/// Error over the samples in which rank 0 has work; rows of small batches (fewer than one row per expert) included.
HeldOut check_moe(const sim::ComputeCost& cost, std::span<const MoeLayoutSample> samples);

}  // namespace foretoken::calibrate
