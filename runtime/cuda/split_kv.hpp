// Split-KV decode attention: how the positions of a sequence are cut, and how softmaxes over parts are put together.
//
// A softmax over scores s_i of values v_i is known by (m, l, a): the largest score, sum exp(s_i - m), and
// sum exp(s_i - m) v_i; the result is a / l. Two parts merge exactly:
//
//   m = max(m1, m2),  l = exp(m1 - m) l1 + exp(m2 - m) l2,  a = exp(m1 - m) a1 + exp(m2 - m) a2
#pragma once

#include <cmath>
#include <cstdint>

#include "runtime/cuda/host_device.hpp"

namespace foretoken::runtime::cuda {

/// A split has at least so many positions: below, its start and the merge cost more than it reads.
inline constexpr std::int64_t kSplitPositionsMin = 64;
inline constexpr std::int64_t kSplitsMax = 64;

/// Into how many parts a sequence's positions are cut, so that all multiprocessors have work.
/// @param blocks           of one split: sequences x KV heads x groups of query heads, >= 1
/// @param context          positions, >= 1
/// @param multiprocessors  of the device; two blocks run on each
inline std::int64_t kv_splits(std::int64_t blocks, std::int64_t context, std::int64_t multiprocessors) {
  const std::int64_t wanted = (2 * multiprocessors + blocks - 1) / blocks;
  const std::int64_t useful = (context + kSplitPositionsMin - 1) / kSplitPositionsMin;
  const std::int64_t splits = wanted < useful ? wanted : useful;
  if (splits < 1) return 1;
  return splits < kSplitsMax ? splits : kSplitsMax;
}

/// Query heads that one block works on, so that a position is read once for all of them; a GQA group with more has
/// several blocks.
inline constexpr std::int64_t kHeadsPerBlockMax = 8;

inline std::int64_t attention_blocks(std::int64_t sequences, std::int64_t heads, std::int64_t kv_heads) {
  const std::int64_t group = heads / kv_heads;
  return sequences * kv_heads * ((group + kHeadsPerBlockMax - 1) / kHeadsPerBlockMax);
}

/// Bytes for the partial softmaxes: per sequence, head and split m, l and head_dim values, fp32.
inline std::int64_t attention_room(std::int64_t sequences, std::int64_t heads, std::int64_t kv_heads,
                                   std::int64_t head_dim, std::int64_t context, std::int64_t multiprocessors) {
  const std::int64_t splits = kv_splits(attention_blocks(sequences, heads, kv_heads), context, multiprocessors);
  return splits == 1 ? 0 : sequences * heads * splits * (head_dim + 2) * 4;
}

struct Positions {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

/// Part `split` of `splits` of the positions, the first ones one longer where they do not divide evenly.
FORETOKEN_HOST_DEVICE inline Positions kv_range(std::int64_t context, std::int64_t splits, std::int64_t split) {
  const std::int64_t whole = context / splits;
  const std::int64_t longer = context % splits;
  const std::int64_t begin = split * whole + (split < longer ? split : longer);
  return {begin, begin + whole + (split < longer ? 1 : 0)};
}

/// m and l of a part; without positions m is -infinity and l zero.
struct SoftmaxPart {
  float largest = -INFINITY;
  float sum = 0;
};

/// What the accumulated values of two parts are multiplied with to be those of both.
struct MergeFactors {
  float first = 1;
  float second = 0;
};

/// `part` becomes both. Parts without positions change nothing.
FORETOKEN_HOST_DEVICE inline MergeFactors merge(SoftmaxPart& part, SoftmaxPart other) {
  if (other.sum == 0) return {1, 0};
  const float largest = part.largest > other.largest ? part.largest : other.largest;
  // -infinity minus a number is -infinity, whose exponential is zero: right for a part without positions.
  const MergeFactors factors{expf(part.largest - largest), expf(other.largest - largest)};
  part.sum = factors.first * part.sum + factors.second * other.sum;
  part.largest = largest;
  return factors;
}

/// A single position as a part.
FORETOKEN_HOST_DEVICE inline SoftmaxPart part_of_score(float score) { return {score, 1}; }

}  // namespace foretoken::runtime::cuda
