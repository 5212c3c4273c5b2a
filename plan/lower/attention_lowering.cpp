// The attention of a layer, in its two kinds; a part of LayerLowering (layer_lowering.hpp).
#include <fmt/format.h>

#include <algorithm>

#include "plan/lower/layer_lowering.hpp"

namespace foretoken::plan {

// Room for what the layer keeps of each sequence; a windowed layer keeps its window.
TensorId LayerLowering::kv_cache(std::int64_t layer, const MicroBatchState& batch, std::int64_t cols) {
  const std::int64_t context = context_.scenario.workload.context + 1;  // with the step's own token
  return builder_.tensor(Tensor{fmt::format("l{}.m{}.kv", layer, batch.index), TensorKind::kv_cache, model_.kv_dtype, 1,
                                Extent::fixed(batch.tokens * model_.kept(layer, context)), cols, WeightKind::none,
                                static_cast<std::int16_t>(layer)});
}

TensorId LayerLowering::grouped_query_attention(std::int64_t layer, const MicroBatchState& batch) {
  const std::int64_t heads = model_.heads / deployment_.tp;
  const std::int64_t kv_heads = std::max<std::int64_t>(1, model_.kv_heads / deployment_.tp);
  const std::int64_t rows = batch.tokens;
  const std::int64_t q_cols = heads * model_.head_dim;
  const std::int64_t kv_cols = 2 * kv_heads * model_.head_dim;

  const TensorId qkv = gemm(WeightKind::qkv, layer, batch, batch.normed, rows, q_cols + kv_cols, model_.hidden);

  Op rope = op(OpKind::rope_kv, "rope_kv", layer, batch, RowwiseOp{Extent::fixed(rows), q_cols + kv_cols});
  const TensorId q = activation(fmt::format("l{}.m{}.q", layer, batch.index), Extent::fixed(rows), q_cols);
  const TensorId kv = kv_cache(layer, batch, kv_cols);
  rope.inputs = {qkv};
  rope.outputs = {q, kv};
  builder_.emit(std::move(rope));

  const std::int64_t attended_tokens = model_.attended(layer, context_.scenario.workload.context + 1);
  Op attend = op(OpKind::attention, "attention", layer, batch,
                 AttentionOp{rows, attended_tokens, heads, kv_heads, model_.head_dim});
  attend.dtype = model_.kv_dtype;
  const TensorId attended = activation(attend.name, Extent::fixed(rows), q_cols);
  attend.inputs = {q, kv};
  attend.outputs = {attended};
  builder_.emit(std::move(attend));
  return attended;
}

// A product per head: `rows` of it are stacked head by head.
TensorId LayerLowering::per_head(WeightKind kind, std::int64_t layer, const MicroBatchState& batch, TensorId input,
                                 std::int64_t heads, std::int64_t n, std::int64_t k) {
  const std::string name(name_of(kind));
  Op product = op(OpKind::gemm, name, layer, batch, GroupedGemmOp{Extent::fixed(heads * batch.tokens), heads, n, k});
  product.dtype = format_of(kind).dtype;
  const TensorId output = activation(product.name, Extent::fixed(batch.tokens), heads * n);
  product.inputs = {input, weight(kind, layer, heads, k, n)};
  product.outputs = {output};
  builder_.emit(std::move(product));
  return output;
}

// Decode with the projections absorbed, as serving frameworks do it: queries are taken to where the latents are, so
// that the cache is read once for all heads and for keys and values alike. The latents of all tokens are on every rank
// of a TP group, which splits the heads.
TensorId LayerLowering::latent_attention(std::int64_t layer, const MicroBatchState& batch) {
  const LatentAttention& latent = *model_.latent;
  const std::int64_t heads = model_.heads / deployment_.tp;
  const std::int64_t rows = batch.tokens;
  const std::int64_t q_dim = latent.nope_dim + latent.rope_dim;
  const std::string prefix = fmt::format("l{}.m{}.", layer, batch.index);

  // One product makes the latents of queries and of keys and values: no rank has less than all of them.
  const std::int64_t q_first = latent.q_rank > 0 ? latent.q_rank : heads * q_dim;
  const TensorId down =
      gemm(WeightKind::latent_down, layer, batch, batch.normed, rows, q_first + latent.cached(), model_.hidden);
  const std::int64_t normed_cols = latent.q_rank + latent.kv_rank;
  Op norm = op(OpKind::norm, "latent_norm", layer, batch, RowwiseOp{Extent::fixed(rows), normed_cols});
  const TensorId normed = activation(norm.name, Extent::fixed(rows), normed_cols);
  norm.inputs = {down, weight(WeightKind::latent_norm, layer, 1, 1, normed_cols)};
  norm.outputs = {normed};
  builder_.emit(std::move(norm));
  const TensorId queries =
      latent.q_rank > 0 ? gemm(WeightKind::q_up, layer, batch, normed, rows, heads * q_dim, latent.q_rank) : down;
  const TensorId absorbed = per_head(WeightKind::k_up, layer, batch, queries, heads, latent.kv_rank, latent.nope_dim);

  // Rotary part of the queries and of the one key; the latent is copied into the cache.
  Op rope = op(OpKind::rope_kv, "rope_kv", layer, batch,
               RowwiseOp{Extent::fixed(rows), heads * latent.rope_dim + latent.cached()});
  const TensorId rotated = activation(prefix + "q_rope", Extent::fixed(rows), heads * latent.rope_dim);
  const TensorId kv = kv_cache(layer, batch, latent.cached());
  rope.inputs = {queries, normed, down};
  rope.outputs = {rotated, kv};
  builder_.emit(std::move(rope));

  Op attend = op(OpKind::attention, "attention", layer, batch,
                 AttentionOp{rows, model_.attended(layer, context_.scenario.workload.context + 1), heads, 1,
                             latent.cached(), latent.kv_rank});
  attend.dtype = model_.kv_dtype;
  const TensorId attended = activation(attend.name, Extent::fixed(rows), heads * latent.kv_rank);
  attend.inputs = {absorbed, rotated, kv};
  attend.outputs = {attended};
  builder_.emit(std::move(attend));
  return per_head(WeightKind::v_up, layer, batch, attended, heads, latent.value_dim, latent.kv_rank);
}

}  // namespace foretoken::plan
