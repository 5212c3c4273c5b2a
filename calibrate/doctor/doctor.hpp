// What looks wrong in a GPU's calibration: held against the datasheet, and against a calibration of the same kind.
//
// A calibration is no list of measurements any more, so it is asked: for the rate of a large GEMM, of weights streamed
// from memory, of a link, of an all-reduce. Physics bounds each from above; what a healthy sibling reaches, as a share
// of its own datasheet, says what to expect. Several rates that are low together have one cause, and that is what is
// named.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/calibration.hpp"
#include "core/device_spec.hpp"

namespace foretoken::calibrate {

/// What limits a check.
enum class Resource { arithmetic, memory, nvlink, network, latency };

/// One figure of the calibration.
struct Check {
  std::string name;
  Resource resource{};
  std::string framework;  ///< of compute checks
  double reached = 0;     ///< in `unit`; of a latency, lower is better
  std::string unit;
  std::optional<double> limit;    ///< by datasheet, in the same unit
  std::optional<double> sibling;  ///< what the sibling reaches, as much nearer to or further from its own limit

  /// Of the datasheet. Above 1 is impossible.
  [[nodiscard]] std::optional<double> share() const { return limit ? std::optional(reached / *limit) : std::nullopt; }
  /// How good it is beside the sibling; 1 is equal, below 1 is worse, of a latency as well.
  [[nodiscard]] std::optional<double> beside_sibling() const;
};

struct Finding {
  bool impossible = false;  ///< else suspicious
  std::string what;         ///< one line
  std::string evidence;     ///< the figures that say so
  std::string likely;       ///< what causes that, and what to look at
};

struct Diagnosis {
  std::vector<Check> checks;
  std::vector<Finding> findings;  ///< the impossible first, then by how far off
};

/// A calibration and the datasheet it refers to.
struct Patient {
  const Calibration& calibration;
  const DeviceSpec& device;
};

/// @throws Error{invalid_input} for calibrations of hosts, and of other devices than their datasheets
Diagnosis diagnose(const Patient& patient, const std::optional<Patient>& sibling);

}  // namespace foretoken::calibrate
