// The network part of a calibration, fitted to published measurements.
//
// fit_network reads the files, fits one family after the other (calibrate/fit/network_families.hpp), predicts each
// family from fits that did not see it, and names its sources.
#pragma once

#include <filesystem>
#include <vector>

#include "calibrate/fit/held_out.hpp"
#include "calibrate/fit/network_report.hpp"
#include "calibrate/fit/network_score.hpp"
#include "core/calibration.hpp"
#include "core/calibration_network.hpp"

namespace foretoken::calibrate {

struct NetworkFit {
  NetworkCalibration calibration;
  std::vector<NetworkResidual> residuals;
  std::vector<Coverage> coverage;  ///< of 90 % intervals
  std::vector<NetworkScore> scores;
  std::vector<CalibrationSource> sources;
};

/// Fits every family from a folder with these files:
///   01_nccl.json, 02_ep_alltoall.json, 04_compute_memory_network.json, aic_nccl_h100.csv,
///   aic_custom_allreduce_h100.csv, aic_deepep_ll_h100_1node_0.5.12.csv, aic_deepep_ll_legacy_1-2node.csv,
///   aic_deepep_normal_h100_1node_0.5.12.csv, aic_deepep_normal_legacy_1-2node.csv,
///   vidur_h100_dgx_all_reduce.csv, vidur_h100_dgx_send_recv.csv
/// @param sms of the GPUs that were measured
/// @throws Error{invalid_input} naming file and place for missing or damaged files
NetworkFit fit_network(const std::filesystem::path& sources, int sms, const FoldOptions& folds);

}  // namespace foretoken::calibrate
