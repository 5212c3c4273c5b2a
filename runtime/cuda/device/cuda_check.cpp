#include "runtime/cuda/device/cuda_check.hpp"

#include <fmt/format.h>

#include "core/error.hpp"

namespace foretoken::runtime::cuda {

void check_cuda(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return;
  throw Error(ErrorCode::rank_failed,
              fmt::format("{} failed: {} ({})", call, cudaGetErrorString(code), cudaGetErrorName(code)));
}

void check_launch(const char* kernel) { check_cuda(cudaGetLastError(), kernel); }

}  // namespace foretoken::runtime::cuda
