// In which types a Hugging Face checkpoint stores its weights.
#pragma once

#include <optional>

#include "plan/scenario/hf_keys.hpp"
#include "plan/scenario/model_spec.hpp"

namespace foretoken::plan {

/// Sets weight_dtype, expert_format, dispatch_dtype and kv_dtype; activation_dtype is what is not quantised.
///
///   quant_method "fp8"                 all matrices FP8; experts as expert_dtype says, where it does
///   "mxfp4"                            experts
///   "compressed-tensors", "modelopt"   by bits and type of the first group; experts alone where attention is excluded
///
/// Rows for FP8 experts are dispatched in FP8, as DeepEP does.
///
/// @param second  hf_quant_config.json, where there is one: it decides
/// @throws Error{invalid_input} for methods and widths that are not known, and for 4 bits outside the experts
void read_quantisation(const HfKeys& config, const std::optional<JsonDocument>& second, ModelSpec& model);

}  // namespace foretoken::plan
