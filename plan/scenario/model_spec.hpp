// A model as a scenario describes it: which layers, how wide, in which element types.
//
// Read by plan/scenario/read_model.hpp, from a scenario's own words, one of our descriptions (scenarios/models/) or a
// Hugging Face config.json. What its sizes come to: plan/scenario/model_size.hpp. What the lowering cannot do yet is
// refused there by name.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/packing.hpp"

namespace foretoken::plan {

/// How the weights of a part of the model are stored, and in which type they are multiplied.
struct WeightFormat {
  DType dtype = DType::fp16;  // of the products
  Packing packing = Packing::none;
  [[nodiscard]] constexpr double bits() const { return bits_per_weight(packing, dtype); }
  auto operator<=>(const WeightFormat&) const = default;
};

/// Multi-head latent attention (MLA): keys and values of all heads are projections of one latent per token, which is
/// what the KV cache holds, beside one rotary key for all heads.
struct LatentAttention {
  std::int64_t kv_rank = 0;    // elements of the latent
  std::int64_t q_rank = 0;     // of the queries' own latent; 0: queries are projected straight from the hidden state
  std::int64_t nope_dim = 0;   // of a head's query and key, without position
  std::int64_t rope_dim = 0;   // with position
  std::int64_t value_dim = 0;  // of a head's value
  [[nodiscard]] std::int64_t cached() const { return kv_rank + rope_dim; }  // elements per token
  auto operator<=>(const LatentAttention&) const = default;
};

/// Sparse attention: a small attention of its own chooses the cached tokens that a token attends to.
struct AttentionIndex {
  std::int64_t heads = 0;
  std::int64_t head_dim = 0;  // one key of this size per token and layer is cached too
  std::int64_t top_k = 0;     // tokens chosen
  auto operator<=>(const AttentionIndex&) const = default;
};

/// Layers that attend to the latest tokens only.
struct AttentionWindow {
  std::int64_t tokens = 0;                // attended to, the step's own included
  bool chunked = false;                   // fixed blocks of so many tokens, not a window that moves along
  std::vector<std::int64_t> full_layers;  // that attend to everything, ascending; the others are windowed
  auto operator<=>(const AttentionWindow&) const = default;
};

/// A decoder-only transformer with mixture-of-experts layers.
struct ModelSpec {
  std::string name;
  std::int64_t layers = 0;
  std::int64_t dense_layers = 0;  // the first ones: one MLP of dense_hidden instead of experts
  std::int64_t moe_every = 1;     // of the others, layer i has experts where i + 1 is a multiple of this
  std::int64_t dense_hidden = 0;
  std::int64_t hidden = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;  // latent attention: 1
  std::int64_t head_dim = 0;  // latent attention: of queries and keys
  std::optional<LatentAttention> latent;
  std::optional<AttentionIndex> index;
  std::optional<AttentionWindow> window;
  std::int64_t experts = 0;
  std::int64_t top_k = 0;
  std::int64_t expert_hidden = 0;
  bool gated = false;  // three matrices (gate, up, down) instead of two
  std::int64_t shared_experts = 0;
  std::int64_t vocabulary = 0;       // tokens that embedding and LM head know; 0: the scenario is without them
  bool tied_embeddings = false;      // the LM head is the embedding
  DType weight_dtype = DType::fp16;  // of all matrices but experts, router, embedding and LM head
  WeightFormat expert_format;        // of the routed experts
  DType activation_dtype = DType::fp16;
  DType dispatch_dtype = DType::fp16;  // of the rows that travel to the experts; results travel back as activations
  DType kv_dtype = DType::fp16;

  [[nodiscard]] bool dense(std::int64_t layer) const { return layer < dense_layers || (layer + 1) % moe_every != 0; }
  /// Layers with experts.
  [[nodiscard]] std::int64_t expert_layers() const { return layers / moe_every - dense_layers / moe_every; }
  [[nodiscard]] bool windowed(std::int64_t layer) const {
    return window && !std::binary_search(window->full_layers.begin(), window->full_layers.end(), layer);
  }
  /// Tokens that a layer's attention reads for one new token, itself included.
  /// @param context  of the sequence, the new token included
  [[nodiscard]] std::int64_t attended(std::int64_t layer, std::int64_t context) const {
    if (!windowed(layer)) return context;
    return window->chunked ? (context - 1) % window->tokens + 1 : std::min(context, window->tokens);
  }
  /// Tokens of a sequence that a layer's KV cache has room for.
  [[nodiscard]] std::int64_t kept(std::int64_t layer, std::int64_t context) const {
    return windowed(layer) ? std::min(context, window->tokens) : context;
  }
};

}  // namespace foretoken::plan
