// A calibration for a GPU that nobody has measured for us, from one that was: the physics stays, the datasheet changes.
#pragma once

#include <optional>
#include <string>

#include "core/calibration.hpp"
#include "core/device_spec.hpp"

namespace foretoken::calibrate {

struct DeriveOptions {
  std::string name;                               ///< of the new calibration
  Provenance at_best = Provenance::extrapolated;  ///< or assumed: what predictions from it rest on
  std::optional<BytesPerSecond> nvlink;           ///< nominal, of one GPU in one direction; none: as it was
};

/// Kernels keep their slowdown against the roofline of their shape, which the new device's datasheet moves: what is
/// bound by memory gets as much faster as its memory is, what is bound by arithmetic as its tensor cores. Launch
/// floors, the time an item of attention takes on an SM, and all latencies stay. Rates of L2 follow the number of SMs,
/// its sizes its capacity; element-wise kernels follow the memory. Rates over NVLink follow NVLink, but for the
/// protocols that flag every few bytes, which a kernel's instructions limit. The network between nodes stays: it is a
/// matter of NICs.
///
/// @throws Error{invalid_input} if `from` is of hosts, was itself derived, or was not made for `measured`
Calibration derive(const Calibration& from, const DeviceSpec& measured, const DeviceSpec& device,
                   const DeriveOptions& options);

}  // namespace foretoken::calibrate
