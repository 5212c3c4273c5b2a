// From a Plan to the indices that weights, KV caches and inputs are drawn with on a device.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/plan.hpp"
#include "runtime/cuda/element_index.hpp"

namespace foretoken::runtime::cuda {

struct WeightIndex {
  PartIndex part;
  WeightDraw draw;
  std::vector<std::int32_t> matrices;
};

/// @param tensor a weight of the rank's role
WeightIndex weight_index(const plan::Plan& plan, const plan::Tensor& tensor, RankId rank);

/// @param tensor a KV cache of the rank's role
KvIndex kv_index(const plan::Plan& plan, const plan::Tensor& tensor, std::int64_t micro_batch, RankId rank);

/// Sequences whose hidden states a rank holds at the start and at the end of a micro-batch's step.
plan::Range own_sequences(const plan::Plan& plan, std::int64_t micro_batch, RankId rank);

}  // namespace foretoken::runtime::cuda
