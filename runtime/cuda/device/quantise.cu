// Weights and rows of activations in E4M3. The arithmetic: e4m3.hpp.
#include "runtime/cuda/device/cuda_check.hpp"
#include "runtime/cuda/device/device_math.cuh"
#include "runtime/cuda/device/kernels.hpp"
#include "runtime/cuda/e4m3.hpp"

namespace foretoken::runtime::cuda {
namespace {

constexpr unsigned kThreads = 256;

__global__ void e4m3_weight_kernel(std::int64_t count, PartIndex part, const std::int32_t* matrices, std::uint64_t key,
                                   std::uint8_t* out) {
  for (std::int64_t i = grid_thread(); i < count; i += grid_threads())
    out[i] = e4m3_weight_element(part, matrices, key, i);
}

// A block per row: its largest element, then its numbers.
template <class T, int N>
__global__ void quantise_kernel(std::int64_t packs, std::int64_t places, const std::int32_t* first_rows,
                                const Pack<T, N>* in, Pack<std::uint8_t, N>* out, float* scales) {
  __shared__ float shared[kThreads / kWarp];
  const std::int64_t row = blockIdx.x;
  const Pack<T, N>* const own = in + row * packs;
  float largest = 0;
  for (std::int64_t i = threadIdx.x; i < packs; i += kThreads) {
    const Pack<T, N> values = own[i];
    for (int n = 0; n < N; ++n) largest = fmaxf(largest, fabsf(to_float(values.at[n])));
  }
  const float scale = row_scale(block_max(largest, shared));
  for (std::int64_t i = threadIdx.x; i < packs; i += kThreads) {
    const Pack<T, N> values = own[i];
    Pack<std::uint8_t, N> codes;
    for (int n = 0; n < N; ++n) codes.at[n] = to_e4m3(to_float(values.at[n]) / scale);
    out[row * packs + i] = codes;
  }
  if (threadIdx.x != 0) return;
  const std::int64_t place = first_rows != nullptr ? place_of_row(first_rows, places, row) : 0;
  const std::int64_t first = first_rows != nullptr ? first_rows[place] : 0;
  scales[first_scale(place, first) + row - first] = scale;
}

}  // namespace

void fill_e4m3_weight(cudaStream_t stream, std::int64_t count, const PartIndex& part, const std::int32_t* matrices,
                      std::uint64_t key, std::uint8_t* out) {
  if (count == 0) return;
  e4m3_weight_kernel<<<blocks_for(count, kThreads), kThreads, 0, stream>>>(count, part, matrices, key, out);
  check_launch("draw");
}

void quantise_rows(Queue queue, std::int64_t rows, std::int64_t cols, std::int64_t places,
                   const std::int32_t* first_rows, const void* in, std::uint8_t* out, float* scales) {
  if (rows == 0) return;
  with_element(queue.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_pack<T>(cols, [&](auto pack) {
      constexpr int n = decltype(pack)::value;
      quantise_kernel<T, n><<<static_cast<unsigned>(rows), kThreads, 0, queue.stream>>>(
          cols / n, places, first_rows, static_cast<const Pack<T, n>*>(in),
          reinterpret_cast<Pack<std::uint8_t, n>*>(out), scales);
    });
  });
  check_launch("rows quantised");
}

}  // namespace foretoken::runtime::cuda
