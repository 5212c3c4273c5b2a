// The named algorithms by which a collective is carried out, by both executors.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

namespace foretoken {

enum class CollectiveOp : std::uint8_t { all_reduce, all_gather, reduce_scatter };

constexpr std::array<std::pair<CollectiveOp, std::string_view>, 3> kCollectiveOpNames{
    {{CollectiveOp::all_reduce, "all_reduce"},
     {CollectiveOp::all_gather, "all_gather"},
     {CollectiveOp::reduce_scatter, "reduce_scatter"}}};

constexpr std::string_view name_of(CollectiveOp op) { return kCollectiveOpNames[static_cast<std::size_t>(op)].second; }

/// ring    n-1 neighbour steps (twice that for all_reduce)
/// direct  every pair exchanges its part at once; all_reduce is reduce_scatter then all_gather
/// nvls    NVSwitch reduces and multicasts in the switch (NVLink SHARP); one node only
enum class CollectiveAlgorithm : std::uint8_t { ring, direct, nvls };

constexpr std::array<std::pair<CollectiveAlgorithm, std::string_view>, 3> kCollectiveAlgorithmNames{
    {{CollectiveAlgorithm::ring, "ring"},
     {CollectiveAlgorithm::direct, "direct"},
     {CollectiveAlgorithm::nvls, "nvls"}}};

constexpr std::string_view name_of(CollectiveAlgorithm a) {
  return kCollectiveAlgorithmNames[static_cast<std::size_t>(a)].second;
}

}  // namespace foretoken
