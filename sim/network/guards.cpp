#include "sim/network/guards.hpp"

#include <algorithm>
#include <limits>

namespace foretoken::sim {
namespace {

double least_capacity(const SharingState& state, const std::vector<std::int32_t>& resources) {
  double least = std::numeric_limits<double>::infinity();
  for (const std::int32_t resource : resources)
    least = std::min(least, state.resources[static_cast<std::size_t>(resource)].capacity);
  return least;
}

bool uses_as_much(const SharingState& state, const Activity& activity, std::int32_t resource, double amount) {
  bool found = false;
  state.for_each_use(
      activity, [&](std::int32_t used, double needed) { found = found || (used == resource && needed >= amount); });
  return found;
}

}  // namespace

bool stays_guarded(SharingState& state, std::int32_t resource, const Activity& activity, double amount) {
  Resource& r = state.resources[static_cast<std::size_t>(resource)];
  for (Resource::Guard& guard : r.guards) {
    const auto shared = [&](std::int32_t other) { return uses_as_much(state, activity, other, amount); };
    if (std::none_of(guard.resources.begin(), guard.resources.end(), shared)) continue;
    if (guard.resources.size() == 1) return true;
    std::erase_if(guard.resources, [&](std::int32_t other) { return !shared(other); });
    r.guarded -= guard.capacity;
    guard.capacity = least_capacity(state, guard.resources);
    r.guarded += guard.capacity;
    return r.guarded <= r.capacity;
  }
  Resource::Guard guard;
  state.for_each_use(activity, [&](std::int32_t other, double needed) {
    const double capacity = state.resources[static_cast<std::size_t>(other)].capacity;
    const bool is_before = capacity < r.capacity || (capacity == r.capacity && other < resource);
    if (is_before && needed >= amount) guard.resources.push_back(other);
  });
  if (guard.resources.empty()) return false;
  guard.capacity = least_capacity(state, guard.resources);
  r.guarded += guard.capacity;
  if (r.guarded > r.capacity) return false;
  r.guards.push_back(std::move(guard));
  return true;
}

}  // namespace foretoken::sim
