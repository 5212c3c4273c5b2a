// The GPU of this process: found, checked, described.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/cuda/device_layout.hpp"
#include "runtime/cuda/run_cuda.hpp"

namespace foretoken::runtime::cuda {

/// GPUs that this process can see: zero where there is no driver, or no GPU.
/// @param why  if not null and there is none: CUDA's own words
/// @throws Error{rank_failed} if CUDA fails otherwise
std::int64_t visible_gpus(std::string* why = nullptr);

/// Makes a GPU this process's own and describes it.
/// @throws Error{invalid_input} if there is none, or it is older than Hopper, which the kernels are built for
GpuRecord take_gpu(std::int64_t rank_on_node, bool gpus_shared);

/// Of the GPU that was taken.
DeviceMemory device_memory();

/// "CUDA 13.0 of the driver, 13.0 of the runtime"
std::string driver_version();

/// Whether FORETOKEN_SHARE_GPUS is set: ranks may share a GPU, to test communication where there are few.
bool gpus_may_be_shared();

}  // namespace foretoken::runtime::cuda
