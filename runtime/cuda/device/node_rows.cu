// What moves and adds up the rows of tokens that go once per node. The arithmetic: once_per_node.hpp.
#include "runtime/cuda/device/cuda_check.hpp"
#include "runtime/cuda/device/device_math.cuh"
#include "runtime/cuda/device/kernels.hpp"
#include "runtime/cuda/once_per_node.hpp"

namespace foretoken::runtime::cuda {
namespace {

constexpr unsigned kThreads = 256;

// Copies need no element type. Calls body with a value of the widest word in which rows of all these sizes stay
// aligned; elements have at least two bytes.
template <class Body>
void with_word(std::int64_t bytes, std::int64_t more_bytes, const Body& body) {
  const std::int64_t both = bytes | more_bytes;
  if (both % 16 == 0) body(uint4{});
  else if (both % 8 == 0) body(uint2{});
  else if (both % 4 == 0) body(unsigned{});
  else if (both % 2 == 0) body(static_cast<unsigned short>(0));
  else FORETOKEN_CHECK(false, "rows of single bytes");
}

template <class Word>
__device__ Word* words_of(std::byte* row) {
  return reinterpret_cast<Word*>(row);
}
template <class Word>
__device__ const Word* words_of(const std::byte* row) {
  return reinterpret_cast<const Word*>(row);
}

// A thread copies a word of the hidden columns or puts a weight behind them.
template <class Word>
__global__ void pack_kernel(std::int64_t rows, NodeRow shape, const std::int32_t* tokens, const Word* in,
                            const float* routes, std::byte* out) {
  const std::int64_t words = shape.hidden_bytes / static_cast<std::int64_t>(sizeof(Word));
  const std::int64_t parts = words + shape.top_k;
  for (std::int64_t i = grid_thread(); i < rows * parts; i += grid_threads()) {
    const std::int64_t part = i % parts;
    const std::int64_t token = tokens[i / parts];
    std::byte* const row = out + i / parts * shape.bytes();
    if (part < words) words_of<Word>(row)[part] = in[token * words + part];
    else put_weight(shape, row, part - words, routes[(2 * token + 1) * shape.top_k + part - words]);
  }
}

template <class Word>
__global__ void pass_kernel(std::int64_t rows, std::int64_t words, const std::int32_t* visitors, const Word* in,
                            Word* out) {
  for (std::int64_t i = grid_thread(); i < rows * words; i += grid_threads())
    out[i] = in[visitors[i / words] * words + i % words];
}

template <class Word>
__global__ void use_kernel(std::int64_t rows, NodeRow shape, const std::int32_t* visitors, const std::int32_t* choices,
                           const std::byte* in, Word* out, float* weights) {
  const std::int64_t words = shape.hidden_bytes / static_cast<std::int64_t>(sizeof(Word));
  const std::int64_t parts = words + 1;
  for (std::int64_t i = grid_thread(); i < rows * parts; i += grid_threads()) {
    const std::int64_t part = i % parts;
    const std::int64_t row = i / parts;
    const std::byte* const visitor = in + visitors[row] * shape.bytes();
    if (part < words) out[row * words + part] = words_of<Word>(visitor)[part];
    else weights[row] = weight_at(shape, visitor, choices[row]);
  }
}

template <class T, int N>
struct AddExpert {
  const Pack<T, N>* rows;
  const float* weights;
  std::int64_t packs;
  std::int64_t pack;
  __device__ void operator()(std::int64_t row, float (&sum)[N]) const {
    const Pack<T, N> values = rows[row * packs + pack];
    for (int n = 0; n < N; ++n) sum[n] += weights[row] * to_float(values.at[n]);
  }
};

template <class T, int N>
struct AddBack {
  const Pack<T, N>* rows;
  std::int64_t packs;
  std::int64_t pack;
  __device__ void operator()(std::int64_t row, float (&sum)[N]) const {
    const Pack<T, N> values = rows[row * packs + pack];
    for (int n = 0; n < N; ++n) sum[n] += to_float(values.at[n]);
  }
};

template <class T, int N>
__global__ void sum_kernel(std::int64_t packs, NodeSums sums, const Pack<T, N>* experts, const float* weights,
                           const Pack<T, N>* back, Pack<T, N>* out) {
  for (std::int64_t i = grid_thread(); i < sums.count * packs; i += grid_threads()) {
    const std::int64_t which = i / packs;
    const std::int64_t pack = i % packs;
    float total[N] = {};
    sum_terms(sums, which, total, AddExpert<T, N>{experts, weights, packs, pack}, AddBack<T, N>{back, packs, pack});
    Pack<T, N> result;
    for (int n = 0; n < N; ++n) result.at[n] = from_float<T>(total[n]);
    out[sums.targets[which] * packs + pack] = result;
  }
}

}  // namespace

void pack_node_rows(cudaStream_t stream, std::int64_t rows, NodeRow shape, const std::int32_t* tokens, const void* in,
                    const float* routes, std::byte* out) {
  if (rows == 0) return;
  with_word(shape.hidden_bytes, shape.bytes(), [&](auto word) {
    using Word = decltype(word);
    const std::int64_t parts = shape.hidden_bytes / static_cast<std::int64_t>(sizeof(Word)) + shape.top_k;
    pack_kernel<Word><<<blocks_for(rows * parts, kThreads), kThreads, 0, stream>>>(
        rows, shape, tokens, static_cast<const Word*>(in), routes, out);
  });
  check_launch("rows packed");
}

void pass_node_rows(cudaStream_t stream, std::int64_t rows, NodeRow shape, const std::int32_t* visitors,
                    const std::byte* in, std::byte* out) {
  if (rows == 0) return;
  with_word(shape.bytes(), shape.bytes(), [&](auto word) {
    using Word = decltype(word);
    const std::int64_t words = shape.bytes() / static_cast<std::int64_t>(sizeof(Word));
    pass_kernel<Word><<<blocks_for(rows * words, kThreads), kThreads, 0, stream>>>(
        rows, words, visitors, reinterpret_cast<const Word*>(in), reinterpret_cast<Word*>(out));
  });
  check_launch("rows passed on");
}

void use_node_rows(cudaStream_t stream, std::int64_t rows, NodeRow shape, const std::int32_t* visitors,
                   const std::int32_t* choices, const std::byte* in, void* out, float* weights) {
  if (rows == 0) return;
  with_word(shape.hidden_bytes, shape.bytes(), [&](auto word) {
    using Word = decltype(word);
    const std::int64_t parts = shape.hidden_bytes / static_cast<std::int64_t>(sizeof(Word)) + 1;
    use_kernel<Word><<<blocks_for(rows * parts, kThreads), kThreads, 0, stream>>>(rows, shape, visitors, choices, in,
                                                                                  static_cast<Word*>(out), weights);
  });
  check_launch("rows used");
}

void sum_node_rows(Queue queue, std::int64_t cols, const NodeSums& sums, const void* experts, const float* weights,
                   const void* back, void* out) {
  if (sums.count == 0) return;
  with_element(queue.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_pack<T>(cols, [&](auto pack) {
      constexpr int n = decltype(pack)::value;
      using P = Pack<T, n>;
      sum_kernel<T, n><<<blocks_for(sums.count * cols / n, kThreads), kThreads, 0, queue.stream>>>(
          cols / n, sums, static_cast<const P*>(experts), weights, static_cast<const P*>(back), static_cast<P*>(out));
    });
  });
  check_launch("rows added up");
}

}  // namespace foretoken::runtime::cuda
