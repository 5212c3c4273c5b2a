// Embedding and LM head; a part of LayerLowering (layer_lowering.hpp).
//
// The ranks of a TP group share the vocabulary: each looks up its own rows and the parts are added, each makes the
// logits of its own tokens.
#include "plan/lower/layer_lowering.hpp"

namespace foretoken::plan {

std::int64_t LayerLowering::vocabulary_per_rank() const {
  return (model_.vocabulary + deployment_.tp - 1) / deployment_.tp;  // padded to the same for all
}

void LayerLowering::embed(MicroBatchState& batch, TensorId tokens) {
  const Extent rows = Extent::fixed(batch.tokens);
  Op lookup = op(OpKind::permute, "embedding", -1, batch, permutation(rows, RowOrder::lookup));
  batch.residual = activation(lookup.name, rows, model_.hidden);
  lookup.inputs = {tokens, weight(WeightKind::embedding, -1, 1, vocabulary_per_rank(), model_.hidden)};
  lookup.outputs = {batch.residual};
  builder_.emit(std::move(lookup));
  if (deployment_.tp == 1) return;
  batch.residual = sliced_ ? collective(OpKind::reduce_scatter, "embedding_reduce_scatter", "embedded", batch.residual,
                                        batch.tokens, batch.owned, -1, batch)
                           : collective(OpKind::all_reduce, "embedding_all_reduce", "embedded", batch.residual,
                                        batch.tokens, batch.tokens, -1, batch);
}

TensorId LayerLowering::lm_head(MicroBatchState& batch) {
  settle(batch);
  norm(-1, batch, WeightKind::output_norm);
  if (sliced_ && deployment_.tp > 1)
    batch.normed = collective(OpKind::all_gather, "lm_head_all_gather", "lm_head_input", batch.normed, batch.tokens,
                              batch.tokens, -1, batch);
  const std::int64_t columns = vocabulary_per_rank();
  const Extent rows = Extent::fixed(batch.tokens);
  Op product = op(OpKind::gemm, "lm_head", -1, batch, GemmOp{rows, columns, model_.hidden});
  product.dtype = format_of(WeightKind::lm_head).dtype;
  const TensorId logits = activation(product.name, rows, columns);
  const bool same_matrix = model_.tied_embeddings && deployment_.stages == 1;
  product.inputs = {batch.normed, same_matrix ? weight(WeightKind::embedding, -1, 1, columns, model_.hidden)
                                              : weight(WeightKind::lm_head, -1, 1, model_.hidden, columns)};
  product.outputs = {logits};
  builder_.emit(std::move(product));
  return logits;
}

}  // namespace foretoken::plan
