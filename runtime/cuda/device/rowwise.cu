// Norms, additions, activations, sampling: one pass over rows, bound by memory.
#include <type_traits>

#include "runtime/cuda/device/cuda_check.hpp"
#include "runtime/cuda/device/device_math.cuh"
#include "runtime/cuda/device/kernels.hpp"
#include "runtime/cuda/top_k.hpp"

namespace foretoken::runtime::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr float kNormEpsilon = 1e-5F;

// A block per row. The sum goes through memory: the second pass finds it in the L1 cache.
template <class T, int N, bool Residual>
__global__ void norm_kernel(std::int64_t cols, const T* x, const T* addend, const T* weight, T* sum, T* out) {
  using P = Pack<T, N>;
  __shared__ float shared[kThreads / kWarp];
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * (cols / N);
  const P* const in = reinterpret_cast<const P*>(x) + row;
  P* const summed = reinterpret_cast<P*>(sum) + row;
  float squares = 0;
  for (std::int64_t i = threadIdx.x; i < cols / N; i += kThreads) {
    P values = in[i];
    if constexpr (Residual) {
      const P more = reinterpret_cast<const P*>(addend)[row + i];
      for (int j = 0; j < N; ++j) values.at[j] = from_float<T>(to_float(values.at[j]) + to_float(more.at[j]));
      summed[i] = values;
    }
    for (int j = 0; j < N; ++j) squares += to_float(values.at[j]) * to_float(values.at[j]);
  }
  const float factor = rsqrtf(block_sum(squares, shared) / static_cast<float>(cols) + kNormEpsilon);
  // A thread reads what it has written itself.
  const P* const source = Residual ? summed : in;
  for (std::int64_t i = threadIdx.x; i < cols / N; i += kThreads) {
    const P values = source[i];
    const P weights = reinterpret_cast<const P*>(weight)[i];
    P result;
    for (int j = 0; j < N; ++j) result.at[j] = from_float<T>(to_float(values.at[j]) * factor * to_float(weights.at[j]));
    reinterpret_cast<P*>(out)[row + i] = result;
  }
}

template <bool Residual>
void queue_norm(Queue queue, std::int64_t rows, std::int64_t cols, const void* x, const void* addend,
                const void* weight, void* sum, void* out) {
  if (rows == 0) return;
  with_element(queue.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_pack<T>(cols, [&](auto pack) {
      norm_kernel<T, decltype(pack)::value, Residual><<<static_cast<unsigned>(rows), kThreads, 0, queue.stream>>>(
          cols, static_cast<const T*>(x), static_cast<const T*>(addend), static_cast<const T*>(weight),
          static_cast<T*>(sum), static_cast<T*>(out));
    });
  });
  check_launch("norm");
}

template <class T, int N>
__global__ void add_kernel(std::int64_t packs, const Pack<T, N>* a, const Pack<T, N>* b, Pack<T, N>* out) {
  for (std::int64_t i = grid_thread(); i < packs; i += grid_threads()) {
    const Pack<T, N> left = a[i];
    const Pack<T, N> right = b[i];
    Pack<T, N> sum;
    for (int j = 0; j < N; ++j) sum.at[j] = from_float<T>(to_float(left.at[j]) + to_float(right.at[j]));
    out[i] = sum;
  }
}

template <Activation Kind>
__device__ float activated(float x) {
  if constexpr (Kind == Activation::silu) return x / (1.0F + expf(-x));
  else return 0.5F * x * (1.0F + erff(x * 0.70710678F));
}

// `packs` per row of the output; a gated row has its gates and then as many ups in.
template <class T, int N, Activation Kind, bool Gated>
__global__ void activation_kernel(Rows rows, std::int64_t packs, const Pack<T, N>* in, Pack<T, N>* out) {
  const std::int64_t count = rows.here() * packs;
  for (std::int64_t i = grid_thread(); i < count; i += grid_threads()) {
    const std::int64_t gate = Gated ? i / packs * 2 * packs + i % packs : i;
    Pack<T, N> values = in[gate];
    Pack<T, N> up{};
    if constexpr (Gated) up = in[gate + packs];
    for (int j = 0; j < N; ++j) {
      const float value = activated<Kind>(to_float(values.at[j]));
      values.at[j] = from_float<T>(Gated ? value * to_float(up.at[j]) : value);
    }
    out[i] = values;
  }
}

template <Activation Kind, bool Gated>
void queue_activation(Queue queue, Rows rows, std::int64_t cols, const void* in, void* out) {
  with_element(queue.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_pack<T>(cols, [&](auto pack) {
      constexpr int n = decltype(pack)::value;
      using P = Pack<T, n>;
      activation_kernel<T, n, Kind, Gated><<<blocks_for(rows.most * cols / n, kThreads), kThreads, 0, queue.stream>>>(
          rows, cols / n, static_cast<const P*>(in), static_cast<P*>(out));
    });
  });
}

// A block per row: every thread its own best, then those of the warps.
template <class T>
__global__ void sample_kernel(std::int64_t cols, const T* in, std::int32_t* tokens) {
  __shared__ Scored shared[kThreads / kWarp];
  const T* const row = in + blockIdx.x * cols;
  Scored best;
  for (auto i = static_cast<std::int32_t>(threadIdx.x); i < cols; i += static_cast<std::int32_t>(kThreads))
    best = first_of(best, {to_float(row[i]), i});
  for (int step = kWarp / 2; step > 0; step /= 2)
    best = first_of(best, {__shfl_xor_sync(kAllLanes, best.value, step), __shfl_xor_sync(kAllLanes, best.index, step)});
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = best;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (unsigned warp = 1; warp < kThreads / kWarp; ++warp) best = first_of(best, shared[warp]);
  tokens[blockIdx.x] = best.index;
}

}  // namespace

void norm(Queue queue, std::int64_t rows, std::int64_t cols, const void* x, const void* weight, void* out) {
  queue_norm<false>(queue, rows, cols, x, nullptr, weight, nullptr, out);
}

void residual_norm(Queue queue, std::int64_t rows, std::int64_t cols, const void* x, const void* addend,
                   const void* weight, void* sum, void* out) {
  queue_norm<true>(queue, rows, cols, x, addend, weight, sum, out);
}

void add(Queue queue, std::int64_t count, const void* a, const void* b, void* out) {
  if (count == 0) return;
  with_element(queue.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_pack<T>(count, [&](auto pack) {
      constexpr int n = decltype(pack)::value;
      using P = Pack<T, n>;
      add_kernel<T, n><<<blocks_for(count / n, kThreads), kThreads, 0, queue.stream>>>(
          count / n, static_cast<const P*>(a), static_cast<const P*>(b), static_cast<P*>(out));
    });
  });
  check_launch("add");
}

void activation(Queue queue, Activation kind, Rows rows, std::int64_t cols, bool gated, const void* in, void* out) {
  if (rows.most == 0) return;
  if (kind == Activation::silu) {
    if (gated) queue_activation<Activation::silu, true>(queue, rows, cols, in, out);
    else queue_activation<Activation::silu, false>(queue, rows, cols, in, out);
  } else {
    if (gated) queue_activation<Activation::gelu, true>(queue, rows, cols, in, out);
    else queue_activation<Activation::gelu, false>(queue, rows, cols, in, out);
  }
  check_launch("activation");
}

void sample(Queue queue, std::int64_t rows, std::int64_t cols, const void* in, std::int32_t* tokens) {
  if (rows == 0) return;
  with_element(queue.dtype, [&](auto zero) {
    using T = decltype(zero);
    sample_kernel<T>
        <<<static_cast<unsigned>(rows), kThreads, 0, queue.stream>>>(cols, static_cast<const T*>(in), tokens);
  });
  check_launch("sample");
}

}  // namespace foretoken::runtime::cuda
