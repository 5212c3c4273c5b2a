// FLOPs and memory traffic of an op, each formula once.
#pragma once

#include <cstdint>

#include "core/units.hpp"
#include "plan/program/program.hpp"

namespace foretoken::plan {

/// What an op does with its rows known.
struct Work {
  Flops flops;
  Bytes traffic;  // reads and writes of device memory if nothing stays in a cache
};

/// @param op    a compute op (not communication)
/// @param rows  rows of the op's extent on this rank in this step; ignored where the extent is fixed
/// @param active_experts  experts with at least one row (grouped_gemm): only their weights are read
Work work_of(const Op& op, std::int64_t rows, std::int64_t active_experts);

}  // namespace foretoken::plan
