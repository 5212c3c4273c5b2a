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

/// ring       n-1 neighbour steps (twice that for all_reduce)
/// direct     every pair exchanges its part at once; all_reduce sends the whole buffer to everyone while that is faster
///            (one shot), and else is reduce_scatter then all_gather (two shots)
/// nvls       NVSwitch reduces and multicasts in the switch (NVLink SHARP); one node only
/// tree       all_reduce over a chain in every node and two binary trees between nodes, each for half of the buffer: up
///            to the root, and down again
/// nvls_tree  all_reduce over the same trees, with NVLink SHARP instead of the chains
enum class CollectiveAlgorithm : std::uint8_t { ring, direct, nvls, tree, nvls_tree };

constexpr std::array<std::pair<CollectiveAlgorithm, std::string_view>, 5> kCollectiveAlgorithmNames{
    {{CollectiveAlgorithm::ring, "ring"},
     {CollectiveAlgorithm::direct, "direct"},
     {CollectiveAlgorithm::nvls, "nvls"},
     {CollectiveAlgorithm::tree, "tree"},
     {CollectiveAlgorithm::nvls_tree, "nvls_tree"}}};

constexpr std::string_view name_of(CollectiveAlgorithm a) {
  return kCollectiveAlgorithmNames[static_cast<std::size_t>(a)].second;
}

/// Trees sum up: nothing but an all_reduce runs over them. NVSwitches reduce, multicast, or both.
constexpr bool carries_out(CollectiveAlgorithm algorithm, CollectiveOp op) {
  const bool is_tree = algorithm == CollectiveAlgorithm::tree || algorithm == CollectiveAlgorithm::nvls_tree;
  return !is_tree || op == CollectiveOp::all_reduce;
}

/// The algorithm that NCCL picks for an all-reduce by itself, as far as is known.
///
///   one node:       nvls if ranks > 2 and bytes > 16 MiB, where the NVSwitch can; else ring
///   several nodes:  tree up to 512 KiB; above that nvls_tree, where the NVSwitch can; else tree on two nodes and ring
///                   on more
///
/// @param ranks            ranks in the group
/// @param nodes            nodes they span
/// @param bytes            buffer on each rank
/// @param nvls_available   NVSwitch with NVLink SHARP, and a data type it reduces (not int8)
/// Source: nccl-tests on 8 H100 with NCCL 2.27.3, read off two data types: int8, which NVLS cannot reduce, takes as
/// long as half up to 16 MiB and 6 to 29 % longer from 32 MiB on; with 2 ranks the two agree at every size. Between
/// nodes: nccl-tests on 2 x 8 H100 (github.com/NVIDIA/nccl-tests/issues/309), where 1 MiB takes less time than 512 KiB,
/// so that another algorithm begins between them, which NVIDIA's staff names there as NVLSTree.
/// Assumed: the bound for 3 to 7 ranks is that of 8, and that for more nodes that of 2; without NVLink SHARP a tree
/// saves NIC traffic on two nodes alone, hence the ring on more.
constexpr CollectiveAlgorithm choose_all_reduce(int ranks, int nodes, Bytes bytes, bool nvls_available) {
  constexpr Bytes ring_bytes_max{std::int64_t{16} << 20};
  constexpr Bytes tree_bytes_max{std::int64_t{512} << 10};
  if (nodes > 1) {
    if (bytes <= tree_bytes_max) return CollectiveAlgorithm::tree;
    if (nvls_available && ranks > nodes) return CollectiveAlgorithm::nvls_tree;
    return nodes == 2 ? CollectiveAlgorithm::tree : CollectiveAlgorithm::ring;
  }
  if (nvls_available && ranks > 2 && bytes > ring_bytes_max) return CollectiveAlgorithm::nvls;
  return CollectiveAlgorithm::ring;
}

/// direct    every rank sends to all others at once, as NCCL's grouped sends and receives do
/// pairwise  n-1 rounds; in round r every rank sends to the one r further on, and a round begins when the last is over
enum class AllToAllAlgorithm : std::uint8_t { direct, pairwise };

constexpr std::array<std::pair<AllToAllAlgorithm, std::string_view>, 2> kAllToAllAlgorithmNames{
    {{AllToAllAlgorithm::direct, "direct"}, {AllToAllAlgorithm::pairwise, "pairwise"}}};

constexpr std::string_view name_of(AllToAllAlgorithm a) {
  return kAllToAllAlgorithmNames[static_cast<std::size_t>(a)].second;
}

/// low_latency   a token goes to each of its experts by itself, straight from rank to rank
/// hierarchical  a token goes once to each node that has one of its experts, to the GPU in its source's place, and from
///               there over NVLink once to each rank that has one; a combine takes the same way back, summing up
enum class ExchangeAlgorithm : std::uint8_t { low_latency, hierarchical };

constexpr std::array<std::pair<ExchangeAlgorithm, std::string_view>, 2> kExchangeAlgorithmNames{
    {{ExchangeAlgorithm::low_latency, "low_latency"}, {ExchangeAlgorithm::hierarchical, "hierarchical"}}};

constexpr std::string_view name_of(ExchangeAlgorithm a) {
  return kExchangeAlgorithmNames[static_cast<std::size_t>(a)].second;
}

}  // namespace foretoken
