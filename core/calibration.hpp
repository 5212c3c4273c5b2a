// A calibration file: what measurements say about one machine, with the sources of every number.
//
// Of a GPU model and its fabric: core/calibration_compute.hpp and core/calibration_network.hpp, and what there is
// beside kernels that are alone: core/calibration_interference.hpp, core/calibration_launch.hpp. Of the CPUs of one
// computer: core/calibration_host.hpp. calibrate/ makes these files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/calibration_compute.hpp"
#include "core/calibration_host.hpp"
#include "core/calibration_interference.hpp"
#include "core/calibration_launch.hpp"
#include "core/calibration_network.hpp"
#include "core/device_spec.hpp"
#include "core/json_reader.hpp"
#include "core/provenance.hpp"

namespace foretoken {

/// Whose measurements a fit rests on. Fits name it by id.
struct CalibrationSource {
  std::string id;
  std::string citation;   ///< where the public original is, with its revision
  std::string license;    ///< SPDX id, or words where there is none
  std::int64_t rows = 0;  ///< measurements used
  std::string note;       ///< conditions, and what was left out
};

/// The device that was measured; of a GPU also the roofline that the slowdowns are relative to.
struct CalibratedDevice {
  std::string name;
  BytesPerSecond memory_bandwidth{};
  FlopsPerSecond peak_bf16{};
};

/// Of a calibration that was worked out from another machine's: no prediction rests on more than `at_best`.
struct Derivation {
  std::string from;  ///< name of the calibration that was measured
  Provenance at_best = Provenance::extrapolated;
};

struct Calibration {
  std::string name;
  std::string file;  ///< as the user named it, for messages; not written
  CalibratedDevice device;
  std::optional<Derivation> derived;  ///< of a GPU alone; `compute` and `network` have its at_best
  std::vector<CalibrationSource> sources;
  ComputeCalibration compute;            ///< of a GPU
  NetworkCalibration network;            ///< of a GPU's fabric
  InterferenceCalibration interference;  ///< of a GPU; written if it has a source
  LaunchCalibration launch;              ///< of a GPU; written if it has a source
  std::optional<HostCalibration> host;   ///< of a computer's CPUs: then there is neither of the two above
};

/// @throws Error{invalid_input} with file, JSON pointer, what was found and what would be right; also if a fit names a
///         source that the file does not list
Calibration read_calibration(const std::filesystem::path& path);
Calibration read_calibration(const JsonDocument& document);

/// The text of the file. The same calibration gives the same bytes, and reading them back gives the same text.
std::string calibration_text(const Calibration& calibration);

/// @throws Error{invalid_input} if the calibration was made for another device
/// A topology of hosts may leave open which CPU they have.
inline constexpr const char* kAnyCpu = "any";

void require_calibration_for(const Calibration& calibration, const DeviceSpec& device);

}  // namespace foretoken
