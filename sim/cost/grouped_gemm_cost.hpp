// Grouped GEMM: the experts of one layer on one GPU, each with its own number of rows.
#pragma once

#include <cstdint>
#include <span>

#include "sim/cost/gemm_cost.hpp"

namespace foretoken::sim {

/// Every expert with rows is 1/E of a dense GEMM in which all E active experts have as many rows as it has:
///
///   time = (1/E) sum over active experts e of gemm(m = rows_e, n = E x n, k)
///
/// With equal rows this is one GEMM over the E weights side by side: same weight bytes, same FLOPs, same tiles, one
/// kernel. With unequal rows the mean keeps weight bytes and FLOPs exact, and charges an expert whose few rows fill a
/// tile badly for that tile. Experts without rows cost nothing: their weights are not read.
///
/// @param rows_per_expert >= 0 each
/// @param weight_bytes as of GemmCost
/// Provenance: one active expert is a dense GEMM; more are `extrapolated`, since the mapping is physics and not a fit.
/// Limits: leaves out routing, permutation and activation, which are ops of their own.
/// Example: rows {64, 0, 64, 0} of n = 32768, k = 8192 cost as gemm(64, 65536, 8192).
Estimate grouped_gemm(const GemmCost& gemm, std::span<const std::int64_t> rows_per_expert, std::int64_t n,
                      std::int64_t k, double weight_bytes = 0);

}  // namespace foretoken::sim
