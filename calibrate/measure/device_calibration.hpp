// From a measurement of GPUs to a calibration, by the fits that published measurements go through.
#pragma once

#include <string>

#include "calibrate/fit/held_out.hpp"
#include "calibrate/measure/measure_device.hpp"
#include "core/calibration.hpp"
#include "core/device_spec.hpp"

namespace foretoken::calibrate {

struct DeviceFit {
  Calibration calibration;
  std::string residuals;  ///< Markdown: errors on what the fits did not see, and what is no part of a fit
};

/// The compute half, of one GPU: products of every measured element type, decode attention, L2, element-wise kernels,
/// launches, as those of the framework "foretoken", which becomes the default. Products of experts are held against
/// the fit and not fitted.
///
/// @param base  what is not measured: the network, prefill attention, SMs of communication kernels. Where it was
/// derived
///              from another GPU's, none of its kernels are kept, and the network stays as good as it was
/// @throws Error{invalid_input} if too little was measured for a fit
DeviceFit fit_gpu(const DeviceMeasurement& measured, const DeviceSpec& device, const Calibration& base,
                  const FoldOptions& folds);

/// The network half, of a launch: rings, trees and NVLS as far as they were measured, messages, and all-to-alls as
/// dispatch and combine, which is how the cuda backend makes those. Links, direct all-reduces and kernels that send a
/// token once per node stay the base's: NCCL has none of the latter two, and a link is measured without it.
///
/// @param base  whose compute half is kept
DeviceFit fit_launch(const DeviceMeasurement& measured, const Calibration& base);

}  // namespace foretoken::calibrate
