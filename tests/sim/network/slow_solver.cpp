#include "tests/sim/network/slow_solver.hpp"

#include <algorithm>
#include <limits>

namespace foretoken::sim {
namespace {

constexpr long double kNever = std::numeric_limits<long double>::infinity();

}  // namespace

std::vector<long double> shares_by_definition(const FlowSet& set, const std::vector<char>& active) {
  const std::size_t flows = set.flows.size();
  std::vector<long double> rate(flows, 0);
  std::vector<char> grows = active;
  while (std::find(grows.begin(), grows.end(), 1) != grows.end()) {
    std::vector<long double> taken(set.capacity.size(), 0);  // by those that no longer grow
    std::vector<long double> slope(set.capacity.size(), 0);  // per unit of level, by those that do
    for (std::size_t f = 0; f < flows; ++f) {
      for (const auto& [resource, amount] : uses_of(set, f)) {
        const auto r = static_cast<std::size_t>(resource);
        if (grows[f] != 0) slope[r] += static_cast<long double>(amount) * set.flows[f].weight;
        else taken[r] += amount * rate[f];
      }
    }
    const auto full_at = [&](std::size_t r) { return std::max(0.0L, set.capacity[r] - taken[r]) / slope[r]; };
    const auto stops_at = [&](std::size_t f) {
      long double level = static_cast<long double>(set.flows[f].ceiling) / set.flows[f].weight;
      for (const ResourceUse& use : uses_of(set, f))
        level = std::min(level, full_at(static_cast<std::size_t>(use.resource)));
      return level;
    };
    long double level = kNever;
    for (std::size_t f = 0; f < flows; ++f)
      if (grows[f] != 0) level = std::min(level, stops_at(f));
    std::vector<std::size_t> stopped;
    for (std::size_t f = 0; f < flows; ++f)
      if (grows[f] != 0 && stops_at(f) <= level) stopped.push_back(f);
    for (const std::size_t f : stopped) {
      rate[f] = set.flows[f].weight * level;
      grows[f] = 0;
    }
  }
  return rate;
}

std::vector<double> completions_by_definition(const FlowSet& set) {
  const std::size_t flows = set.flows.size();
  std::vector<long double> left(flows);
  for (std::size_t f = 0; f < flows; ++f) left[f] = set.flows[f].demand;
  std::vector<char> ended(flows, 0);
  std::vector<double> completion(flows, 0);
  long double now = 0;
  for (;;) {
    std::vector<char> active(flows, 0);
    long double next = kNever;  // the next event: a start, unless a completion is earlier
    for (std::size_t f = 0; f < flows; ++f) {
      if (ended[f] != 0) continue;
      if (set.flows[f].start <= now) active[f] = 1;
      else next = std::min<long double>(next, set.flows[f].start);
    }
    const std::vector<long double> rate = shares_by_definition(set, active);
    std::size_t due = flows;
    for (std::size_t f = 0; f < flows; ++f) {
      if (active[f] == 0 || now + left[f] / rate[f] > next) continue;
      next = now + left[f] / rate[f];
      due = f;
    }
    if (next == kNever) return completion;
    for (std::size_t f = 0; f < flows; ++f)
      if (active[f] != 0) left[f] = std::max(0.0L, left[f] - rate[f] * (next - now));
    now = next;
    if (due == flows) continue;
    ended[due] = 1;
    completion[due] = static_cast<double>(now);
  }
}

}  // namespace foretoken::sim
