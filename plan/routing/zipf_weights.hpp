// Integer weights of a Zipf distribution, the same bits on every machine.
#pragma once

#include <cstdint>
#include <vector>

namespace foretoken::plan {

/// Weights of popularity ranks 0 .. count - 1, added up: element r is the sum of the weights of ranks 0 to r.
///
///   weight(r) = max(1, round(2^50 / (r + 1)^exponent))
///
/// so that exponent 0 gives equal weights, no expert has weight zero, and 4,096 weights add up to at most 2^62.
/// The power is computed here from + - x / alone: std::pow may differ in its last bit from one C library to the next,
/// and then the same seed would route differently.
/// @param count 1..4096, @param exponent 0..64
std::vector<std::uint64_t> zipf_thresholds(std::int64_t count, double exponent);

}  // namespace foretoken::plan
