// A measurement of GPUs as a source of a calibration: on which machine, with what, when, under which conditions.
#pragma once

#include <cstdint>
#include <string>

#include "calibrate/measure/measure_device.hpp"
#include "core/calibration.hpp"

namespace foretoken::calibrate {

/// @param rows  samples that were used
/// @param how   what to know of the way of measuring
CalibrationSource device_source(const DeviceMeasurement& measured, const std::string& id, std::int64_t rows,
                                const std::string& how);

/// "SM clock 1755 to 1980 MHz, 350 W, 61 C at most, slowed down by: power cap"; "" where the driver tells nothing.
std::string conditions_text(const DeviceMeasurement& measured);

}  // namespace foretoken::calibrate
