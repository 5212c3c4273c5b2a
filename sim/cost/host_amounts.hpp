// What a compute op is made of on a CPU core: how much it has of each term of core/host_terms.hpp.
//
// The one description of the host's kernels: the calibration fits the terms' costs to it, the simulator multiplies
// with them. It follows runtime/host/verbs.cpp, verb by verb.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/host_terms.hpp"
#include "core/units.hpp"
#include "plan/program/program.hpp"

namespace foretoken::sim {

/// @param op  a compute op of the role
/// @param rows_per_expert  rows of a routed extent, per local expert; ignored where the extent is fixed
/// @param beyond_cache     time per byte of fetching what the op has not touched since the step before (weights, KV
///                         cache, the buffer that it writes) from where it is, beyond the nearest cache; see
///                         reuse_distances and HostCalibration::streaming_beyond_cache
HostTerms host_amounts(const plan::Role& role, const plan::Op& op, std::span<const std::int64_t> rows_per_expert,
                       Seconds beyond_cache);

/// [op of the role] Bytes that the rank touches between two uses of the op's weights or KV cache, those included: what
/// a cache has to hold for them to be found there again. For ops without such an operand all that a step touches.
///
/// The role's ops are walked in program order, step after step. Tensors with routed rows count as if the tokens were
/// spread evenly (`routed_rows`).
/// @param routed_rows  rows of a routed extent, expected
std::vector<Bytes> reuse_distances(const plan::Role& role, std::int64_t routed_rows);

}  // namespace foretoken::sim
