// A FlowSet run through a FlowNetwork, with a look at every interval between two events.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "sim/network/flow_network.hpp"
#include "tests/sim/network/slow_solver.hpp"

namespace foretoken::sim {

/// Rates are constant in an interval; active[flow] says who has one. The callee may move the network on within it.
using AtInterval = std::function<void(FlowNetwork&, double to, const std::vector<char>& active)>;

/// @returns when each flow ends; tags are the flows' indices
inline std::vector<double> drive(FlowNetwork& network, const FlowSet& set, const AtInterval& look = {}) {
  const auto start_of = [&](std::size_t f) { return set.flows[f].start; };
  std::vector<std::size_t> order(set.flows.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return start_of(a) < start_of(b); });
  std::vector<double> completion(set.flows.size(), 0);
  std::vector<char> active(set.flows.size(), 0);
  std::vector<std::int32_t> ended;
  std::size_t next = 0;
  while (next < order.size() || network.active() > 0) {
    const double start = next < order.size() ? start_of(order[next]) : std::numeric_limits<double>::infinity();
    const double completes = network.next_completion();
    const double to = std::min(start, completes);
    if (!std::isfinite(to)) throw std::runtime_error("a flow never ends");
    if (look && to > network.now()) look(network, to, active);
    if (completes < start) {
      ended.clear();
      network.complete(ended);
      for (const std::int32_t tag : ended) {
        completion[static_cast<std::size_t>(tag)] = network.now();
        active[static_cast<std::size_t>(tag)] = 0;
      }
      continue;
    }
    network.advance(start);
    for (; next < order.size() && start_of(order[next]) == start; ++next) {
      const TimedFlow& flow = set.flows[order[next]];
      network.start(
          {flow.demand, flow.weight, flow.ceiling, uses_of(set, order[next]), static_cast<std::int32_t>(order[next])});
      active[order[next]] = 1;
    }
  }
  return completion;
}

}  // namespace foretoken::sim
