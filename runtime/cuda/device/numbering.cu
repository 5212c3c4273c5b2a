// Which row goes where, found on the device: by expert at the rank of the tokens, by expert and source at the experts'
// rank, and the counts that travel in the headers of messages. The arithmetic: row_order.hpp, arrivals.hpp.
#include <cub/block/block_reduce.cuh>
#include <cub/block/block_scan.cuh>

#include "runtime/cuda/arrivals.hpp"
#include "runtime/cuda/device/cuda_check.hpp"
#include "runtime/cuda/device/device_math.cuh"
#include "runtime/cuda/device/kernels.hpp"
#include "runtime/cuda/row_order.hpp"

namespace foretoken::runtime::cuda {
namespace {

constexpr unsigned kThreads = 256;

// put(i, sum of get before i) for each i, by one block; returns the sum of all, the same in every thread.
template <class Get, class Put>
__device__ std::int32_t scan_in_block(std::int64_t count, const Get& get, const Put& put) {
  using Scan = cub::BlockScan<std::int32_t, kThreads>;
  __shared__ typename Scan::TempStorage storage;
  std::int32_t before = 0;
  for (std::int64_t begin = 0; begin < count; begin += kThreads) {
    const std::int64_t i = begin + threadIdx.x;
    std::int32_t sum = 0;
    std::int32_t all = 0;
    Scan(storage).ExclusiveSum(i < count ? get(i) : 0, sum, all);
    if (i < count) put(i, before + sum);
    before += all;
    __syncthreads();
  }
  return before;
}

// ---- at the rank of the tokens -------------------------------------------------------------------------------------

__global__ void places_kernel(std::int64_t rows, std::int64_t top_k, const float* routes,
                              const std::int32_t* place_of_expert, std::int32_t* experts,
                              std::int32_t* place_of_choice) {
  for (std::int64_t i = grid_thread(); i < rows * top_k; i += grid_threads()) {
    const auto expert = static_cast<std::int32_t>(routes[i / top_k * 2 * top_k + i % top_k]);
    experts[i] = expert;
    place_of_choice[i] = place_of_expert[expert];
  }
}

// A block per place counts the choices that are its own.
__global__ void histogram_kernel(std::int64_t choices, const std::int32_t* place_of_choice,
                                 std::int32_t* rows_of_place) {
  using Reduce = cub::BlockReduce<std::int32_t, kThreads>;
  __shared__ typename Reduce::TempStorage storage;
  std::int32_t count = 0;
  for (std::int64_t i = threadIdx.x; i < choices; i += kThreads)
    if (place_of_choice[i] == static_cast<std::int32_t>(blockIdx.x)) ++count;
  const std::int32_t all = Reduce(storage).Sum(count);
  if (threadIdx.x == 0) rows_of_place[blockIdx.x] = all;
}

// One block.
__global__ void first_rows_kernel(std::int64_t places, const std::int32_t* rows_of_place, std::int32_t* first_rows) {
  const std::int32_t all = scan_in_block(
      places, [&](std::int64_t place) { return rows_of_place[place]; },
      [&](std::int64_t place, std::int32_t first) { first_rows[place] = first; });
  if (threadIdx.x == 0) first_rows[places] = all;
}

// A block per place numbers its choices in their order; the block behind the last place marks those of none.
__global__ void number_kernel(RowPacking packing, std::int64_t choices, std::int64_t top_k, std::int64_t places,
                              std::int64_t capacity, const std::int32_t* place_of_choice,
                              const std::int32_t* first_rows, std::int32_t* row_of, std::int32_t* selected) {
  const std::int64_t place = blockIdx.x;
  if (place == places) {
    for (std::int64_t i = threadIdx.x; i < choices; i += kThreads)
      if (place_of_choice[i] < 0) row_of[i] = -1;
    return;
  }
  const std::int64_t first = first_row(packing, place, first_rows[place], capacity);
  scan_in_block(
      choices, [&](std::int64_t i) { return place_of_choice[i] == place ? 1 : 0; },
      [&](std::int64_t i, std::int32_t index) {
        if (place_of_choice[i] == place) put_row(i, top_k, first, index, row_of, selected);
      });
}

__global__ void pick_kernel(std::int64_t count, const std::int32_t* which, const std::int32_t* in, std::int32_t* out) {
  for (std::int64_t i = grid_thread(); i < count; i += grid_threads()) out[i] = in[which[i]];
}

// ---- messages with slots -------------------------------------------------------------------------------------------

__global__ void write_headers_kernel(std::int64_t hosts, const std::int32_t* first_place, const std::int32_t* counts,
                                     std::int64_t block_bytes, std::byte* blocks) {
  const std::int64_t places = first_place[hosts];
  for (std::int64_t place = grid_thread(); place < places; place += grid_threads()) {
    const std::int64_t host = place_of_row(first_place, hosts, place);
    put_number(counts[place], blocks + host * block_bytes + (place - first_place[host]) * 4);
  }
}

__global__ void read_headers_kernel(Arrivals arrivals, std::int64_t block_bytes, const std::byte* blocks,
                                    std::int32_t* arrived) {
  for (std::int64_t i = grid_thread(); i < arrivals.pairs(); i += grid_threads())
    arrived[i] = number_at(blocks + i / arrivals.experts * block_bytes + i % arrivals.experts * 4);
}

// ---- at the rank of the experts ------------------------------------------------------------------------------------

// One block. first_arrived by arrival, first_sorted by wanted order.
__global__ void first_arrivals_kernel(Arrivals arrivals, const std::int32_t* arrived, std::int32_t* source_rows,
                                      std::int32_t* expert_rows, std::int32_t* first_arrived,
                                      std::int32_t* first_sorted) {
  const std::int32_t all = scan_in_block(
      arrivals.pairs(), [&](std::int64_t pair) { return arrived[pair]; },
      [&](std::int64_t pair, std::int32_t first) {
        first_arrived[pair] = first;
        if (pair % arrivals.experts == 0) source_rows[pair / arrivals.experts] = first;
      });
  scan_in_block(
      arrivals.pairs(), [&](std::int64_t at) { return arrived[arrivals.arrival_of(at)]; },
      [&](std::int64_t at, std::int32_t first) {
        first_sorted[at] = first;
        if (at % arrivals.sources == 0) expert_rows[at / arrivals.sources] = first;
      });
  if (threadIdx.x == 0) source_rows[arrivals.sources] = expert_rows[arrivals.experts] = all;
}

// A block per pair, in the wanted order.
__global__ void sort_kernel(Arrivals arrivals, const std::int32_t* arrived, const std::int32_t* first_arrived,
                            const std::int32_t* first_sorted, std::int32_t* sorted) {
  for (std::int64_t at = blockIdx.x; at < arrivals.pairs(); at += gridDim.x) {
    const std::int64_t pair = arrivals.arrival_of(at);
    for (auto i = static_cast<std::int32_t>(threadIdx.x); i < arrived[pair]; i += static_cast<std::int32_t>(blockDim.x))
      sort_row(first_arrived[pair], first_sorted[at], i, sorted);
  }
}

}  // namespace

void take_choices(cudaStream_t stream, std::int64_t rows, std::int64_t top_k, const float* routes,
                  const std::int32_t* place_of_expert, std::int32_t* experts, std::int32_t* place_of_choice) {
  if (rows == 0) return;
  places_kernel<<<blocks_for(rows * top_k, kThreads), kThreads, 0, stream>>>(rows, top_k, routes, place_of_expert,
                                                                             experts, place_of_choice);
  check_launch("places of choices");
}

void order_rows(cudaStream_t stream, RowPacking packing, std::int64_t choices, std::int64_t top_k, std::int64_t places,
                std::int64_t capacity, const std::int32_t* place_of_choice, std::int32_t* first_rows,
                std::int32_t* rows_of_place, std::int32_t* row_of, std::int32_t* selected) {
  if (places > 0) {
    histogram_kernel<<<static_cast<unsigned>(places), kThreads, 0, stream>>>(choices, place_of_choice, rows_of_place);
    check_launch("histogram");
  }
  first_rows_kernel<<<1, kThreads, 0, stream>>>(places, rows_of_place, first_rows);
  check_launch("first rows");
  number_kernel<<<static_cast<unsigned>(places + 1), kThreads, 0, stream>>>(
      packing, choices, top_k, places, capacity, place_of_choice, first_rows, row_of, selected);
  check_launch("number");
}

void first_rows_of_hosts(cudaStream_t stream, std::int64_t hosts, const std::int32_t* first_place,
                         const std::int32_t* first_rows, std::int32_t* host_rows) {
  pick_kernel<<<blocks_for(hosts + 1, kThreads), kThreads, 0, stream>>>(hosts + 1, first_place, first_rows, host_rows);
  check_launch("first rows of hosts");
}

void write_headers(cudaStream_t stream, std::int64_t hosts, std::int64_t places, const std::int32_t* first_place,
                   const std::int32_t* counts, std::int64_t block_bytes, std::byte* blocks) {
  if (places == 0) return;
  write_headers_kernel<<<blocks_for(places, kThreads), kThreads, 0, stream>>>(hosts, first_place, counts, block_bytes,
                                                                              blocks);
  check_launch("headers written");
}

void read_headers(cudaStream_t stream, Arrivals arrivals, std::int64_t block_bytes, const std::byte* blocks,
                  std::int32_t* arrived) {
  if (arrivals.pairs() == 0) return;
  read_headers_kernel<<<blocks_for(arrivals.pairs(), kThreads), kThreads, 0, stream>>>(arrivals, block_bytes, blocks,
                                                                                       arrived);
  check_launch("headers read");
}

void sort_arrivals(cudaStream_t stream, Arrivals arrivals, const std::int32_t* arrived, std::int32_t* source_rows,
                   std::int32_t* expert_rows, std::int32_t* sorted, std::int32_t* room) {
  if (arrivals.pairs() == 0) return;
  std::int32_t* const first_sorted = room + arrivals.pairs();
  first_arrivals_kernel<<<1, kThreads, 0, stream>>>(arrivals, arrived, source_rows, expert_rows, room, first_sorted);
  check_launch("first arrivals");
  sort_kernel<<<blocks_for(arrivals.pairs(), 1), kThreads, 0, stream>>>(arrivals, arrived, room, first_sorted, sorted);
  check_launch("arrivals sorted");
}

}  // namespace foretoken::runtime::cuda
