// foretoken doctor --live: its options on the command line, and what it does.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <string>

#include "tools/cli/commands.hpp"

namespace CLI {
class App;
}

namespace foretoken::runtime {
struct HealthReadings;
}

namespace foretoken::cli {

struct DoctorLiveOptions {
  bool live = false;                  // --live: of this launch's ranks instead of a calibration
  std::string backend = "host";       // --backend: ranks are cores (host) or GPUs (cuda)
  std::filesystem::path scenario;     // --for: whose communications
  std::filesystem::path calibration;  // --calibration: what the computers should do
  std::filesystem::path topology;     // --topology; empty: the emulated one, if there is one
  double tolerance = 0.25;            // --tolerance
  std::int64_t steps = 3;             // --steps: of the communications
};

void add_doctor_live(CLI::App& doctor, DoctorLiveOptions& options);

/// `foretoken doctor`, with --live or without. With it every process of a launch calls it, and rank 0 reports.
/// @throws Error{unhealthy} if something looks wrong, after the report
void run_doctor(const DoctorOptions& options, const DoctorLiveOptions& live, std::ostream& out);

/// Rank 0's last part: what the readings show, printed.
/// @param ranks  of the launch
/// @throws Error{unhealthy} if something looks wrong, or of code 130 if it was interrupted, after the report
void report_live(const DoctorLiveOptions& live, bool json, std::int64_t ranks, runtime::HealthReadings readings,
                 std::ostream& out);

}  // namespace foretoken::cli
