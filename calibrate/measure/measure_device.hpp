// A GPU, or the GPUs of a launch, measured: which probe is timed how often, until the time is over. What times them is
// behind runtime::cuda::ProbeDevice, so that all of this is tested without a GPU.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "calibrate/measure/device_journal.hpp"
#include "core/units.hpp"
#include "runtime/cuda/bootstrap.hpp"
#include "runtime/cuda/probe.hpp"
#include "runtime/cuda/probe_device.hpp"

namespace foretoken::calibrate {

struct MeasureDeviceOptions {
  Seconds budget{300};
  std::int64_t seed = 1;          ///< of the order of probes
  std::string date;               ///< "2026-01-31"
  std::string version;            ///< of foretoken
  std::filesystem::path journal;  ///< of probes that are finished; empty: none is kept
  std::function<Seconds()> now;   ///< wall time since some instant
  /// Asked at rank 0 before each probe: to end, with what there is.
  std::function<bool()> interrupted;
  /// A probe begins: the share of all probes that is done, what is left of the budget.
  std::function<void(double share, Seconds left, const std::string& what)> progress;
  /// The journal has probes of an earlier process.
  std::function<void(std::size_t known, std::size_t probes)> resumes;
};

struct DeviceMeasurement {
  runtime::cuda::ProbedMachine machine;      ///< of rank 0
  std::vector<std::string> hosts;            ///< [rank]
  std::vector<std::string> gpus;             ///< [rank] name and UUID
  std::string date;                          ///< when it began
  std::vector<runtime::cuda::Probe> probes;  ///< that have times
  std::vector<ProbeTimes> times;             ///< [probe]
  std::vector<ProbeTimes> left_out;          ///< and why
  bool whole = true;                         ///< it was not interrupted
};

/// Every process of a launch calls it at one time, with the same options but for what rank 0 alone is asked. A probe's
/// repetitions go on until the 90 % interval of their median is within 1 % of it (stopping.hpp) or its share of the
/// time is over; eight at least, but three where they take eight shares. All ranks see all times, take those of the
/// slowest, and so stop together.
///
/// @param probes  in the order that they are measured in
/// @return at every rank the same
/// @throws Error as DeviceJournal and the device do; finished probes are in the journal then
DeviceMeasurement measure_device(runtime::cuda::ProbeDevice& device, runtime::cuda::Bootstrap& bootstrap,
                                 const std::vector<runtime::cuda::Probe>& probes, const MeasureDeviceOptions& options);

}  // namespace foretoken::calibrate
