#include "plan/scenario/model_size.hpp"

namespace foretoken::plan {
namespace {

std::int64_t attention_parameters(const ModelSpec& model) {
  if (!model.latent)
    return model.hidden * (model.heads + 2 * model.kv_heads) * model.head_dim +
           model.heads * model.head_dim * model.hidden;
  const LatentAttention& latent = *model.latent;
  const std::int64_t queries = model.heads * (latent.nope_dim + latent.rope_dim);
  const std::int64_t q =
      latent.q_rank > 0 ? model.hidden * latent.q_rank + latent.q_rank * queries : model.hidden * queries;
  return q + model.hidden * latent.cached() + latent.kv_rank * model.heads * (latent.nope_dim + latent.value_dim) +
         model.heads * latent.value_dim * model.hidden;
}

std::int64_t index_parameters(const ModelSpec& model) {
  if (!model.index) return 0;
  const AttentionIndex& index = *model.index;
  return model.latent->q_rank * index.heads * index.head_dim + model.hidden * (index.head_dim + index.heads);
}

}  // namespace

ModelSize size_of(const ModelSpec& model) {
  const std::int64_t expert_layers = model.expert_layers();
  const std::int64_t mlp = (model.gated ? 3 : 2) * model.hidden;  // times the inner width
  ModelSize size;
  size.attention = model.layers * attention_parameters(model);
  size.index = model.layers * index_parameters(model);
  size.experts = expert_layers * model.experts * mlp * model.expert_hidden;
  size.shared_experts = expert_layers * model.shared_experts * mlp * model.expert_hidden;
  size.dense_mlp = (model.layers - expert_layers) * mlp * model.dense_hidden;
  size.router = expert_layers * model.hidden * model.experts;
  size.norms = (2 * model.layers + (model.vocabulary > 0 ? 1 : 0)) * model.hidden;
  if (model.latent) size.norms += model.layers * (model.latent->q_rank + model.latent->kv_rank);
  size.embedding = model.vocabulary * model.hidden;
  size.lm_head = model.tied_embeddings ? 0 : size.embedding;
  size.idle_experts = expert_layers * (model.experts - model.top_k) * mlp * model.expert_hidden;

  size.kv_elements = model.layers * (model.latent ? model.latent->cached() : 2 * model.kv_heads * model.head_dim);
  if (model.index) size.index_elements = model.layers * model.index->head_dim;
  for (std::int64_t layer = 0; layer < model.layers; ++layer) size.windowed_layers += model.windowed(layer) ? 1 : 0;

  const auto bytes = [](std::int64_t count, DType dtype) {
    return static_cast<double>(count) * static_cast<double>(bytes_per_element(dtype));
  };
  size.weight_bytes = bytes(size.attention + size.index + size.shared_experts + size.dense_mlp, model.weight_dtype) +
                      bytes(size.router + size.norms + size.embedding + size.lm_head, model.activation_dtype) +
                      static_cast<double>(size.experts) * model.expert_format.bits() / 8;
  size.kv_bytes = bytes(size.kv_elements + size.index_elements, model.kv_dtype);
  return size;
}

}  // namespace foretoken::plan
