// Which machine this is: goes with every measured result.
#pragma once

#include <cstdint>

#include "runtime/run.hpp"

namespace foretoken::runtime {

/// Reads the system; `mpi` stays empty.
MachineIdentity this_machine();

/// Cores that the threads of this process may run on: fewer than the computer has in a container or a batch job.
std::int64_t usable_cores();

}  // namespace foretoken::runtime
