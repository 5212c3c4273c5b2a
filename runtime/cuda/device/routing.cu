// The router behind its product, and what moves token rows: gather, scatter, slots, weighted sum. Their order:
// numbering.cu.
#include "runtime/cuda/device/cuda_check.hpp"
#include "runtime/cuda/device/device_math.cuh"
#include "runtime/cuda/device/kernels.hpp"
#include "runtime/cuda/row_order.hpp"
#include "runtime/cuda/top_k.hpp"

namespace foretoken::runtime::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr std::int64_t kTopKMax = kWarp;

// ---- route ---------------------------------------------------------------------------------------------------------

// A warp per row; lane j keeps choice j.
__global__ void route_kernel(std::int64_t rows, std::int32_t experts, std::int32_t top_k, const float* logits,
                             const std::int32_t* chosen, float* routes) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * (kThreads / kWarp) + threadIdx.x / kWarp;
  if (row >= rows) return;  // whole warps
  const auto lane = static_cast<std::int32_t>(threadIdx.x % kWarp);
  const float* const scores = logits + row * experts;
  Scored own;
  if (chosen != nullptr) {
    if (lane < top_k) {
      own.index = chosen[row * top_k + lane];
      own.value = scores[own.index];
    }
  } else {
    Scored last;
    for (std::int32_t choice = 0; choice < top_k; ++choice) {
      Scored best = best_after(scores, experts, lane, static_cast<std::int32_t>(kWarp), last);
      for (int step = kWarp / 2; step > 0; step /= 2)
        best = first_of(best,
                        {__shfl_xor_sync(kAllLanes, best.value, step), __shfl_xor_sync(kAllLanes, best.index, step)});
      last = best;
      if (lane == choice) own = best;
    }
  }
  float largest = lane < top_k ? own.value : -INFINITY;
  for (int step = kWarp / 2; step > 0; step /= 2) largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, step));
  const float weight = lane < top_k ? expf(own.value - largest) : 0;
  float sum = weight;
  for (int step = kWarp / 2; step > 0; step /= 2) sum += __shfl_xor_sync(kAllLanes, sum, step);
  if (lane >= top_k) return;
  routes[row * 2 * top_k + lane] = static_cast<float>(own.index);
  routes[row * 2 * top_k + top_k + lane] = weight / sum;
}

// ---- rows ----------------------------------------------------------------------------------------------------------

// Where row `row` of the shorter side stands on the other.
struct ByTable {
  const std::int32_t* table;
  __device__ std::int64_t operator()(std::int64_t row) const { return table[row]; }
};
struct BySlot {
  const std::int32_t* first_rows;
  Slots slots;
  __device__ std::int64_t operator()(std::int64_t row) const { return slot_of_row(first_rows, slots, row); }
};

// out row i = in row other(i), or the other way round.
template <class P, bool Scatter, class Other>
__global__ void move_rows_kernel(Rows rows, std::int64_t packs, Other other, const P* in, P* out) {
  const std::int64_t count = rows.here() * packs;
  for (std::int64_t i = grid_thread(); i < count; i += grid_threads()) {
    const std::int64_t far = other(i / packs) * packs + i % packs;
    if constexpr (Scatter) out[far] = in[i];
    else out[i] = in[far];
  }
}

template <bool Scatter, class Other>
void move_rows(Queue queue, Rows rows, std::int64_t cols, Other other, const void* in, void* out) {
  if (rows.most == 0) return;
  with_element(queue.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_pack<T>(cols, [&](auto pack) {
      constexpr int n = decltype(pack)::value;
      using P = Pack<T, n>;
      move_rows_kernel<P, Scatter><<<blocks_for(rows.most * cols / n, kThreads), kThreads, 0, queue.stream>>>(
          rows, cols / n, other, static_cast<const P*>(in), static_cast<P*>(out));
    });
  });
  check_launch("rows moved");
}

template <class T, int N>
__global__ void unpermute_kernel(std::int64_t tokens, std::int64_t packs, std::int64_t top_k, const Pack<T, N>* in,
                                 const float* routes, const std::int32_t* row_of, Pack<T, N>* out) {
  for (std::int64_t i = grid_thread(); i < tokens * packs; i += grid_threads()) {
    const std::int64_t token = i / packs;
    float sums[N] = {};
    for (std::int64_t choice = 0; choice < top_k; ++choice) {
      const std::int64_t row = row_of[token * top_k + choice];
      if (row < 0) continue;
      const float weight = routes[token * 2 * top_k + top_k + choice];
      const Pack<T, N> values = in[row * packs + i % packs];
      for (int j = 0; j < N; ++j) sums[j] += weight * to_float(values.at[j]);
    }
    Pack<T, N> result;
    for (int j = 0; j < N; ++j) result.at[j] = from_float<T>(sums[j]);
    out[i] = result;
  }
}

}  // namespace

void route(cudaStream_t stream, std::int64_t rows, std::int64_t experts, std::int64_t top_k, const float* logits,
           const std::int32_t* chosen, float* routes) {
  if (rows == 0) return;
  FORETOKEN_CHECK(top_k >= 1 && top_k <= kTopKMax && top_k <= experts, "a token has 1 to 32 experts");
  constexpr std::int64_t rows_per_block = kThreads / kWarp;
  route_kernel<<<static_cast<unsigned>((rows + rows_per_block - 1) / rows_per_block), kThreads, 0, stream>>>(
      rows, static_cast<std::int32_t>(experts), static_cast<std::int32_t>(top_k), logits, chosen, routes);
  check_launch("route");
}

void gather_rows(Queue queue, Rows rows, std::int64_t cols, const std::int32_t* sources, const void* in, void* out) {
  move_rows<false>(queue, rows, cols, ByTable{sources}, in, out);
}

void scatter_rows(Queue queue, Rows rows, std::int64_t cols, const std::int32_t* targets, const void* in, void* out) {
  move_rows<true>(queue, rows, cols, ByTable{targets}, in, out);
}

void spread_rows(Queue queue, Rows rows, std::int64_t cols, Slots slots, const std::int32_t* first_rows, const void* in,
                 void* out) {
  move_rows<true>(queue, rows, cols, BySlot{first_rows, slots}, in, out);
}

void collect_rows(Queue queue, Rows rows, std::int64_t cols, Slots slots, const std::int32_t* first_rows,
                  const void* in, void* out) {
  move_rows<false>(queue, rows, cols, BySlot{first_rows, slots}, in, out);
}

void unpermute(Queue queue, std::int64_t tokens, std::int64_t cols, std::int64_t top_k, const void* in,
               const float* routes, const std::int32_t* row_of, void* out) {
  if (tokens == 0) return;
  with_element(queue.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_pack<T>(cols, [&](auto pack) {
      constexpr int n = decltype(pack)::value;
      using P = Pack<T, n>;
      unpermute_kernel<T, n><<<blocks_for(tokens * cols / n, kThreads), kThreads, 0, queue.stream>>>(
          tokens, cols / n, top_k, static_cast<const P*>(in), routes, row_of, static_cast<P*>(out));
    });
  });
  check_launch("unpermute");
}

}  // namespace foretoken::runtime::cuda
