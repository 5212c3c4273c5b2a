// Numbers of 8 bits with 4 for the exponent and 3 for the mantissa (E4M3 of "FP8 Formats for Deep Learning",
// Micikevicius et al. 2022), and how rows of activations are scaled into them: what kernels and tests share.
//
// The largest is 448; there is no infinity, and both signs of 0x7F are no number. From 2^-6 on a number has 4
// significant bits, so that rounding to the nearest changes it by at most 2^-4 of itself; below, numbers are 2^-9
// apart.
#pragma once

#include <bit>
#include <cstdint>

#include "runtime/cuda/host_device.hpp"

namespace foretoken::runtime::cuda {

inline constexpr float kE4m3Max = 448;
inline constexpr std::uint8_t kE4m3Nan = 0x7F;

/// The nearest number, of two equally near ones the even one; what is larger than all of them becomes the largest.
FORETOKEN_HOST_DEVICE inline std::uint8_t to_e4m3(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = bits >> 24U & 0x80U;
  std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  if (magnitude > 0x7F800000U) return static_cast<std::uint8_t>(sign | kE4m3Nan);
  constexpr std::uint32_t largest = std::bit_cast<std::uint32_t>(kE4m3Max);
  if (magnitude >= largest) return static_cast<std::uint8_t>(sign | 0x7EU);
  constexpr std::uint32_t smallest_normal = std::bit_cast<std::uint32_t>(0x1p-6F);
  if (magnitude < smallest_normal) {
    // Numbers of fp32 at 2^14 are 2^-9 apart, so that the addition rounds as wanted.
    const float shifted = std::bit_cast<float>(magnitude) + 0x1p14F;
    return static_cast<std::uint8_t>(sign | (std::bit_cast<std::uint32_t>(shifted) & 0xFU));
  }
  // The carry of the mantissa, if any, goes to the exponent, as it should.
  magnitude += 0x7FFFFU + (magnitude >> 20U & 1U);
  return static_cast<std::uint8_t>(sign | ((magnitude >> 20U) - ((127U - 7U) << 3U)));
}

FORETOKEN_HOST_DEVICE inline float from_e4m3(std::uint8_t code) {
  const std::uint32_t sign = static_cast<std::uint32_t>(code & 0x80U) << 24U;
  const std::uint32_t magnitude = code & 0x7FU;
  if (magnitude == kE4m3Nan) return std::bit_cast<float>(sign | 0x7FC00000U);
  if (magnitude < 8) {
    const float value = static_cast<float>(magnitude) * 0x1p-9F;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(value));
  }
  return std::bit_cast<float>(sign | ((magnitude + ((127U - 7U) << 3U)) << 20U));
}

/// What a row is divided by, so that its largest element becomes the largest number. @param largest magnitude of the
/// row
FORETOKEN_HOST_DEVICE inline float row_scale(float largest) { return largest > 0 ? largest / kE4m3Max : 1.0F; }

/// Where the scale of a row stands, rows being exactly packed by place (row_order.hpp): scales of a place begin at a
/// multiple of 16 bytes, as products of one place after the other read them.
/// @param first_row of the place
FORETOKEN_HOST_DEVICE inline std::int64_t first_scale(std::int64_t place, std::int64_t first_row) {
  return (first_row + 3) / 4 * 4 + 4 * place;
}
/// Scales of that many rows in that many places need no more.
FORETOKEN_HOST_DEVICE inline std::int64_t scales_max(std::int64_t places, std::int64_t rows) {
  return rows + 3 + 4 * places;
}

}  // namespace foretoken::runtime::cuda
