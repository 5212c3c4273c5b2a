// This computer's CPUs, measured and fitted: from nothing to a Calibration.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "calibrate/fit/host_fit.hpp"
#include "calibrate/fit/host_samples.hpp"
#include "calibrate/measure/communication_probe.hpp"
#include "core/calibration.hpp"
#include "runtime/run.hpp"

namespace foretoken::calibrate {

/// What an earlier measurement of this computer left.
struct KnownMeasurement {
  Calibration calibration;
  std::vector<HostSample> samples;
};

struct MeasureOptions {
  Seconds budget{60};
  std::int64_t seed = 1;                         ///< of the order of probes
  std::vector<std::filesystem::path> scenarios;  ///< measure what these need; empty: the built-in probes
  std::string date;                              ///< "2026-01-31", for the sources
  std::string version;                           ///< of foretoken
  std::optional<KnownMeasurement> known;         ///< what is not measured now is kept from it
  std::int64_t ranks = 0;                        ///< processes of a launch; 0: ranks are threads, as many as one likes
  bool leads = true;                             ///< has a result; under a launcher rank 0
  RunPlan run;                                   ///< runs a plan, see communication_probe.hpp
  std::filesystem::path journal;                 ///< of parts that are finished, see journal.hpp; empty: none is kept
  /// A part begins: what share of the time there is, is gone, with what an earlier process has measured, and what is
  /// left.
  std::function<void(double share, Seconds left, const std::string& what)> progress;
  /// The journal has parts of an earlier process.
  std::function<void(std::size_t known, std::size_t parts)> resumes;
};

struct HostMeasurement {
  Calibration calibration;
  HostFit fit;
  std::vector<HostSample> samples;
  runtime::MachineIdentity machine;
  Bytes memory;
  std::string date;  ///< when it began
};

/// Measures caches, computing and messages, part by part (schedule.hpp), and fits them. What the journal has is not
/// measured again; the calibration is a function of what is in it at the end, and of the seed.
///
/// Under a launcher every process calls it, and only messages among all processes are measured: computing must be known
/// already, because processes that wait for the one that computes would disturb it.
///
/// @return nothing where `leads` is false
/// @throws Error{invalid_input} under a launcher if nothing is known
/// @throws Error{unhealthy} if the budget is too small for three repetitions of every probe: the message says how much
///         is enough
/// @throws Error as plan::parse_scenario, plan::make_plan, MeasurementJournal and the runtime do; finished parts are in
///         the journal then
std::optional<HostMeasurement> measure_host(const MeasureOptions& options);

}  // namespace foretoken::calibrate
