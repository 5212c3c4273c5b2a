// When the host has launched a rank's kernels: its thread is a resource that does one launch after the other.
//
//   one graph per step   launched = host free + launch                       for every kernel of the step
//   one by one           launched = host free + (kernels before it + 1) launch    in program order, over all streams
//
// The host is free for a step when it has launched the step before; if it waits for steps, not before that step has
// ended on its rank. It is never held up otherwise: the queue of launches has no end.
//
// A kernel is posted at max(launched, end of what it waits for + gap). `input` and `step_end` are marks, not kernels:
// nobody launches them.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/calibration_launch.hpp"
#include "plan/program/program.hpp"
#include "sim/program_index.hpp"

namespace foretoken::sim {

struct LaunchModel {
  LaunchCosts costs;
  bool one_by_one = false;  // else a step at once
  bool host_waits = false;  // for the end of a step, before it launches the next
};

class Launches {
 public:
  /// The program is kept by reference.
  Launches(const plan::Program& program, const LaunchModel& model);

  /// When an op can be posted that waits for nothing after `ready`; nothing if the host has not come to its step.
  [[nodiscard]] std::optional<SimTime> posted(const Execution& execution, SimTime ready) const;

  /// An op has ended. @return whether its rank's host now goes on to the next step
  bool ended(const Execution& execution, SimTime now);

 private:
  struct Host {
    std::int32_t step = 0;   // being launched, if it waits for steps
    SimTime begun{0};        // that step's launching
    std::int64_t ended = 0;  // kernels of that step
  };

  LaunchModel model_;
  const plan::Program& program_;
  SimTime launch_;
  SimTime gap_;
  std::vector<std::vector<std::int32_t>> number_;  // [role][op] launches of its step up to it, 0 for a mark
  std::vector<std::int64_t> per_step_;             // [role] launches
  std::vector<std::int64_t> kernels_;              // [role] of a step
  std::vector<Host> hosts_;                        // [rank]
};

}  // namespace foretoken::sim
