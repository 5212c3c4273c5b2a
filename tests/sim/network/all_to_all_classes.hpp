// All-to-alls as the classes of flows that they consist of: what a collective that knows its own symmetry would emit.
//
// Flows of one class have one size and one start and go from ranks of one class to ranks of one class over one kind of
// path. If every resource of a class carries as many flows of each class as any other, all flows of a class have the
// same rate at all times, and one flow stands for them: it takes of a class of resources as much as there are flows of
// it on each. So the times of the flows are those of a set of one flow per class.
#pragma once

#include <map>
#include <stdexcept>
#include <tuple>
#include <vector>

#include "sim/network/flow_set.hpp"
#include "tests/sim/network/all_to_all.hpp"

namespace foretoken::sim {

struct FlowClass {
  std::int64_t from = 0;  // class of the source rank
  std::int64_t to = 0;
  PathKind path = PathKind::nvlink;
  double bytes = 0;
  std::int64_t per_rank = 0;  // flows of this class that leave a rank of class `from`, and reach one of class `to`
};

/// The class of a rank is its number modulo this.
///
/// U: all ranks are alike. K: the size from i = 8 p + u to j = 8 q + v is 4096 (1 + (8 (31 p + 17 q) + 31 u + 17 v)
/// mod 64), and 31 p + 17 q = q - p modulo 8: it depends on u, v and the distance of the nodes modulo 8. So ranks with
/// the same place in their leaf are alike, if the nodes are a multiple of 8.
/// @throws std::invalid_argument if the exchange has no such symmetry
inline std::int64_t rank_classes(const AllToAllCase& exchange) {
  if (exchange.workload == 'U') return 1;
  if (exchange.workload != 'K' || exchange.ranks % 64 != 0)
    throw std::invalid_argument("only U, and K among multiples of 64 ranks, consist of classes");
  return exchange.nodes_per_leaf > 0 ? exchange.ranks_per_leaf() : AllToAllCase::kGpus;
}

/// Cost: rank classes x ranks.
inline std::vector<FlowClass> flow_classes(const AllToAllCase& exchange) {
  const std::int64_t period = rank_classes(exchange);
  std::vector<FlowClass> classes;
  for (std::int64_t i = 0; i < period; ++i) {
    for (std::int64_t to = 0; to < period; ++to) {
      const std::size_t first = classes.size();
      for (std::int64_t j = to; j < exchange.ranks; j += period) {
        if (j == i) continue;
        const FlowClass one{i, to, exchange.path(i, j), exchange.bytes(i, j), 1};
        std::size_t c = first;
        while (c < classes.size() && (classes[c].path != one.path || classes[c].bytes != one.bytes)) ++c;
        if (c == classes.size()) classes.push_back(one);
        else ++classes[c].per_rank;
      }
    }
  }
  return classes;
}

inline FlowSet class_set(const AllToAllCase& exchange, const std::vector<FlowClass>& classes) {
  const std::int64_t period = rank_classes(exchange);
  FlowSet set;
  set.capacity.assign(static_cast<std::size_t>(2 * period), AllToAllCase::kNvlink);
  set.capacity.insert(set.capacity.end(), static_cast<std::size_t>(2 * period), AllToAllCase::kNic);
  if (exchange.leaves() > 0) set.capacity.insert(set.capacity.end(), 2, exchange.trunk());
  const auto use = [&](std::int64_t resource, double amount) {
    set.uses.push_back({static_cast<std::int32_t>(resource), amount});
  };
  for (const FlowClass& one : classes) {
    TimedFlow flow;
    flow.start = AllToAllCase::start(one.path);
    flow.demand = one.bytes;
    flow.uses_begin = static_cast<std::int32_t>(set.uses.size());
    const std::int64_t first = one.path == PathKind::nvlink ? 0 : 2 * period;
    use(first + 2 * one.from, static_cast<double>(one.per_rank));
    use(first + 2 * one.to + 1, static_cast<double>(one.per_rank));
    if (one.path == PathKind::tree) {
      const std::int64_t per_leaf = one.per_rank * (exchange.ranks / period) / exchange.leaves();
      use(4 * period, static_cast<double>(per_leaf));
      use(4 * period + 1, static_cast<double>(per_leaf));
    }
    flow.uses_end = static_cast<std::int32_t>(set.uses.size());
    set.flows.push_back(flow);
  }
  return set;
}

/// From a time per class to a time per flow, by source and then by destination.
inline std::vector<double> times_of_flows(const AllToAllCase& exchange, const std::vector<FlowClass>& classes,
                                          const std::vector<double>& times) {
  using Key = std::tuple<std::int64_t, std::int64_t, PathKind, double>;
  std::map<Key, double> by_class;
  for (std::size_t c = 0; c < classes.size(); ++c)
    by_class[{classes[c].from, classes[c].to, classes[c].path, classes[c].bytes}] = times[c];
  const std::int64_t period = rank_classes(exchange);
  std::vector<double> all;
  all.reserve(static_cast<std::size_t>(exchange.flows()));
  for (std::int64_t i = 0; i < exchange.ranks; ++i)
    for (std::int64_t j = 0; j < exchange.ranks; ++j)
      if (i != j) all.push_back(by_class.at({i % period, j % period, exchange.path(i, j), exchange.bytes(i, j)}));
  return all;
}

}  // namespace foretoken::sim
