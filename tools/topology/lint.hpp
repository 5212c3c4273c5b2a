// What is suspicious about a topology that can be read: not wrong, but rarely meant.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/calibration.hpp"
#include "core/device_spec.hpp"
#include "plan/machine/machine.hpp"
#include "plan/machine/topology.hpp"
#include "plan/scenario/scenario.hpp"

namespace foretoken::topology {

struct Finding {
  std::string file;     // "": the topology's own
  std::string pointer;  // RFC 6901, to what is suspicious
  std::string what;     // was found, with its numbers
  std::string why;      // that is suspicious, and what may have been meant
};

/// What a topology is held against beside itself. Nothing: then that is not looked at.
struct LintBeside {
  std::optional<Calibration> calibration;  // that the file names
  std::optional<DeviceSpec> datasheet;     // the shipped one of the device's name
  std::optional<plan::Scenario> scenario;  // whose faults are to hit this machine
};

/// In the order of the file: node, fabric, device, calibration, faults. Where one kind of finding repeats, the first
/// few of it and their number.
std::vector<Finding> lint(const plan::Topology& topology, const plan::Machine& machine, const LintBeside& beside);

}  // namespace foretoken::topology
