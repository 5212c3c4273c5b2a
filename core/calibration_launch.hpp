// What it takes to launch kernels on a GPU, beyond what a kernel's calibrated time has in it.
//
// Optional in a calibration of GPUs; without it the defaults below hold, which nobody measured on the machine:
// `assumed`. A scenario chooses between the two ways, and may say its own numbers.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "core/json_reader.hpp"
#include "core/provenance.hpp"
#include "core/units.hpp"

namespace foretoken {

/// Launches one after the other of 900 million kernels still end within the time that can be counted, 2^63 ps; a
/// simulation has at most 50 million (sim::SimulateOptions::executions_max).
inline constexpr Seconds kLaunchMax(10e-3);

/// One way of launching.
struct LaunchCosts {
  Seconds launch{};  ///< of the host's thread, for each launch
  Seconds gap{};     ///< on the GPU, from the end of what a kernel waits for to its begin
  bool operator==(const LaunchCosts&) const = default;
};

/// Sources of the defaults:
///   graph.launch  3.5 us of the CPU for a graph of 80 kernels: documentation of CUDA.jl, cuda.juliagpu.org, "Graphs"
///   eager.launch  5 us: the lower end of "usually, the launch time on the CPU side is between 5-20 microseconds",
///                 github.com/facebookresearch/HolisticTraceAnalysis, CUDA kernel launch statistics
///   gaps          none: calibrated kernels were repeated back to back, so their times include the gap to the next one
struct LaunchCalibration {
  LaunchCosts graph{Seconds(3.5e-6), Seconds(0)};  ///< a step's kernels captured: one launch per step
  LaunchCosts eager{Seconds(5e-6), Seconds(0)};    ///< one launch per kernel
  Provenance provenance = Provenance::assumed;
  std::string source;  ///< id of an entry of Calibration::sources; empty: the defaults above

  bool operator==(const LaunchCalibration&) const = default;
};

/// Reads the object at `place`; every member is required.
/// @throws Error{invalid_input} on a missing or unknown key, or a time outside [0, kLaunchMax]
LaunchCalibration read_launch_calibration(const JsonReader& place);
nlohmann::json to_json(const LaunchCalibration& launch);

}  // namespace foretoken
