// A Hugging Face config.json -> our description of the model.
//
// Only what decides sizes and work is read; other keys are ignored, and so are bare NaN and Infinity in them. A null is
// the same as no key. What the config says that our description cannot is either listed (it is small: biases, norms of
// heads) or refused by name (it would change the work: linear attention, compressed caches).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/json_reader.hpp"
#include "plan/scenario/model_spec.hpp"

namespace foretoken::plan {

struct HfModel {
  ModelSpec model;
  std::vector<std::string> left_out;  // what the config says and `model` does not: short sentences
};

/// Weights as quantization_config says; activations in the config's dtype; a KV cache as activations, or in FP8 where
/// the checkpoint says so. hf_quant_config.json beside the file is read too, where there is one.
/// @throws Error{invalid_input} if a needed key is missing or of the wrong type or range, keys contradict each other,
///         or the architecture is unknown
HfModel read_hf_config(const std::filesystem::path& file);
/// @param quantisation  text of hf_quant_config.json; empty: there is none
/// @param name  for messages
HfModel read_hf_config(const std::string& text, const std::string& name, const std::string& quantisation = {});

}  // namespace foretoken::plan
