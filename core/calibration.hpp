// A calibration file: what measurements say about one GPU model and its fabric, with the sources of every number.
//
// Compute is in core/calibration_compute.hpp, network in core/calibration_network.hpp; calibrate/ makes these files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/calibration_compute.hpp"
#include "core/calibration_network.hpp"
#include "core/device_spec.hpp"
#include "core/json_reader.hpp"

namespace foretoken {

/// Whose measurements a fit rests on. Fits name it by id.
struct CalibrationSource {
  std::string id;
  std::string citation;   ///< where the public original is, with its revision
  std::string license;    ///< SPDX id, or words where there is none
  std::int64_t rows = 0;  ///< measurements used
  std::string note;       ///< conditions, and what was left out
};

/// The device whose roofline the slowdowns are relative to.
struct CalibratedDevice {
  std::string name;
  BytesPerSecond memory_bandwidth{};
  FlopsPerSecond peak_bf16{};
};

struct Calibration {
  std::string name;
  std::string file;  ///< as the user named it, for messages; not written
  CalibratedDevice device;
  std::vector<CalibrationSource> sources;
  ComputeCalibration compute;
  NetworkCalibration network;
};

/// @throws Error{invalid_input} with file, JSON pointer, what was found and what would be right; also if a fit names a
///         source that the file does not list
Calibration read_calibration(const std::filesystem::path& path);
Calibration read_calibration(const JsonDocument& document);

/// The text of the file. The same calibration gives the same bytes, and reading them back gives the same text.
std::string calibration_text(const Calibration& calibration);

/// @throws Error{invalid_input} if the calibration was made for another device
void require_calibration_for(const Calibration& calibration, const DeviceSpec& device);

}  // namespace foretoken
