#include "runtime/cuda/model_index.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "runtime/model/weights.hpp"

namespace foretoken::runtime::cuda {

WeightIndex weight_index(const plan::Plan& plan, const plan::Tensor& tensor, RankId rank) {
  const MatrixPart part = part_of(plan, tensor, rank);
  WeightIndex index;
  index.part.whole_rows = part.whole_rows;
  index.part.whole_cols = part.whole_cols;
  index.part.row_begin = part.row_begin;
  index.part.rows = part.rows;
  FORETOKEN_CHECK(static_cast<std::int64_t>(part.cols.size()) <= PartIndex::kRangesMax, "more ranges of columns");
  for (const plan::Range range : part.cols) {
    index.part.col_begin[index.part.ranges] = range.begin;
    index.part.col_count[index.part.ranges++] = range.size();
    index.part.cols += range.size();
  }
  index.matrices.assign(part.matrices.begin(), part.matrices.end());
  const WeightNumbers numbers = numbers_of(plan, tensor, part);
  index.draw = {numbers.key, numbers.scale, numbers.offset};
  return index;
}

KvIndex kv_index(const plan::Plan& plan, const plan::Tensor& tensor, std::int64_t micro_batch, RankId rank) {
  const plan::ModelSpec& model = plan.scenario.model;
  const auto layer = static_cast<std::uint32_t>(tensor.layer);
  const plan::Range kv_heads = kv_heads_of(plan, rank);
  KvIndex index;
  index.key_of_k = matrix_key(plan.scenario.routing.seed, layer, kMatrixKeys);
  index.key_of_v = matrix_key(plan.scenario.routing.seed, layer, kMatrixValues);
  index.sequence_begin = plan.placement.sequences(plan.placement.replica_of(rank), micro_batch).begin;
  index.context = plan.scenario.workload.context;
  index.kv_heads = model.kv_heads;
  index.kv_head_begin = kv_heads.begin;
  index.kv_heads_here = kv_heads.size();
  index.head_dim = model.head_dim;
  return index;
}

plan::Range own_sequences(const plan::Plan& plan, std::int64_t micro_batch, RankId rank) {
  const std::int64_t replica = plan.placement.replica_of(rank);
  return plan.scenario.deployment.exchange == plan::ExpertExchange::dispatch
             ? plan.placement.slice(replica, micro_batch, plan.placement.tp_index_of(rank))
             : plan.placement.sequences(replica, micro_batch);
}

}  // namespace foretoken::runtime::cuda
