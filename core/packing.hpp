// Formats in which weights are stored narrower than they are multiplied.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

#include "core/dtype.hpp"

namespace foretoken {

/// Weights that are stored narrower than any type that is computed with: multiplied as activations after unpacking.
///   mxfp4  groups of 32 with an 8-bit scale     nvfp4  groups of 16 with an 8-bit scale
///   int4   groups of 32 with a 16-bit scale
enum class Packing : std::uint8_t { none, mxfp4, nvfp4, int4 };

constexpr std::array<std::pair<Packing, std::string_view>, 4> kPackingNames{
    {{Packing::none, "none"}, {Packing::mxfp4, "mxfp4"}, {Packing::nvfp4, "nvfp4"}, {Packing::int4, "int4"}}};

constexpr std::string_view name_of(Packing packing) { return kPackingNames[static_cast<std::size_t>(packing)].second; }

/// Bits of a weight in memory, its share of the scales included; of fp8, scales of 128 x 128 blocks (0.02 %) are not.
constexpr double bits_per_weight(Packing packing, DType dtype) {
  switch (packing) {
    case Packing::none: break;
    case Packing::mxfp4: return 4 + 8.0 / 32;
    case Packing::nvfp4: return 4 + 8.0 / 16;
    case Packing::int4: return 4 + 16.0 / 32;
  }
  return 8.0 * static_cast<double>(bytes_per_element(dtype));
}

}  // namespace foretoken
