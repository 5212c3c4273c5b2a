// The model's numbers, drawn on the device: the same integers as on the host.
#include "runtime/cuda/device/cuda_check.hpp"
#include "runtime/cuda/device/device_math.cuh"
#include "runtime/cuda/device/kernels.hpp"

namespace foretoken::runtime::cuda {
namespace {

constexpr unsigned kThreads = 256;

template <class T, class Element>
__global__ void draw_kernel(std::int64_t count, Element element, T* out) {
  for (std::int64_t i = grid_thread(); i < count; i += grid_threads()) out[i] = from_float<T>(element(i));
}

template <class Element>
void draw(Queue queue, std::int64_t count, Element element, void* out) {
  if (count == 0) return;
  with_element(queue.dtype, [&](auto zero) {
    using T = decltype(zero);
    draw_kernel<T><<<blocks_for(count, kThreads), kThreads, 0, queue.stream>>>(count, element, static_cast<T*>(out));
  });
  check_launch("draw");
}

struct OfWeight {
  PartIndex part;
  const std::int32_t* matrices;
  WeightDraw numbers;
  __device__ float operator()(std::int64_t at) const { return weight_element(part, matrices, numbers, at); }
};

struct OfKv {
  KvIndex kv;
  __device__ float operator()(std::int64_t at) const { return kv_element(kv, at); }
};

struct OfInput {
  std::uint64_t key;
  std::int64_t first;
  __device__ float operator()(std::int64_t at) const { return input_element(key, first + at); }
};

}  // namespace

void fill_weight(Queue queue, std::int64_t count, const PartIndex& part, const std::int32_t* matrices,
                 WeightDraw numbers, void* out) {
  draw(queue, count, OfWeight{part, matrices, numbers}, out);
}

void fill_kv_cache(Queue queue, std::int64_t count, const KvIndex& kv, void* out) { draw(queue, count, OfKv{kv}, out); }

void fill_input(Queue queue, std::int64_t count, std::uint64_t key, std::int64_t first, void* out) {
  draw(queue, count, OfInput{key, first}, out);
}

}  // namespace foretoken::runtime::cuda
