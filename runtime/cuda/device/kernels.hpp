// The device's compute verbs: the host's (runtime/host/verbs.hpp) on matrices in device memory, row-major and without
// padding, in fp32, fp16 or bf16.
//
// A verb queues its kernels on a stream and returns. Numbers are read and written in the element type and worked with
// in fp32; every sum has one order, which the shape alone decides. Pointers are to device memory, aligned as cudaMalloc
// aligns. Empty shapes queue nothing. All throw Error{rank_failed} if a launch fails.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "core/dtype.hpp"
#include "runtime/cuda/arrivals.hpp"
#include "runtime/cuda/element_index.hpp"
#include "runtime/cuda/once_per_node.hpp"
#include "runtime/cuda/row_order.hpp"

namespace foretoken::runtime::cuda {

/// On which stream, and in which element type: fp32, fp16 or bf16.
struct Queue {
  cudaStream_t stream = nullptr;
  DType dtype = DType::fp16;
};

/// RMS norm of each row: out = x / sqrt(mean(x^2) + 1e-5) x weight.
void norm(Queue queue, std::int64_t rows, std::int64_t cols, const void* x, const void* weight, void* out);
/// sum = x + addend, rounded to the element type, then the norm of that.
void residual_norm(Queue queue, std::int64_t rows, std::int64_t cols, const void* x, const void* addend,
                   const void* weight, void* sum, void* out);

void add(Queue queue, std::int64_t count, const void* a, const void* b, void* out);

enum class Activation : std::uint8_t {
  silu,  // x / (1 + exp(-x))
  gelu,  // x/2 (1 + erf(x / sqrt 2))
};
/// out = activation(x); gated: activation(gate) x up, columns [gate | up] in.
void activation(Queue queue, Activation kind, Rows rows, std::int64_t cols, bool gated, const void* in, void* out);

/// Heads of one rank, and positions in its KV cache with the new one.
struct AttentionShape {
  std::int64_t sequences = 0;
  std::int64_t context = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;  // at most kHeadDimMax
};
inline constexpr std::int64_t kHeadDimMax = 256;

/// As host::rope_kv. @param cos, sin fp32, [head_dim / 2], of the last position
void rope_kv(Queue queue, const AttentionShape& shape, const float* cos, const float* sin, const void* qkv, void* q,
             void* kv);

/// Split-KV decode attention: as host::attention.
/// @param splits  as kv_splits() says
/// @param room    attention_room() bytes; unused with one split
void decode_attention(Queue queue, const AttentionShape& shape, std::int64_t splits, const void* q, const void* kv,
                      void* out, float* room);

/// Router, after its product: routes[row] = top_k experts as numbers, then the softmax over their logits alone.
/// @param logits  fp32 [rows, experts]
/// @param chosen  [row][choice], the planned experts; null: those with the largest logits, equal ones by index
/// @param routes  fp32 [rows, 2 top_k], top_k <= 32
void route(cudaStream_t stream, std::int64_t rows, std::int64_t experts, std::int64_t top_k, const float* logits,
           const std::int32_t* chosen, float* routes);

/// out row i = in row sources[i], i < rows
void gather_rows(Queue queue, Rows rows, std::int64_t cols, const std::int32_t* sources, const void* in, void* out);
/// out row targets[i] = in row i
void scatter_rows(Queue queue, Rows rows, std::int64_t cols, const std::int32_t* targets, const void* in, void* out);
/// Row slot_of_row(row) of out = row of in, rows being exactly packed by place; other rows of out keep what they hold.
/// @param first_rows  [slots.places + 1]
void spread_rows(Queue queue, Rows rows, std::int64_t cols, Slots slots, const std::int32_t* first_rows, const void* in,
                 void* out);
/// The way back.
void collect_rows(Queue queue, Rows rows, std::int64_t cols, Slots slots, const std::int32_t* first_rows,
                  const void* in, void* out);
/// As host::unpermute. @param routes fp32
void unpermute(Queue queue, std::int64_t tokens, std::int64_t cols, std::int64_t top_k, const void* in,
               const float* routes, const std::int32_t* row_of, void* out);

// Tokens that go once per node: see node_tables.hpp. Rows are of NodeRow's size.

/// out row i = the hidden columns of token tokens[i] and the weights of its route.
/// @param in      [token, hidden]
/// @param routes  fp32 [token, 2 top_k], as route() makes them
void pack_node_rows(cudaStream_t stream, std::int64_t rows, NodeRow shape, const std::int32_t* tokens, const void* in,
                    const float* routes, std::byte* out);
/// out row i = visitor visitors[i].
void pass_node_rows(cudaStream_t stream, std::int64_t rows, NodeRow shape, const std::int32_t* visitors,
                    const std::byte* in, std::byte* out);
/// Row i of the experts = the hidden columns of visitor visitors[i], and its weight that of choice choices[i].
/// @param out      [row, hidden]
/// @param weights  fp32 [row]
void use_node_rows(cudaStream_t stream, std::int64_t rows, NodeRow shape, const std::int32_t* visitors,
                   const std::int32_t* choices, const std::byte* in, void* out, float* weights);
/// out row targets[i] = the sum of its terms, in fp32 and rounded once.
/// @param experts  rows of experts, and `weights` theirs; null if no sum has any
/// @param back     rows that have come back; null if no sum has any
void sum_node_rows(Queue queue, std::int64_t cols, const NodeSums& sums, const void* experts, const float* weights,
                   const void* back, void* out);

/// Of the experts that route() has chosen: experts[choice], and place_of_choice[choice] by the table of places.
/// @param place_of_expert [expert], -1: not taken
void take_choices(cudaStream_t stream, std::int64_t rows, std::int64_t top_k, const float* routes,
                  const std::int32_t* place_of_expert, std::int32_t* experts, std::int32_t* place_of_choice);
/// Rows by (place, choice), found on the device: histogram, scan, numbering. Deterministic.
/// @param place_of_choice [choices], -1: not taken
/// @param capacity        slots of a place, if packed so; no place may have more rows
/// @param first_rows      [places + 1], becomes the first row of each, and the number of all (exact packing)
/// @param rows_of_place   [places]
/// @param row_of          [choices], becomes each choice's row or -1
/// @param selected        [rows], becomes each row's token
void order_rows(cudaStream_t stream, RowPacking packing, std::int64_t choices, std::int64_t top_k, std::int64_t places,
                std::int64_t capacity, const std::int32_t* place_of_choice, std::int32_t* first_rows,
                std::int32_t* rows_of_place, std::int32_t* row_of, std::int32_t* selected);
/// host_rows[host] = first row of the host's first place. @param first_place, host_rows [hosts + 1]
void first_rows_of_hosts(cudaStream_t stream, std::int64_t hosts, const std::int32_t* first_place,
                         const std::int32_t* first_rows, std::int32_t* host_rows);

/// Begins each host's block with the counts of its places. @param first_place [hosts + 1], the last being `places`
void write_headers(cudaStream_t stream, std::int64_t hosts, std::int64_t places, const std::int32_t* first_place,
                   const std::int32_t* counts, std::int64_t block_bytes, std::byte* blocks);
/// What the sources have written. @param arrived [source][expert]
void read_headers(cudaStream_t stream, Arrivals arrivals, std::int64_t block_bytes, const std::byte* blocks,
                  std::int32_t* arrived);
/// From how many rows came to which of them goes where: the order that RowTables::arrive() gives.
/// @param arrived      [source][expert]
/// @param source_rows  [sources + 1], becomes the first row of arrival of each source, and the number of all
/// @param expert_rows  [experts + 1], likewise by expert, of sorted rows
/// @param sorted       [rows], becomes each sorted row's row of arrival
/// @param room         [2 x pairs]
void sort_arrivals(cudaStream_t stream, Arrivals arrivals, const std::int32_t* arrived, std::int32_t* source_rows,
                   std::int32_t* expert_rows, std::int32_t* sorted, std::int32_t* room);

/// Index of the largest element of each row, the first among equals.
void sample(Queue queue, std::int64_t rows, std::int64_t cols, const void* in, std::int32_t* tokens);

/// Draws `count` elements of a weight. @param matrices in device memory
void fill_weight(Queue queue, std::int64_t count, const PartIndex& part, const std::int32_t* matrices, WeightDraw draw,
                 void* out);
/// Draws a weight in E4M3: its integers alone, stored by columns; they are to be multiplied by the draw's scale.
void fill_e4m3_weight(cudaStream_t stream, std::int64_t count, const PartIndex& part, const std::int32_t* matrices,
                      std::uint64_t key, std::uint8_t* out);
/// Rows of products with weights in E4M3: each divided by its scale, as row_scale() says, and rounded.
/// @param first_rows  of each expert, [places + 1]; null: rows are of one matrix
/// @param scales      becomes each row's scale, at first_scale() of its place
void quantise_rows(Queue queue, std::int64_t rows, std::int64_t cols, std::int64_t places,
                   const std::int32_t* first_rows, const void* in, std::uint8_t* out, float* scales);
void fill_kv_cache(Queue queue, std::int64_t count, const KvIndex& kv, void* out);
/// Elements first to first + count - 1 of the hidden states that enter a step.
void fill_input(Queue queue, std::int64_t count, std::uint64_t key, std::int64_t first, void* out);

/// scores = causal softmax of scores / sqrt(head_dim), in place: row i of every matrix keeps columns up to
/// i + cols - rows, the others become zero. Between the two products of a prefill.
void causal_softmax(Queue queue, std::int64_t matrices, std::int64_t rows, std::int64_t cols, std::int64_t head_dim,
                    void* scores);

}  // namespace foretoken::runtime::cuda
