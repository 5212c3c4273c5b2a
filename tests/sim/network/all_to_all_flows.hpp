// An all-to-all of all_to_all.hpp as flows over resources.
#pragma once

#include <cstdint>

#include "sim/network/flow_set.hpp"
#include "tests/sim/network/all_to_all.hpp"

namespace foretoken::sim {

/// One flow per ordered pair of ranks, by source and then by destination. Resources: NVLink up and down of each rank,
/// NIC out and in of each, trunk up and down of each leaf.
inline FlowSet all_to_all_flows(const AllToAllCase& exchange) {
  const std::int64_t ranks = exchange.ranks;
  FlowSet set;
  set.capacity.assign(static_cast<std::size_t>(2 * ranks), AllToAllCase::kNvlink);
  set.capacity.insert(set.capacity.end(), static_cast<std::size_t>(2 * ranks), AllToAllCase::kNic);
  set.capacity.insert(set.capacity.end(), static_cast<std::size_t>(2 * exchange.leaves()), exchange.trunk());
  set.flows.reserve(static_cast<std::size_t>(exchange.flows()));
  set.uses.reserve(static_cast<std::size_t>((exchange.leaves() > 1 ? 4 : 2) * exchange.flows()));
  const auto use = [&](std::int64_t resource) { set.uses.push_back({static_cast<std::int32_t>(resource), 1.0}); };
  for (std::int64_t i = 0; i < ranks; ++i) {
    for (std::int64_t j = 0; j < ranks; ++j) {
      if (i == j) continue;
      const PathKind path = exchange.path(i, j);
      TimedFlow flow;
      flow.start = AllToAllCase::start(path);
      flow.demand = exchange.bytes(i, j);
      flow.uses_begin = static_cast<std::int32_t>(set.uses.size());
      const std::int64_t first = path == PathKind::nvlink ? 0 : 2 * ranks;
      use(first + 2 * i);
      use(first + 2 * j + 1);
      if (path == PathKind::tree) {
        use(4 * ranks + 2 * (i / exchange.ranks_per_leaf()));
        use(4 * ranks + 2 * (j / exchange.ranks_per_leaf()) + 1);
      }
      flow.uses_end = static_cast<std::int32_t>(set.uses.size());
      set.flows.push_back(flow);
    }
  }
  return set;
}

}  // namespace foretoken::sim
