// The named algorithms by which a collective is carried out, by both executors, and the rule that picks one.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

#include "core/units.hpp"

namespace foretoken {

enum class CollectiveOp : std::uint8_t { all_reduce, all_gather, reduce_scatter };

constexpr std::array<std::pair<CollectiveOp, std::string_view>, 3> kCollectiveOpNames{
    {{CollectiveOp::all_reduce, "all_reduce"},
     {CollectiveOp::all_gather, "all_gather"},
     {CollectiveOp::reduce_scatter, "reduce_scatter"}}};

constexpr std::string_view name_of(CollectiveOp op) { return kCollectiveOpNames[static_cast<std::size_t>(op)].second; }

/// ring    n-1 neighbour steps (twice that for all_reduce)
/// direct  every pair exchanges its part at once; all_reduce sends the whole buffer to everyone while that is faster
///         (one shot), and else is reduce_scatter then all_gather (two shots)
/// nvls    NVSwitch reduces and multicasts in the switch (NVLink SHARP); one node only
enum class CollectiveAlgorithm : std::uint8_t { ring, direct, nvls };

constexpr std::array<std::pair<CollectiveAlgorithm, std::string_view>, 3> kCollectiveAlgorithmNames{
    {{CollectiveAlgorithm::ring, "ring"},
     {CollectiveAlgorithm::direct, "direct"},
     {CollectiveAlgorithm::nvls, "nvls"}}};

constexpr std::string_view name_of(CollectiveAlgorithm a) {
  return kCollectiveAlgorithmNames[static_cast<std::size_t>(a)].second;
}

/// The algorithm that NCCL 2.27 picks for an all-reduce by itself, as far as the named ones go.
///
///   nvls if one node, ranks > 2 and bytes > 16 MiB, where the NVSwitch can; else ring
///
/// @param ranks            ranks in the group
/// @param nodes            nodes they span
/// @param bytes            buffer on each rank
/// @param nvls_available   NVSwitch with NVLink SHARP, and a data type it reduces (not int8)
/// Source: nccl-tests on 8 H100 with NCCL 2.27.3, read off two data types: int8, which NVLS cannot reduce, takes as
/// long as half up to 16 MiB and 6 to 29 % longer from 32 MiB on; with 2 ranks the two agree at every size. The bound
/// for 3 to 7 ranks is assumed to be that of 8. Limits: between nodes NCCL prefers a tree or NVLS with a tree, which is
/// not among the named algorithms; the ring that is returned instead takes 1.3 to 4 times as long below 8 MiB, and 1.2
/// times above 1 GiB, on 2 nodes.
constexpr CollectiveAlgorithm choose_all_reduce(int ranks, int nodes, Bytes bytes, bool nvls_available) {
  constexpr Bytes ring_bytes_max{std::int64_t{16} << 20};
  if (nvls_available && nodes == 1 && ranks > 2 && bytes > ring_bytes_max) return CollectiveAlgorithm::nvls;
  return CollectiveAlgorithm::ring;
}

}  // namespace foretoken
