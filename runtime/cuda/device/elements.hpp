// Numbers of an element type as bytes, on the host.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "core/dtype.hpp"

namespace foretoken::runtime::cuda {

/// @param dtype fp32, fp16 or bf16; rounds to nearest, ties to even
std::vector<std::byte> to_bytes(DType dtype, std::span<const float> values);
std::vector<float> to_floats(DType dtype, std::span<const std::byte> bytes);

}  // namespace foretoken::runtime::cuda
