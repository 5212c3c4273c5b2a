// The finished probes of a calibration of GPUs, in a file: as calibrate/measure/journal.hpp for CPUs. A first line says
// which measurement it is of, then there is a line of JSON per probe, with every repetition's time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/line_file.hpp"
#include "core/units.hpp"
#include "runtime/cuda/run_cuda.hpp"

namespace foretoken::calibrate {

/// A probe's times: every batch of repetitions gives one, of a single repetition, and of a launch's slowest rank.
struct ProbeTimes {
  std::string probe;             ///< runtime::cuda::name_of
  std::int64_t repetitions = 0;  ///< of a batch
  std::vector<std::int64_t> picoseconds;
  Seconds took{};                           ///< wall time of it all
  std::string left_out;                     ///< why there are no times: not enough memory
  runtime::cuda::GpuConditions conditions;  ///< of this process's GPU

  /// Of the times. @pre there are some
  [[nodiscard]] Seconds median() const;
};

std::string line_of(const ProbeTimes& times);
/// @param place  "journal.jsonl:17", for messages
/// @throws Error{invalid_input}
ProbeTimes probe_times_of(std::string_view line, const std::string& place);

/// What has to be the same for a measurement to go on.
struct DeviceMeasurementIdentity {
  std::string version;             ///< of foretoken
  std::vector<std::string> hosts;  ///< [rank]
  std::vector<std::string> gpus;   ///< [rank] "NVIDIA H100 80GB HBM3 GPU-<uuid>"
  std::string driver, blas, nccl;
  std::int64_t seed = 0;
};

class DeviceJournal {
 public:
  /// Opens the file or begins it. @param date  of a measurement that begins
  /// @throws Error{invalid_input} as LineFile does, and naming the file if it is no such journal, that of another
  ///         measurement (with what differs), or is damaged before its last line
  DeviceJournal(const std::filesystem::path& file, const DeviceMeasurementIdentity& identity, const std::string& date);

  /// Probes that were there when it was opened, by name.
  [[nodiscard]] const std::map<std::string, ProbeTimes>& known() const { return known_; }
  [[nodiscard]] const std::string& date() const { return date_; }
  /// @throws Error{invalid_input} if it cannot be written; what was written before is kept
  void add(const ProbeTimes& times) { file_.append(line_of(times)); }

 private:
  LineFile file_;
  std::map<std::string, ProbeTimes> known_;
  std::string date_;
};

}  // namespace foretoken::calibrate
