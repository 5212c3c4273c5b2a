// Which machine this is: goes with every measured result.
#pragma once

#include <cstdint>

#include "runtime/run.hpp"

namespace foretoken::runtime {

/// Reads the system; `mpi` stays empty.
MachineIdentity this_machine();

/// Cores that the threads of this process may run on: fewer than the computer has in a container or a batch job.
std::int64_t usable_cores();

/// Core time since the computer was started, in ticks of the kernel's clock, idle and in all; zeros where the system
/// does not tell.
struct CoreTime {
  std::int64_t idle = 0;
  std::int64_t all = 0;
};
CoreTime core_time();

}  // namespace foretoken::runtime
