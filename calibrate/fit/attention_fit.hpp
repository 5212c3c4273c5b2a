// Attention sweeps -> AttentionFit.
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

/// Fits log(time / (floor + roofline)) on a lattice of about 100 values, and judges the fit on held-out head shapes
/// (heads, kv_heads, head_dim). Decode is fitted with the K and V that the benchmark repeats left in L2.
///
/// @param samples of one framework and KV dtype
/// @param rates   what the rooflines are made of; the peak is that of the dtype that attention multiplies in
/// @throws Error{invalid_input} if there are no samples, or too few different shapes to fit
JudgedFit<AttentionFit> fit_attention(sim::AttentionPhase phase, std::span<const AttentionSample> samples,
                                      const std::string& source, const sim::MachineRates& rates,
                                      const FoldOptions& folds);

/// The rate at which decode attention reads K and V from L2, and the working sets that do and do not stay there.
///
/// The bandwidth is the 95th percentile, over rows with 40 to 70 % of L2 in K and V and few enough items to start at
/// once, of bytes / (time - kernel floor): a roofline is what the fastest kernels reach, and the slower ones convert
/// fp8 or have too few items in flight. The limits are set, not fitted: the published sweeps double their batches, so
/// that they show 34 MB all in L2 and 67 MB all in HBM on 50 MB, and nothing between.
///
/// @param samples decode sweeps, any framework; a floor is taken for each
/// @throws Error{invalid_input} if no row has a working set of that size
L2Fit fit_l2(std::span<const AttentionSample> samples, const std::string& source, const DeviceSpec& device);

}  // namespace foretoken::calibrate
