// How many token rows each expert of one GPU gets, by the name of a distribution: no tokens are drawn.
#pragma once

#include <cstdint>
#include <vector>

namespace foretoken::sim {

struct ExpertLoad {
  enum class Kind : std::uint8_t {
    balanced,  // every expert as many as any other, but for one
    uniform,   // every token draws its top_k distinct experts evenly
    power_law  // few experts get most
  };
  Kind kind = Kind::balanced;
  double exponent = 0;  // of power_law, > 0
};

/// Rows of the experts / ep experts of one of `ep` GPUs, in no particular order. R = tokens x top_k are spread in all.
///
///   balanced   R / experts, rounded so that what does not divide is spread evenly; the GPU is one with the most
///   uniform    quantiles of Binomial(tokens, top_k / experts): a GPU like any other
///   power_law  loads like quantiles of a density x^-exponent on [1, 0.8 tokens] (on [0.01, 2] where R <= experts),
///              scaled to R, at most `tokens` each. The GPU is the one with the most popular expert; its others are an
///              even sample of the rest.
///
/// Source of the power law: how aiconfigurator's MoE benchmarks load their experts, by random draws where this takes
/// quantiles; they too time the busiest GPU.
/// @param tokens >= 0 over all GPUs, @param experts >= 1, a multiple of ep, @param top_k 1..experts
/// Example: balanced, 3 tokens, top-2, 8 experts on 2 GPUs: 6 rows on 8 experts, 3 of them on this GPU: {1, 1, 1, 0}
///          in some order.
std::vector<std::int64_t> expert_rows(const ExpertLoad& load, std::int64_t tokens, std::int64_t experts,
                                      std::int64_t top_k, std::int64_t ep);

}  // namespace foretoken::sim
