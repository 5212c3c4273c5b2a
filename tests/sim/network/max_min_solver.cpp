#include "tests/sim/network/max_min_solver.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.hpp"

namespace foretoken::sim {
namespace {

std::span<const ResourceUse> uses_of(const MaxMinActivity& activity, std::span<const ResourceUse> uses) {
  return uses.subspan(static_cast<std::size_t>(activity.uses_begin),
                      static_cast<std::size_t>(activity.uses_end - activity.uses_begin));
}

}  // namespace

void MaxMinSolver::collect(std::span<const double> capacity, std::span<const MaxMinActivity> activities,
                           std::span<const std::int32_t> members, std::span<const ResourceUse> uses) {
  filling_.resize(capacity.size());
  is_touched_.resize(capacity.size(), 0);
  frozen_.resize(activities.size());
  touched_.clear();
  by_ceiling_.clear();

  for (const std::int32_t member : members) {
    const auto& activity = activities[static_cast<std::size_t>(member)];
    frozen_[static_cast<std::size_t>(member)] = 0;
    if (std::isfinite(activity.ceiling)) by_ceiling_.push_back(member);
    FORETOKEN_CHECK(activity.uses_begin < activity.uses_end || std::isfinite(activity.ceiling),
                    "an activity without resources needs a ceiling");
    for (const ResourceUse& use : uses_of(activity, uses)) {
      const auto r = static_cast<std::size_t>(use.resource);
      if (is_touched_[r] == 0) {
        is_touched_[r] = 1;
        touched_.push_back(use.resource);
        filling_[r] = Filling{capacity[r], 0.0, 0, 0, 0};
      }
      filling_[r].slope += use.amount * activity.weight;
      ++filling_[r].growing;
    }
  }

  std::int32_t begin = 0;
  for (const std::int32_t resource : touched_) {
    Filling& filling = filling_[static_cast<std::size_t>(resource)];
    filling.users_begin = filling.users_end = begin;
    begin += filling.growing;
    is_touched_[static_cast<std::size_t>(resource)] = 0;
  }
  users_.resize(static_cast<std::size_t>(begin));
  for (const std::int32_t member : members) {
    for (const ResourceUse& use : uses_of(activities[static_cast<std::size_t>(member)], uses)) {
      users_[static_cast<std::size_t>(filling_[static_cast<std::size_t>(use.resource)].users_end++)] = {member,
                                                                                                        use.amount};
    }
  }
}

void MaxMinSolver::sum_afresh(std::int32_t resource, std::span<const double> capacity,
                              std::span<const MaxMinActivity> activities, std::span<const double> rates) {
  Filling& filling = filling_[static_cast<std::size_t>(resource)];
  filling.free = capacity[static_cast<std::size_t>(resource)];
  filling.slope = 0;
  for (std::int32_t i = filling.users_begin; i < filling.users_end; ++i) {
    const User& user = users_[static_cast<std::size_t>(i)];
    const auto a = static_cast<std::size_t>(user.activity);
    if (frozen_[a] != 0) filling.free -= user.amount * rates[a];
    else filling.slope += user.amount * activities[a].weight;
  }
}

void MaxMinSolver::solve(std::span<const double> capacity, std::span<const MaxMinActivity> activities,
                         std::span<const std::int32_t> members, std::span<const ResourceUse> uses,
                         std::span<double> rates, std::span<std::int32_t> bottleneck) {
  collect(capacity, activities, members, uses);

  const auto own_level = [&](std::int32_t a) {
    const auto& activity = activities[static_cast<std::size_t>(a)];
    return activity.ceiling / activity.weight;
  };
  std::sort(by_ceiling_.begin(), by_ceiling_.end(),
            [&](std::int32_t a, std::int32_t b) { return std::pair(own_level(a), a) < std::pair(own_level(b), b); });
  // Subtraction may leave a full resource a rounding error below zero, and so the slope of one with a light user left.
  const auto level_of = [](const Filling& filling) {
    return filling.slope > 0.0 ? std::max(0.0, filling.free) / filling.slope : 0.0;
  };
  heap_.clear();
  for (const std::int32_t r : touched_) heap_.push_back({level_of(filling_[static_cast<std::size_t>(r)]), r});
  std::make_heap(heap_.begin(), heap_.end());

  const auto freeze = [&](std::int32_t member, double rate, std::int32_t limited_by) {
    const auto a = static_cast<std::size_t>(member);
    frozen_[a] = 1;
    rates[a] = rate;
    bottleneck[a] = limited_by;
    for (const ResourceUse& use : uses_of(activities[a], uses)) {
      Filling& filling = filling_[static_cast<std::size_t>(use.resource)];
      filling.free -= use.amount * rate;
      filling.slope -= use.amount * activities[a].weight;
      --filling.growing;
    }
  };

  std::size_t next_ceiling = 0;
  for (;;) {
    while (next_ceiling < by_ceiling_.size() && frozen_[static_cast<std::size_t>(by_ceiling_[next_ceiling])] != 0) {
      ++next_ceiling;
    }
    const bool ceilings_left = next_ceiling < by_ceiling_.size();
    if (heap_.empty() && !ceilings_left) break;
    const double ceiling_level =
        ceilings_left ? own_level(by_ceiling_[next_ceiling]) : std::numeric_limits<double>::infinity();

    if (heap_.empty() || ceiling_level <= heap_.front().level) {
      const std::int32_t member = by_ceiling_[next_ceiling];
      freeze(member, activities[static_cast<std::size_t>(member)].ceiling, -1);
      continue;
    }

    std::pop_heap(heap_.begin(), heap_.end());
    const Candidate candidate = heap_.back();
    heap_.pop_back();
    const Filling& filling = filling_[static_cast<std::size_t>(candidate.resource)];
    if (filling.growing == 0) continue;
    const auto is_next = [&](double level) {
      return level <= candidate.level || ((heap_.empty() || level <= heap_.front().level) && level < ceiling_level);
    };
    if (is_next(level_of(filling))) sum_afresh(candidate.resource, capacity, activities, rates);
    const double level = level_of(filling);
    if (!is_next(level)) {
      heap_.push_back({level, candidate.resource});
      std::push_heap(heap_.begin(), heap_.end());
      continue;
    }
    for (std::int32_t i = filling.users_begin; i < filling.users_end; ++i) {
      const std::int32_t member = users_[static_cast<std::size_t>(i)].activity;
      if (frozen_[static_cast<std::size_t>(member)] != 0) continue;
      freeze(member, activities[static_cast<std::size_t>(member)].weight * level, candidate.resource);
    }
  }
}

}  // namespace foretoken::sim
