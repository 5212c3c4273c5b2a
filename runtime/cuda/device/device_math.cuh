// What kernels share: element types, vector loads, reductions over a warp and a block.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "core/dtype.hpp"
#include "core/error.hpp"

namespace foretoken::runtime::cuda {

constexpr unsigned kWarp = 32;
constexpr unsigned kAllLanes = 0xFFFFFFFFU;

/// Calls body with a value of the element type: with_element(queue.dtype, [&](auto zero) { using T = decltype(zero); …
/// }).
template <class Body>
void with_element(DType dtype, const Body& body) {
  switch (dtype) {
    case DType::fp32: body(float{}); return;
    case DType::fp16: body(__half{}); return;
    case DType::bf16: body(__nv_bfloat16{}); return;
    case DType::fp8:
    case DType::int32: break;
  }
  FORETOKEN_CHECK(false, "no kernels for this element type");
}

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(__half x) { return __half2float(x); }
__device__ inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
template <class T>
__device__ T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) {
  return x;
}
template <>
__device__ inline __half from_float<__half>(float x) {
  return __float2half_rn(x);
}
template <>
__device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}

/// N elements that are loaded and stored at once.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T at[N];
};

/// Elements in 16 bytes: what a thread loads at once where rows allow it.
template <class T>
constexpr int kPack = static_cast<int>(16 / sizeof(T));

/// Calls body with the number of elements per load as a type: kPack where rows of `cols` elements stay aligned, else 1.
template <class T, class Body>
void with_pack(std::int64_t cols, const Body& body) {
  if (cols % kPack<T> == 0) body(std::integral_constant<int, kPack<T>>{});
  else body(std::integral_constant<int, 1>{});
}

/// Sum over the block, the same in every thread. @param shared room for a number per warp
__device__ inline float block_sum(float value, float* shared) {
  for (unsigned step = kWarp / 2; step > 0; step /= 2)
    value += __shfl_xor_sync(kAllLanes, value, static_cast<int>(step));
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = value;
  __syncthreads();
  float sum = 0;
  for (unsigned warp = 0; warp < blockDim.x / kWarp; ++warp) sum += shared[warp];
  __syncthreads();
  return sum;
}

__device__ inline float block_max(float value, float* shared) {
  for (unsigned step = kWarp / 2; step > 0; step /= 2)
    value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, static_cast<int>(step)));
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = value;
  __syncthreads();
  float largest = shared[0];
  for (unsigned warp = 1; warp < blockDim.x / kWarp; ++warp) largest = fmaxf(largest, shared[warp]);
  __syncthreads();
  return largest;
}

/// Blocks of `threads` for `count` items in a grid-stride loop.
inline unsigned blocks_for(std::int64_t count, unsigned threads) {
  constexpr std::int64_t most = 132 * 16;
  const std::int64_t blocks = (count + threads - 1) / threads;
  return static_cast<unsigned>(blocks < most ? blocks : most);
}

/// Index of this thread, and the number of all, for grid-stride loops.
__device__ inline std::int64_t grid_thread() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline std::int64_t grid_threads() { return static_cast<std::int64_t>(gridDim.x) * blockDim.x; }

}  // namespace foretoken::runtime::cuda
