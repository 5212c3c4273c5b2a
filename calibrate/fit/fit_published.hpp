// From a folder of published measurements to a calibration file and a table of its residuals.
#pragma once

#include <filesystem>
#include <string>

#include "calibrate/fit/compute_fit.hpp"
#include "calibrate/fit/held_out.hpp"
#include "calibrate/fit/network_fit.hpp"
#include "core/calibration.hpp"

namespace foretoken::calibrate {

struct FitReport {
  Calibration calibration;
  std::string residuals;  ///< Markdown tables: residuals on held-out groups, checks, sources
};

/// Fits compute and network and judges both on held-out groups.
///
/// @param sources folder of measurements; fit_compute and fit_network name the files
/// @param name    of the calibration, for example "h100-sxm"
/// @throws Error{invalid_input} naming file and line for missing or damaged files
FitReport fit_published(const std::filesystem::path& sources, const DeviceSpec& device, const std::string& name,
                        const FoldOptions& folds);

/// `foretoken calibrate fit`, without the command line.
struct FitFiles {
  std::filesystem::path sources;  ///< folder of measurements
  std::filesystem::path device;   ///< datasheet of the GPU that was measured
  std::filesystem::path out;      ///< calibration to write
  std::filesystem::path report;   ///< Markdown to write; empty for none
  FoldOptions folds;
};

/// Fits and writes; the name of the calibration is the stem of `out`. Files appear whole or not at all.
/// @throws Error{invalid_input} as fit_published, and if a file cannot be written
FitReport fit_to_files(const FitFiles& files);

/// The residual tables alone.
std::string residual_markdown(const ComputeFit& compute, const NetworkFit& network, const FoldOptions& folds);

}  // namespace foretoken::calibrate
