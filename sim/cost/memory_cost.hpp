// Element-wise kernels: norms, RoPE, activations, permutations.
#pragma once

#include "core/calibration_compute.hpp"
#include "sim/cost/estimate.hpp"

namespace foretoken::sim {

/// time = kernel floor + traffic / measured copy bandwidth.
///
/// @param traffic bytes read and written together, >= 0; zero takes no time
/// Provenance: `assumed`. The floor and the copy bandwidth are measured; that these kernels reach them is not.
/// Limits: small operands that the kernel before has left in L2 move faster than this says, by less than the floor.
Estimate memory_bound(const MemoryFit& fit, Bytes traffic);

}  // namespace foretoken::sim
