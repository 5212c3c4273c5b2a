// GEMM sweeps -> GemmFit.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "calibrate/fit/held_out.hpp"
#include "calibrate/fit/kernel_fit.hpp"
#include "calibrate/import/compute_samples.hpp"
#include "core/calibration_compute.hpp"
#include "sim/cost/roofline.hpp"

namespace foretoken::calibrate {

/// Fits log(time / (floor + roofline)) on a lattice of about 770 values over (log2 m, log2 n, log2 k), a sixth of
/// the rows of one sweep, and judges the fit on held-out (n, k) pairs.
///
/// @param samples of one framework and dtype
/// @param rates   what the rooflines are made of; the peak is that of the samples' dtype
/// @throws Error{invalid_input} if there are no samples, or too few different shapes to fit
JudgedFit<GemmFit> fit_gemm(std::span<const GemmSample> samples, const std::string& source,
                            const sim::MachineRates& rates, const FoldOptions& folds);

}  // namespace foretoken::calibrate
