// Which layers of a Hugging Face config have experts, and which attend to a window.
#pragma once

#include "plan/scenario/hf_keys.hpp"
#include "plan/scenario/model_spec.hpp"

namespace foretoken::plan {

/// Sets dense_layers and moe_every. Read, where they are there: first_k_dense_replace, moe_layer_freq (a number or 0/1
/// per layer), interleave_moe_layer_step, decoder_sparse_step with mlp_only_layers, mlp_layer_types.
/// @throws Error{invalid_input} if no layer has experts, or the layers with experts follow no rule that we can write
void read_expert_layers(const HfKeys& config, ModelSpec& model);

/// Sets window. Read: layer_types with sliding_window or attention_chunk_size; no_rope_layers; use_sliding_window.
/// @param architecture  model_type, for what its files leave unsaid
/// @throws Error{invalid_input} for linear attention, and if a list has not an entry for each layer
void read_windowed_layers(const HfKeys& config, const std::string& architecture, ModelSpec& model);

}  // namespace foretoken::plan
