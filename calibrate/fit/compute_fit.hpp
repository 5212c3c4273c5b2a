// The compute part of a calibration, fitted to published measurements of one device.
//
// fit_compute reads the files, fits GEMM and attention for every framework, and checks the grouped-GEMM mapping against
// whole MoE layers, which are never fitted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "calibrate/fit/coverage.hpp"
#include "calibrate/fit/held_out.hpp"
#include "core/calibration.hpp"
#include "core/device_spec.hpp"

namespace foretoken::calibrate {

/// Predictions of something that no fit has seen.
struct ComputeCheck {
  std::string what;
  std::string framework;
  HeldOut error;  ///< without groups and folds
};

struct ComputeFit {
  ComputeCalibration calibration;
  std::vector<ComputeCheck> checks;
  std::vector<Coverage> coverage;  ///< of 90 % intervals
  std::vector<CalibrationSource> sources;
};

/// @param sources a folder with aic_gemm_h100.csv, aic_gemm_h100_vllm_bf16_all78m.csv,
///        aic_attention_generation_h100.csv, aic_attention_context_h100.csv, aic_moe_h100.csv and
///        04_compute_memory_network.json
/// @param device the datasheet of the GPU that was measured
/// @throws Error{invalid_input} naming file and line for missing or damaged files
ComputeFit fit_compute(const std::filesystem::path& sources, const DeviceSpec& device, const FoldOptions& folds);

}  // namespace foretoken::calibrate
