// The commands that make calibrations, and look at them and at what they are made on.
#pragma once

#include <functional>
#include <iosfwd>

#include "tools/cli/advise_command.hpp"
#include "tools/cli/calibrate_cuda_command.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/doctor_live_command.hpp"

namespace CLI {
class App;
}

namespace foretoken::cli {

struct CalibrationCommands {
  DoctorOptions doctor;
  DoctorLiveOptions doctor_live;
  AdviseOptions advise;
  FitOptions fit;
  DeriveOptions derive;
  CalibrateHostOptions host;
  CalibrateCudaOptions cuda;
  CalibrateNetworkOptions network;
};

/// Adds them to the command line. Which was given is left in `chosen`, to be called after parsing.
void add_calibration_commands(CLI::App& app, CalibrationCommands& options, std::function<void()>& chosen,
                              std::ostream& out, std::ostream& err);

}  // namespace foretoken::cli
