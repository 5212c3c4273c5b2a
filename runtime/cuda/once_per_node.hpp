// Rows of tokens that go once per node, as they travel and as they are added up: the arithmetic that kernels and tests
// share. Which rows: node_tables.hpp.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "runtime/cuda/arrivals.hpp"
#include "runtime/cuda/host_device.hpp"

namespace foretoken::runtime::cuda {

/// A dispatched row: the token's hidden columns in the element type, then the weights of its choices in fp32, at
/// whatever address they come to stand.
struct NodeRow {
  std::int64_t hidden_bytes = 0;
  std::int64_t top_k = 0;
  [[nodiscard]] FORETOKEN_HOST_DEVICE std::int64_t bytes() const { return hidden_bytes + top_k * 4; }
};

FORETOKEN_HOST_DEVICE inline void put_weight(NodeRow shape, std::byte* row, std::int64_t choice, float weight) {
  put_number(std::bit_cast<std::int32_t>(weight), row + shape.hidden_bytes + choice * 4);
}

FORETOKEN_HOST_DEVICE inline float weight_at(NodeRow shape, const std::byte* row, std::int64_t choice) {
  return std::bit_cast<float>(number_at(row + shape.hidden_bytes + choice * 4));
}

/// What a rank adds up to one row after the other in a combine.
///
/// A term that is not negative is a row that has come back. Any other is ~visitor: the rows of that visitor's experts
/// here, each times its weight, added up by themselves in the order of the token's choices, as at a host that sends its
/// sum away.
struct NodeSums {
  std::int64_t count = 0;
  const std::int32_t* targets = nullptr;      // [sum]: the row that it becomes
  const std::int32_t* first_terms = nullptr;  // [sum + 1]
  const std::int32_t* terms = nullptr;
  const std::int32_t* first_uses = nullptr;  // [visitor + 1]
  const std::int32_t* uses = nullptr;        // rows of experts, by visitor
};

/// N columns of a sum, in fp32, in the order of its terms.
/// @param add_expert (row, partial): adds an expert's row times its weight
/// @param add_back   (row, total): adds a row that has come back
template <int N, class AddExpert, class AddBack>
FORETOKEN_HOST_DEVICE void sum_terms(const NodeSums& sums, std::int64_t which, float (&total)[N],
                                     const AddExpert& add_expert, const AddBack& add_back) {
  for (std::int32_t t = sums.first_terms[which]; t < sums.first_terms[which + 1]; ++t) {
    const std::int32_t term = sums.terms[t];
    if (term >= 0) {
      add_back(static_cast<std::int64_t>(term), total);
      continue;
    }
    float partial[N] = {};
    for (std::int32_t u = sums.first_uses[~term]; u < sums.first_uses[~term + 1]; ++u)
      add_expert(static_cast<std::int64_t>(sums.uses[u]), partial);
    for (int n = 0; n < N; ++n) total[n] += partial[n];
  }
}

}  // namespace foretoken::runtime::cuda
