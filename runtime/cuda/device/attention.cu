// RoPE with KV append, split-KV decode attention, and the softmax of a causal prefill.
#include "runtime/cuda/device/cuda_check.hpp"
#include "runtime/cuda/device/device_math.cuh"
#include "runtime/cuda/device/kernels.hpp"
#include "runtime/cuda/split_kv.hpp"

namespace foretoken::runtime::cuda {
namespace {

// ---- RoPE and KV append --------------------------------------------------------------------------------------------

// A block per (sequence, head of q, k or v).
template <class T>
__global__ void rope_kv_kernel(AttentionShape shape, const float* cos, const float* sin, const T* qkv, T* q, T* kv) {
  const std::int64_t heads = shape.heads + 2 * shape.kv_heads;
  const std::int64_t sequence = blockIdx.x / heads;
  const std::int64_t head = blockIdx.x % heads;
  const std::int64_t dim = shape.head_dim;
  const std::int64_t half = dim / 2;
  const T* const in = qkv + (sequence * heads + head) * dim;
  // k and v stand in the cache's row as they do in qkv: behind one another.
  T* const appended = kv + ((sequence + 1) * shape.context - 1) * 2 * shape.kv_heads * dim;
  T* const out = head < shape.heads ? q + (sequence * shape.heads + head) * dim : appended + (head - shape.heads) * dim;
  const bool rotates = head < shape.heads + shape.kv_heads;
  for (std::int64_t i = threadIdx.x; i < dim; i += blockDim.x) {
    const bool pairs = rotates && i < 2 * half;  // the last of an odd head_dim stays
    if (!pairs) {
      out[i] = in[i];
      continue;
    }
    const std::int64_t angle = i % half;
    const float a = to_float(in[angle]);
    const float b = to_float(in[angle + half]);
    out[i] = from_float<T>(i < half ? a * cos[angle] - b * sin[angle] : a * sin[angle] + b * cos[angle]);
  }
}

// ---- split-KV decode -----------------------------------------------------------------------------------------------

constexpr int kElements = 8;    // of a head, per lane
constexpr unsigned kTeams = 4;  // warps
constexpr unsigned kDecodeThreads = kTeams * kWarp;

// kElements of a row that begin at `first`, zeros behind its end.
template <class T, bool Aligned>
__device__ void load(const T* row, std::int64_t first, std::int64_t dim, float* out) {
  if constexpr (Aligned) {
    constexpr int n = kPack<T>;
    if (first < dim) {
      for (int p = 0; p < kElements / n; ++p) {
        const Pack<T, n> pack = reinterpret_cast<const Pack<T, n>*>(row + first)[p];
        for (int j = 0; j < n; ++j) out[p * n + j] = to_float(pack.at[j]);
      }
      return;
    }
    for (int j = 0; j < kElements; ++j) out[j] = 0;
  } else {
    for (int j = 0; j < kElements; ++j) out[j] = first + j < dim ? to_float(row[first + j]) : 0;
  }
}

// A block per (sequence, KV head, up to G of its query heads, split). A warp holds 32 / Lanes rows of the cache at a
// time: a team of Lanes lanes reads one row, kElements each, once for all G heads.
template <class T, int G, int Lanes, bool Aligned>
__global__ void __launch_bounds__(kDecodeThreads)
    decode_kernel(AttentionShape shape, std::int64_t splits, const T* q, const T* kv, T* out, float* room) {
  constexpr unsigned teams = kDecodeThreads / Lanes;
  const std::int64_t dim = shape.head_dim;
  const std::int64_t group = shape.heads / shape.kv_heads;
  const std::int64_t parts = (group + G - 1) / G;
  std::int64_t block = blockIdx.x;
  const std::int64_t split = block % splits;
  block /= splits;
  const std::int64_t first_in_group = block % parts * G;
  block /= parts;
  const std::int64_t kv_head = block % shape.kv_heads;
  const std::int64_t sequence = block / shape.kv_heads;
  const std::int64_t first_head = kv_head * group + first_in_group;
  const auto heads = static_cast<int>(group - first_in_group < G ? group - first_in_group : G);

  const unsigned team = threadIdx.x / Lanes;
  const std::int64_t first = static_cast<std::int64_t>(threadIdx.x % Lanes) * kElements;
  const float scale = rsqrtf(static_cast<float>(dim));
  float query[G][kElements];
  float sums[G][kElements];
  SoftmaxPart softmax[G];
  for (int g = 0; g < G; ++g) {
    const T* const row = q + (sequence * shape.heads + first_head + (g < heads ? g : 0)) * dim;
    load<T, Aligned>(row, first, dim, query[g]);
    for (int j = 0; j < kElements; ++j) sums[g][j] = 0;
  }

  const std::int64_t row_size = 2 * shape.kv_heads * dim;
  const T* const keys = kv + sequence * shape.context * row_size + kv_head * dim;
  const Positions range = kv_range(shape.context, splits, split);
  // All lanes of a warp make the same number of rounds, as they exchange their products; rounds behind the end count
  // for nothing.
  const std::int64_t rounds = (range.end - range.begin + teams - 1) / teams;
  for (std::int64_t round = 0; round < rounds; ++round) {
    const std::int64_t position = range.begin + round * teams + team;
    const bool there = position < range.end;
    const T* const row = keys + (there ? position : range.begin) * row_size;
    float key[kElements];
    float value[kElements];
    load<T, Aligned>(row, first, dim, key);
    load<T, Aligned>(row + shape.kv_heads * dim, first, dim, value);
    for (int g = 0; g < G; ++g) {
      float score = 0;
      for (int j = 0; j < kElements; ++j) score += query[g][j] * key[j];
      for (int step = Lanes / 2; step > 0; step /= 2) score += __shfl_xor_sync(kAllLanes, score, step);
      if (!there) continue;
      const MergeFactors factors = merge(softmax[g], part_of_score(score * scale));
      for (int j = 0; j < kElements; ++j) sums[g][j] = factors.first * sums[g][j] + factors.second * value[j];
    }
  }

  // Teams merge in their order, head by head, through shared memory.
  __shared__ float values[teams][Lanes * kElements];
  __shared__ SoftmaxPart softmaxes[teams];
  for (int g = 0; g < heads; ++g) {
    for (int j = 0; j < kElements; ++j) values[team][first + j] = sums[g][j];
    if (threadIdx.x % Lanes == 0) softmaxes[team] = softmax[g];
    __syncthreads();
    for (std::int64_t i = threadIdx.x; i < dim; i += kDecodeThreads) {
      SoftmaxPart all = softmaxes[0];
      float sum = values[0][i];
      for (unsigned t = 1; t < teams; ++t) {
        const MergeFactors factors = merge(all, softmaxes[t]);
        sum = factors.first * sum + factors.second * values[t][i];
      }
      const std::int64_t head = sequence * shape.heads + first_head + g;
      if (splits == 1) {
        out[head * dim + i] = from_float<T>(sum / all.sum);
      } else {
        float* const part = room + (head * splits + split) * (dim + 2);
        if (i == 0) {
          part[0] = all.largest;
          part[1] = all.sum;
        }
        part[2 + i] = sum;
      }
    }
    __syncthreads();
  }
}

// A block per (sequence, head): its splits, in their order.
template <class T>
__global__ void merge_kernel(std::int64_t dim, std::int64_t splits, const float* room, T* out) {
  const float* const parts = room + blockIdx.x * splits * (dim + 2);
  for (std::int64_t i = threadIdx.x; i < dim; i += blockDim.x) {
    SoftmaxPart all{parts[0], parts[1]};
    float sum = parts[2 + i];
    for (std::int64_t split = 1; split < splits; ++split) {
      const float* const part = parts + split * (dim + 2);
      const MergeFactors factors = merge(all, {part[0], part[1]});
      sum = factors.first * sum + factors.second * part[2 + i];
    }
    out[blockIdx.x * dim + i] = from_float<T>(sum / all.sum);
  }
}

template <class T, int G, int Lanes>
void queue_decode(cudaStream_t stream, const AttentionShape& shape, std::int64_t splits, const T* q, const T* kv,
                  T* out, float* room) {
  const std::int64_t group = shape.heads / shape.kv_heads;
  const auto blocks = static_cast<unsigned>(shape.sequences * shape.kv_heads * ((group + G - 1) / G) * splits);
  if (shape.head_dim % kElements == 0)
    decode_kernel<T, G, Lanes, true><<<blocks, kDecodeThreads, 0, stream>>>(shape, splits, q, kv, out, room);
  else decode_kernel<T, G, Lanes, false><<<blocks, kDecodeThreads, 0, stream>>>(shape, splits, q, kv, out, room);
}

template <class T, int G>
void queue_decode_of(cudaStream_t stream, const AttentionShape& shape, std::int64_t splits, const T* q, const T* kv,
                     T* out, float* room) {
  if (shape.head_dim <= 8 * kElements) queue_decode<T, G, 8>(stream, shape, splits, q, kv, out, room);
  else if (shape.head_dim <= 16 * kElements) queue_decode<T, G, 16>(stream, shape, splits, q, kv, out, room);
  else queue_decode<T, G, 32>(stream, shape, splits, q, kv, out, room);
}

// ---- prefill -------------------------------------------------------------------------------------------------------

constexpr unsigned kSoftmaxThreads = 256;

// A block per row of a matrix of scores.
template <class T>
__global__ void causal_softmax_kernel(std::int64_t rows, std::int64_t cols, float scale, T* scores) {
  __shared__ float shared[kSoftmaxThreads / kWarp];
  T* const row = scores + blockIdx.x * cols;
  const std::int64_t seen = blockIdx.x % rows + cols - rows + 1;
  float largest = -INFINITY;
  for (std::int64_t i = threadIdx.x; i < seen; i += kSoftmaxThreads) largest = fmaxf(largest, to_float(row[i]));
  largest = block_max(largest, shared);
  float sum = 0;
  for (std::int64_t i = threadIdx.x; i < seen; i += kSoftmaxThreads) sum += expf((to_float(row[i]) - largest) * scale);
  sum = block_sum(sum, shared);
  for (std::int64_t i = threadIdx.x; i < cols; i += kSoftmaxThreads)
    row[i] = from_float<T>(i < seen ? expf((to_float(row[i]) - largest) * scale) / sum : 0);
}

}  // namespace

void rope_kv(Queue queue, const AttentionShape& shape, const float* cos, const float* sin, const void* qkv, void* q,
             void* kv) {
  if (shape.sequences == 0) return;
  with_element(queue.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto blocks = static_cast<unsigned>(shape.sequences * (shape.heads + 2 * shape.kv_heads));
    rope_kv_kernel<T><<<blocks, 64, 0, queue.stream>>>(shape, cos, sin, static_cast<const T*>(qkv), static_cast<T*>(q),
                                                       static_cast<T*>(kv));
  });
  check_launch("rope_kv");
}

void decode_attention(Queue queue, const AttentionShape& shape, std::int64_t splits, const void* q, const void* kv,
                      void* out, float* room) {
  if (shape.sequences == 0) return;
  FORETOKEN_CHECK(shape.head_dim <= kHeadDimMax, "heads of more than 256 elements");
  FORETOKEN_CHECK(splits >= 1 && splits <= shape.context, "more splits than positions");
  const std::int64_t group = shape.heads / shape.kv_heads;
  with_element(queue.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto run = [&](auto heads) {
      queue_decode_of<T, decltype(heads)::value>(queue.stream, shape, splits, static_cast<const T*>(q),
                                                 static_cast<const T*>(kv), static_cast<T*>(out), room);
    };
    if (group == 1) run(std::integral_constant<int, 1>{});
    else if (group <= 4) run(std::integral_constant<int, 4>{});
    else run(std::integral_constant<int, kHeadsPerBlockMax>{});
    check_launch("decode_attention");
    if (splits == 1) return;
    merge_kernel<T><<<static_cast<unsigned>(shape.sequences * shape.heads), 128, 0, queue.stream>>>(
        shape.head_dim, splits, room, static_cast<T*>(out));
  });
  check_launch("decode_attention's merge");
}

void causal_softmax(Queue queue, std::int64_t matrices, std::int64_t rows, std::int64_t cols, std::int64_t head_dim,
                    void* scores) {
  if (matrices * rows == 0) return;
  FORETOKEN_CHECK(rows <= cols, "more queries than keys");
  with_element(queue.dtype, [&](auto zero) {
    using T = decltype(zero);
    causal_softmax_kernel<T><<<static_cast<unsigned>(matrices * rows), kSoftmaxThreads, 0, queue.stream>>>(
        rows, cols, 1.0F / sqrtf(static_cast<float>(head_dim)), static_cast<T*>(scores));
  });
  check_launch("causal_softmax");
}

}  // namespace foretoken::runtime::cuda
