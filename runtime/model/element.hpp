// The numbers of a model: each element of a matrix is an integer hash of its place times a power of two.
//
// An element is known by (seed, layer, matrix, index within the whole matrix), so that the parts of one model hold the
// same numbers in every deployment. The integers are odd and at most 255 in magnitude: zero mean, no zeros, and exact
// in fp32, fp16 and bf16. Integer arithmetic and nothing but constexpr functions: a CUDA kernel includes this file as
// it is (nvcc --expt-relaxed-constexpr) and draws the same numbers.
#pragma once

#include <cstdint>

namespace foretoken::runtime {

/// Matrices that are no weights; those are numbered by plan::WeightKind, below 32.
inline constexpr std::uint32_t kMatrixKeys = 32;    // k of the KV cache: [sequence, position, KV head, element]
inline constexpr std::uint32_t kMatrixValues = 33;  // v likewise
inline constexpr std::uint32_t kMatrixInput = 34;   // hidden states that enter a step: [sequence, column]

/// The finaliser of SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
constexpr std::uint64_t mixed(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

inline constexpr std::uint64_t kGoldenGamma = 0x9E3779B97F4A7C15ULL;  // SplitMix64's increment

/// What the elements of one matrix have in common.
/// @param layer  of the model; for kMatrixInput the routed step
constexpr std::uint64_t matrix_key(std::uint64_t seed, std::uint32_t layer, std::uint32_t matrix) {
  return mixed(mixed(seed + kGoldenGamma) + (static_cast<std::uint64_t>(layer) << 8U) + matrix);
}

/// An odd number from -255 to 255.
constexpr std::int32_t element_integer(std::uint64_t key, std::uint64_t index) {
  return static_cast<std::int32_t>(mixed(key + index * kGoldenGamma) >> 56U) * 2 - 255;
}

/// 2^-8 times the largest power of two whose square is at most 3 / fan_in, or 2^-8 if that is more than 1.
///
/// Elements are uniform over about [-s, s] with variance s^2 / 3, so that a sum of fan_in products with terms of unit
/// variance has a variance of 1/4 to 1: activations stay of order one at every width.
constexpr float element_scale(std::int64_t fan_in) {
  float scale = 1.0F / 256;
  for (std::int64_t reached = 3; reached < fan_in; reached *= 4) scale /= 2;
  return scale;
}

}  // namespace foretoken::runtime
