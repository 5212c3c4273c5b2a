// Routing made concrete: how many rows each rank gets and sends, for one routed step, layer, micro-batch and chunk.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <tuple>
#include <vector>

#include "core/ids.hpp"
#include "plan/placement.hpp"
#include "plan/program/program.hpp"
#include "plan/routing/routing.hpp"

namespace foretoken::plan {

/// Rows that one source rank sends to one host rank (both as indices within the expert group).
struct PairRows {
  std::int32_t source = 0;
  std::int32_t host = 0;
  std::int64_t rows = 0;
  std::int32_t round = 0;  // of an exchange in several (NodeRows::Legs::apart)
};

/// The rows of one routed step, layer, micro-batch, chunk (-1: all) and expert-group instance.
struct RoutedRows {
  std::vector<std::int64_t> rows_of_expert;  // [expert]
  std::vector<PairRows> pairs;               // rows > 0 only, ordered by (source, host); source == host included
};

/// Counts rows on demand and remembers them. One per simulation or run; not shared between threads.
class RowCounter {
 public:
  /// Keeps references to both; they must outlive it.
  RowCounter(const Placement& placement, const Routing& routing, std::int64_t experts);

  /// @param instance   index of the expert-group instance: first rank of the group / ep
  /// @param routed_step 0 <= routed_step < routing.routed_steps()
  /// Where experts are exchanged by all_reduce every rank of the group holds all its tokens, there are no chunks, and
  /// `pairs` is empty. The reference is valid until the next call: memory is bounded by forgetting.
  const RoutedRows& rows(std::int64_t routed_step, std::int64_t layer, std::int64_t micro_batch, std::int64_t chunk,
                         std::int64_t instance);

  /// Rows per local expert of `rank` for an op's routed extent, in the order of Placement::experts_on.
  /// @throws Error{internal} if the extent is not routed
  std::vector<std::int64_t> local_rows(RankId rank, const Extent& extent, std::int64_t routed_step);

 private:
  const Placement& placement_;
  const Routing& routing_;
  std::int64_t experts_;
  std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t>, RoutedRows> cache_;
  std::size_t cached_numbers_ = 0;
};

}  // namespace foretoken::plan
