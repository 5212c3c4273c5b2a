// Draws distinct experts of which each gets exactly its share of the visits, on average.
//
// Drawing one after the other from what is left, as a Zipf routing does, gives popular experts less than their weight:
// they can be drawn once. Here the weights, laid end to end in an order of the token's own, are cut at `top_k` equally
// spaced points with a random start (systematic sampling: Madow, "On the Theory of Systematic Sampling, II", 1949).
// An expert that takes up the share p of one spacing is hit with chance p, and never twice as p <= 1.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/random.hpp"

namespace foretoken::plan {

/// @param weights  [expert] with top_k x weight <= total for each, total below 2^50
/// @param order    [expert] room to work in
/// @param experts  [top_k] filled with distinct experts, in an order that says nothing
void draw_by_shares(RandomSequence& random, std::span<const std::uint64_t> weights, std::uint64_t total,
                    std::vector<std::int32_t>& order, std::span<std::int32_t> experts);

/// Weights of which the first `hot` have `share` of the total, the others the rest, as draw_by_shares() needs them.
/// @param share  as far as possible: of `top_k` distinct experts the hot ones are some, and not all the others
std::vector<std::uint64_t> hot_set_weights(std::int64_t experts, std::int64_t hot, double share, std::int64_t top_k);

}  // namespace foretoken::plan
