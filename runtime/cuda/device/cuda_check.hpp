// Every CUDA call is checked.
#pragma once

#include <cuda_runtime_api.h>

namespace foretoken::runtime::cuda {

/// @throws Error{rank_failed} naming the call and CUDA's own words if `code` is not cudaSuccess
void check_cuda(cudaError_t code, const char* call);

/// For launches: what cudaGetLastError() says of the kernel that was just launched.
void check_launch(const char* kernel);

}  // namespace foretoken::runtime::cuda
