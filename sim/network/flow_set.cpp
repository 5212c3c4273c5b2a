#include "sim/network/flow_set.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "core/error.hpp"
#include "sim/network/flow_network.hpp"
#include "sim/network/symmetry.hpp"

namespace foretoken::sim {
namespace {

FlowTimes run_each(const FlowSet& set, const FlowSetOptions& options) {
  require_time(sharing_seconds(static_cast<double>(set.flows.size()), options.accuracy), options.seconds_max,
               options.accuracy, fmt::format("sharing links among {} flows that differ", set.flows.size()),
               "lower their number");
  std::vector<std::int32_t> order(set.flows.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return set.flows[static_cast<std::size_t>(a)].start < set.flows[static_cast<std::size_t>(b)].start;
  });

  FlowTimes times;
  std::vector<double> completion(set.flows.size(), 0.0);
  times.classes = static_cast<std::int64_t>(set.flows.size());
  FlowNetwork network(set.capacity, options.accuracy);
  std::vector<std::int32_t> ended;
  std::size_t next = 0;
  while (next < order.size() || network.active() > 0) {
    const double start = next < order.size() ? set.flows[static_cast<std::size_t>(order[next])].start
                                             : std::numeric_limits<double>::infinity();
    if (network.next_completion() <= start) {
      if (!std::isfinite(network.next_completion()))
        throw Error(ErrorCode::invalid_input, "a flow never ends: a resource that it uses has no capacity");
      ended.clear();
      network.complete(ended);
      for (const std::int32_t flow : ended) completion[static_cast<std::size_t>(flow)] = network.now();
      continue;
    }
    network.advance(start);
    for (; next < order.size() && set.flows[static_cast<std::size_t>(order[next])].start <= start; ++next) {
      const TimedFlow& flow = set.flows[static_cast<std::size_t>(order[next])];
      const auto uses = std::span(set.uses).subspan(static_cast<std::size_t>(flow.uses_begin),
                                                    static_cast<std::size_t>(flow.uses_end - flow.uses_begin));
      network.start({flow.demand, flow.weight, flow.ceiling, uses, order[next]});
    }
  }
  times.completion = Completions(std::move(completion));
  times.solves = network.solves();
  times.error = network.error();
  return times;
}

}  // namespace

double Completions::last() const {
  return of_class_.empty() ? 0.0 : *std::max_element(of_class_.begin(), of_class_.end());
}

std::vector<double> Completions::each() const {
  if (class_of_.empty()) return of_class_;
  std::vector<double> each;
  each.reserve(class_of_.size());
  for (const std::int32_t number : class_of_) each.push_back(of_class_[static_cast<std::size_t>(number)]);
  return each;
}

FlowTimes run_flows(const FlowSet& set, const FlowSetOptions& options) {
  if (options.merge_symmetric) {
    if (auto classes = find_classes(set)) {
      FlowTimes times = run_each(classes->quotient, options);
      times.completion = Completions(times.completion.each(), std::move(classes->of_flow));
      return times;
    }
  }
  return run_each(set, options);
}

}  // namespace foretoken::sim
