// Which machine this is: goes with every measured result.
#pragma once

#include "runtime/run.hpp"

namespace foretoken::runtime {

/// Reads the system; `mpi` stays empty.
MachineIdentity this_machine();

}  // namespace foretoken::runtime
