// Which part of the model's matrices a rank holds, and the numbers in it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "plan/plan.hpp"

namespace foretoken::runtime {

/// A rank's part of a matrix (or of a stack of them): rows [row_begin, row_begin + rows) and some ranges of columns.
struct MatrixPart {
  std::int64_t whole_rows = 0;
  std::int64_t whole_cols = 0;
  std::int64_t row_begin = 0;
  std::int64_t rows = 0;
  std::vector<plan::Range> cols;       // of the whole, in the order in which they stand in the part
  std::vector<std::int64_t> matrices;  // of the whole's stack: experts, or {0}
};

/// @param tensor a weight of the rank's role
/// @throws Error{internal} if the tensor's shape is not that of the part
MatrixPart part_of(const plan::Plan& plan, const plan::Tensor& tensor, RankId rank);

/// What the elements of a weight are drawn with: offset + scale x element_integer(key, index in the whole).
struct WeightNumbers {
  std::uint64_t key = 0;
  float scale = 0;
  float offset = 0;
};
WeightNumbers numbers_of(const plan::Plan& plan, const plan::Tensor& tensor, const MatrixPart& part);

/// The KV heads that a rank's attention heads read.
plan::Range kv_heads_of(const plan::Plan& plan, RankId rank);

/// Fills a rank's part of a weight. Norm weights lie between 0.5 and 1.5, all others around zero.
/// @param out stack x rows x cols elements
void fill_weight(const plan::Plan& plan, const plan::Tensor& tensor, RankId rank, std::span<float> out);

/// Fills the cached positions, all but the last, of a KV cache; the last, which each step appends, becomes zero.
/// @param out rows x cols elements, rows = sequences of the micro-batch x positions
void fill_kv_cache(const plan::Plan& plan, const plan::Tensor& tensor, std::int64_t micro_batch, RankId rank,
                   std::span<float> out);

/// Fills the hidden states of sequences [sequences.begin, sequences.end) that enter a step.
void fill_input(const plan::Plan& plan, std::int64_t routed_step, plan::Range sequences, std::span<float> out);

}  // namespace foretoken::runtime
