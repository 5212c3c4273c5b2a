// What a rank's device has to hold: weights, KV cache, and the activations and buffers that live at once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/units.hpp"
#include "plan/placement.hpp"
#include "plan/program/program.hpp"
#include "plan/scenario/scenario.hpp"

namespace foretoken::plan {

/// Sizes in bytes as doubles: absurd scenarios must come out as "too much", not wrap around.
struct MemoryUse {
  double weights = 0;
  double kv_cache = 0;
  double activations = 0;  // peak over program order, received rows and other communication buffers included
  [[nodiscard]] double total() const { return weights + kv_cache + activations; }
};

/// Memory of one rank of the role. Messages by capacity count with all their slots while they are under way. Rows that
/// depend on routing are taken at balanced routing, rounded up; what a
/// framework keeps for itself (CUDA context, NCCL buffers, about 1 to 3 GB) is not counted.
MemoryUse memory_of(const Role& role, const Scenario& scenario, const Placement& placement);

/// One row per role: weights, KV cache, activations, total, and what the device has.
std::string memory_table(const Program& program, const std::vector<MemoryUse>& use, Bytes device_memory);

/// @throws Error{infeasible} with the table if a role does not fit
void check_memory(const Program& program, const Scenario& scenario, const Placement& placement,
                  const std::string& device, Bytes device_memory);

}  // namespace foretoken::plan
