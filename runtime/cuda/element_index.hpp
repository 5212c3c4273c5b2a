// Which element of the whole matrix stands where in a rank's part: the index arithmetic of drawing weights on a device.
//
// The same integers as runtime/model/weights.cpp draws, element by element instead of in loops.
#pragma once

#include <cstdint>

#include "runtime/cuda/e4m3.hpp"
#include "runtime/cuda/host_device.hpp"
#include "runtime/model/element.hpp"

namespace foretoken::runtime::cuda {

/// A MatrixPart (runtime/model/weights.hpp) without vectors, as kernels take it by value.
struct PartIndex {
  static constexpr std::int64_t kRangesMax = 3;  // q, k and v
  std::int64_t whole_rows = 0;
  std::int64_t whole_cols = 0;
  std::int64_t row_begin = 0;
  std::int64_t rows = 0;
  std::int64_t cols = 0;  // of all ranges
  std::int64_t ranges = 0;
  std::int64_t col_begin[kRangesMax] = {};
  std::int64_t col_count[kRangesMax] = {};
};

/// What a weight's element is drawn with: offset + scale x element_integer(key, index in the whole).
struct WeightDraw {
  std::uint64_t key = 0;
  float scale = 0;
  float offset = 0;
};

/// Index, in the whole stack, of element `at` of the part.
/// @param matrices  [stack], which of the whole's matrices the part holds
FORETOKEN_HOST_DEVICE inline std::int64_t whole_index(const PartIndex& part, const std::int32_t* matrices,
                                                      std::int64_t at) {
  const std::int64_t in_matrix = at % (part.rows * part.cols);
  const std::int64_t matrix = matrices[at / (part.rows * part.cols)];
  const std::int64_t row = part.row_begin + in_matrix / part.cols;
  std::int64_t col = in_matrix % part.cols;
  std::int64_t range = 0;
  while (range + 1 < part.ranges && col >= part.col_count[range]) col -= part.col_count[range++];
  return (matrix * part.whole_rows + row) * part.whole_cols + part.col_begin[range] + col;
}

FORETOKEN_HOST_DEVICE inline float weight_element(const PartIndex& part, const std::int32_t* matrices, WeightDraw draw,
                                                  std::int64_t at) {
  const auto index = static_cast<std::uint64_t>(whole_index(part, matrices, at));
  return draw.offset + draw.scale * static_cast<float>(element_integer(draw.key, index));
}

/// Where element `at` of a part stands in it if its matrices are stored by columns: [matrix][column][row].
FORETOKEN_HOST_DEVICE inline std::int64_t at_by_columns(const PartIndex& part, std::int64_t at) {
  const std::int64_t in_matrix = at % (part.rows * part.cols);
  const std::int64_t row = in_matrix % part.rows;
  const std::int64_t col = in_matrix / part.rows;
  return at - in_matrix + row * part.cols + col;
}

/// Element `at` of a weight in E4M3, stored by columns, without its scale: the integer, rounded. At most 255, it fits.
FORETOKEN_HOST_DEVICE inline std::uint8_t e4m3_weight_element(const PartIndex& part, const std::int32_t* matrices,
                                                              std::uint64_t key, std::int64_t at) {
  const auto index = static_cast<std::uint64_t>(whole_index(part, matrices, at_by_columns(part, at)));
  return to_e4m3(static_cast<float>(element_integer(key, index)));
}

/// A rank's KV cache of one layer and micro-batch.
struct KvIndex {
  std::uint64_t key_of_k = 0;
  std::uint64_t key_of_v = 0;
  std::int64_t sequence_begin = 0;  // of the whole batch
  std::int64_t context = 0;         // cached positions, without the one that a step appends
  std::int64_t kv_heads = 0;        // of the model
  std::int64_t kv_head_begin = 0;
  std::int64_t kv_heads_here = 0;
  std::int64_t head_dim = 0;
};

/// Element `at` of the cache, rows (sequence, position), columns [k | v]; the position that is appended holds zeros.
FORETOKEN_HOST_DEVICE inline float kv_element(const KvIndex& kv, std::int64_t at) {
  const std::int64_t half = kv.kv_heads_here * kv.head_dim;
  const std::int64_t row = at / (2 * half);
  const std::int64_t col = at % (2 * half);
  const std::int64_t position = row % (kv.context + 1);
  if (position == kv.context) return 0;
  const std::int64_t sequence = kv.sequence_begin + row / (kv.context + 1);
  const std::int64_t first = ((sequence * (kv.context + 1) + position) * kv.kv_heads + kv.kv_head_begin) * kv.head_dim;
  const auto index = static_cast<std::uint64_t>(first + col % half);
  return static_cast<float>(element_integer(col < half ? kv.key_of_k : kv.key_of_v, index)) / 256;
}

/// Element `index` of the hidden states [sequence, column] that enter a step.
FORETOKEN_HOST_DEVICE inline float input_element(std::uint64_t key, std::int64_t index) {
  return static_cast<float>(element_integer(key, static_cast<std::uint64_t>(index))) / 128;
}

}  // namespace foretoken::runtime::cuda
