// How large a model is: parameters, active parameters, KV cache per token, bytes of weights.
#pragma once

#include <cstdint>

#include "plan/scenario/model_spec.hpp"

namespace foretoken::plan {

/// Parameters by part, over all layers. Biases, norms of heads and multi-token prediction are not counted.
///
///   attention   hidden (heads + 2 kv_heads) head_dim + heads head_dim hidden
///   latent      hidden q_rank + q_rank heads (nope + rope), or hidden heads (nope + rope) without q_rank;
///               + hidden (kv_rank + rope) + kv_rank heads (nope + value) + heads value hidden
///   index       q_rank heads head_dim + hidden head_dim + hidden heads, each of the index
///   an expert, the shared ones, a dense MLP   (gated: 3, else 2) hidden x inner width
///   router      hidden experts
///   norms       2 hidden and, of latents, q_rank + kv_rank; a last one where there is a vocabulary
struct ModelSize {
  std::int64_t attention = 0;
  std::int64_t index = 0;
  std::int64_t experts = 0;
  std::int64_t shared_experts = 0;
  std::int64_t dense_mlp = 0;
  std::int64_t router = 0;
  std::int64_t norms = 0;
  std::int64_t embedding = 0;
  std::int64_t lm_head = 0;          // 0 if tied
  std::int64_t idle_experts = 0;     // those that a token does not visit
  std::int64_t kv_elements = 0;      // that one token adds to the KV cache, all layers together
  std::int64_t index_elements = 0;   // beside them
  std::int64_t windowed_layers = 0;  // of which no more than window.tokens are kept
  double weight_bytes = 0;
  double kv_bytes = 0;  // per token, the index's included

  [[nodiscard]] std::int64_t parameters() const {
    return attention + index + experts + shared_experts + dense_mlp + router + norms + embedding + lm_head;
  }
  /// That one token is multiplied with or looked up in: both embedding matrices are counted. Vendors often leave the
  /// input's out.
  [[nodiscard]] std::int64_t active_parameters() const { return parameters() - idle_experts; }
};

ModelSize size_of(const ModelSpec& model);

}  // namespace foretoken::plan
