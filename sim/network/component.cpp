#include "sim/network/component.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.hpp"

namespace foretoken::sim {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kTogether = 1e-13;  // of an activity's work: what rounding errors may leave of it
constexpr double kClock = 1e-15;     // of the time: what the clock cannot show
constexpr double kCancelled = 1e-3;  // a difference this small beside what it was taken from is summed afresh
constexpr double kSameLevel = 1e-9;  // relative; two levels that are surely different are further apart
// What a resource may be ahead or behind, of the accuracy asked for: who is delayed on one starts late on others, and
// all-to-alls whose resources were within one accuracy came out within six (tests/sim/network/flow_accuracy_test.cpp
// has the measured errors).
constexpr double kOfAccuracy = 0.25;
// A window ends after this times the square root of the accuracy, of the time since the component became busy: who ends
// in it has the shares of its middle, which is wrong by the square of its length.
constexpr double kWindowMax = 0.1;
constexpr std::size_t kCheckpoints = 8;
constexpr std::int32_t kStopsPerCheckpointMin = 64;

std::size_t at(std::int32_t index) { return static_cast<std::size_t>(index); }

// Subtraction may leave a full resource a rounding error below zero, and so the slope of one with a light user left.
double level_of(const Filling& filling) {
  return filling.slope > 0.0 ? std::max(0.0, filling.free) / filling.slope : 0.0;
}

}  // namespace

void Component::reset(double now) {
  slots.clear();
  resources.clear();
  live = 0;
  dirty = false;
  pooled = false;
  ++version;
  next = kInfinity;
  origin = now;
  window_end = now;
  error = 0;
  steps_.clear();
  order_.clear();
  due_.clear();
  due_ended_ = 0;
  checkpoints_used_ = 0;
  ceilings_.clear();
  ceilings_sorted_ = true;
  restart_ = 0;
}

void Component::drop_checkpoints() {
  while (checkpoints_used_ > 0 && checkpoints_[checkpoints_used_ - 1].step > restart_) --checkpoints_used_;
}

void Component::started(const SharingState& state, std::int32_t slot, double ceiling) {
  const Activity& activity = state.activities[at(slot)];
  slots.push_back(slot);
  ++live;
  dirty = true;
  if (std::isfinite(ceiling)) {
    ceilings_.push_back({ceiling / activity.weight, slot});
    ceilings_sorted_ = false;
  }
  if (restart_ == 0) {
    checkpoints_used_ = 0;
    return;
  }
  double lowest = kInfinity;
  state.for_each_use(activity, [&](std::int32_t resource, double) {
    const Resource& r = state.resources[at(resource)];
    lowest = std::min(lowest, r.capacity / r.slope);
  });
  lowest *= 1 - kSameLevel;
  const auto affected =
      std::find_if(steps_.begin(), steps_.begin() + restart_, [&](const Step& step) { return step.level > lowest; });
  restart_ = static_cast<std::int32_t>(affected - steps_.begin());
  drop_checkpoints();
  for (std::size_t c = 0; c < checkpoints_used_; ++c) {
    state.for_each_use(activity, [&](std::int32_t resource, double amount) {
      const std::size_t place = at(state.filling[at(resource)].place);
      checkpoints_[c].slope[place] += amount * activity.weight;
      ++checkpoints_[c].growing[place];
    });
  }
}

void Component::ended(const SharingState& state, const Activity& activity) {
  --live;
  restart_ = std::min(restart_, std::max(activity.step, 0));
  drop_checkpoints();
  for (std::size_t c = 0; c < checkpoints_used_; ++c) {
    state.for_each_use(activity, [&](std::int32_t resource, double amount) {
      const std::size_t place = at(state.filling[at(resource)].place);
      checkpoints_[c].slope[place] -= amount * activity.weight;
      --checkpoints_[c].growing[place];
    });
  }
}

// Returns how many activities grow from the checkpoint on.
std::int32_t Component::resume(SharingState& state) {
  if (checkpoints_used_ == 0) return start_over(state);
  const Checkpoint& checkpoint = checkpoints_[checkpoints_used_ - 1];
  for (std::size_t i = 0; i < resources.size(); ++i) {
    Filling& filling = state.filling[at(resources[i])];
    filling.free = checkpoint.free[i];
    filling.slope = checkpoint.slope[i];
    filling.growing = checkpoint.growing[i];
  }
  // Nobody may have been left to fill on from the checkpoint.
  const std::size_t begin = at(checkpoint.step) < steps_.size() ? at(steps_[at(checkpoint.step)].begin) : order_.size();
  for (auto i = at(checkpoint.step); i < steps_.size(); ++i) {
    for (std::int32_t o = steps_[i].begin; o < steps_[i].end; ++o) {
      Activity& activity = state.activities[at(order_[at(o)])];
      if (activity.step != Activity::kEnded) activity.step = Activity::kGrowing;
    }
  }
  std::int32_t stopped = 0;
  for (std::int32_t i = 0; i < checkpoint.step; ++i) stopped += steps_[at(i)].end - steps_[at(i)].begin;
  order_.resize(begin);
  steps_.resize(at(checkpoint.step));
  return live - stopped;
}

std::int32_t Component::start_over(SharingState& state) {
  for (const std::int32_t resource : resources) {
    const Resource& r = state.resources[at(resource)];
    Filling& filling = state.filling[at(resource)];
    filling.free = r.capacity;
    filling.slope = r.slope;
    filling.growing = r.live;
  }
  std::size_t kept = 0;
  for (const std::int32_t slot : slots) {
    Activity& activity = state.activities[at(slot)];
    if (activity.step == Activity::kEnded) continue;
    slots[kept++] = slot;
    if (activity.step != Activity::kLeaving) activity.step = Activity::kGrowing;
  }
  slots.resize(kept);
  order_.clear();
  steps_.clear();
  checkpoints_used_ = 0;
  return live;
}

void Component::solve(SharingState& state, double now) {
  due_.clear();
  due_ended_ = 0;
  const std::int32_t growing = resume(state);
  fill(state, now, growing);
  restart_ = static_cast<std::int32_t>(steps_.size());
  dirty = false;
  find_next();
}

void Component::solve_window(SharingState& state, double now, double asked) {
  accuracy = asked;
  release(state, now);
  due_.clear();
  due_ended_ = 0;
  const std::int32_t all = start_over(state);
  const double half = let_leave(state, now);
  fill(state, now, all - static_cast<std::int32_t>(due_.size()));
  window_end = now + 2 * half;
  for (Step& step : steps_) {
    if (!(step.finish <= window_end)) continue;
    const double work = step.level * (window_end - now);
    double least = kInfinity;
    for (std::int32_t o = step.begin; o < step.end; ++o) {
      const Activity& activity = state.activities[at(order_[at(o)])];
      if (activity.left <= work) due_.push_back({now + activity.left / step.level, order_[at(o)]});
      else least = std::min(least, activity.left);
    }
    step.finish = now + least / step.level;
  }
  std::sort(due_.begin(), due_.end());
  restart_ = 0;
  dirty = false;
  find_next();
}

// Takes out those that end soon, as long as no resource does too much on their account. Returns how soon.
double Component::let_leave(SharingState& state, double now) {
  const double soon = kWindowMax * std::sqrt(accuracy) * (now - origin);
  for (const std::int32_t slot : slots) {
    const Activity& activity = state.activities[at(slot)];
    const double finish = activity.since + activity.left / activity.level;
    if (activity.level > 0 && (finish <= now + soon || activity.step == Activity::kLeaving))
      due_.push_back({finish, slot});
  }
  std::sort(due_.begin(), due_.end());
  double half = soon;
  std::size_t leaving = 0;
  for (const Due& due : due_) {
    Activity& activity = state.activities[at(due.slot)];
    bool too_much = false;
    if (activity.step != Activity::kLeaving) {
      const double rate = activity.weight * activity.level;
      const double early = due.finish - now;
      const double budget = kOfAccuracy * accuracy * (due.finish - origin);
      state.for_each_use(activity, [&](std::int32_t resource, double amount) {
        const Resource& r = state.resources[at(resource)];
        if (r.live > 1 && r.misplaced + r.promised + amount * rate * early > budget * r.capacity) too_much = true;
      });
    }
    if (too_much) {
      half = std::max(0.0, due.finish - now) / 2;
      break;
    }
    ++leaving;
    if (activity.step != Activity::kLeaving) {
      activity.step = Activity::kLeaving;
      activity.left -= activity.level * (now - activity.since);
      activity.since = now;  // and stays so: from when on others have what it takes
      const double promised = activity.weight * activity.level * (due.finish - now);
      state.for_each_use(activity, [&](std::int32_t resource, double amount) {
        state.resources[at(resource)].promised += amount * promised;
      });
    }
  }
  // Who was to leave before something started, and is not among the first now, still leaves.
  std::erase_if(due_, [&](const Due& due) { return state.activities[at(due.slot)].step != Activity::kLeaving; });
  for (const Due& due : due_) {
    const Activity& activity = state.activities[at(due.slot)];
    state.for_each_use(activity, [&](std::int32_t resource, double amount) {
      Filling& filling = state.filling[at(resource)];
      filling.slope -= amount * activity.weight;
      --filling.growing;
    });
  }
  return leaving == 0 ? soon / 2 : half;
}

// An activity has ended whose share nobody gets before the next window.
void Component::postpone(SharingState& state, const Activity& activity, double time) {
  const double rate = activity.weight * activity.level;
  state.for_each_use(activity, [&](std::int32_t resource, double amount) {
    Resource& r = state.resources[at(resource)];
    if (r.live <= 1) return;  // nobody is there to get it
    r.unreleased += amount * rate;
    r.unreleased_time += amount * rate * time;
    const double slack = r.unreleased - r.capacity * kOfAccuracy * accuracy;
    if (slack > 0)
      window_end = std::min(window_end,
                            (r.unreleased_time + r.misplaced - r.capacity * kOfAccuracy * accuracy * origin) / slack);
  });
}

// What has ended since the last window is shared from now on.
void Component::release(SharingState& state, double now) {
  for (const std::int32_t resource : resources) {
    Resource& r = state.resources[at(resource)];
    if (r.unreleased > 0) {
      r.misplaced -= r.unreleased * now - r.unreleased_time;
      r.unreleased = 0;
      r.unreleased_time = 0;
    }
    if (r.misplaced != 0) error = std::max(error, std::abs(r.misplaced) / (r.capacity * (now - origin)));
  }
}

void Component::store_checkpoint(const SharingState& state) {
  if (checkpoints_used_ == checkpoints_.size()) checkpoints_.emplace_back();
  Checkpoint& checkpoint = checkpoints_[checkpoints_used_++];
  checkpoint.step = static_cast<std::int32_t>(steps_.size());
  checkpoint.free.resize(resources.size());
  checkpoint.slope.resize(resources.size());
  checkpoint.growing.resize(resources.size());
  for (std::size_t i = 0; i < resources.size(); ++i) {
    const Filling& filling = state.filling[at(resources[i])];
    checkpoint.free[i] = filling.free;
    checkpoint.slope[i] = filling.slope;
    checkpoint.growing[i] = filling.growing;
  }
}

void Component::sum_afresh(SharingState& state, std::int32_t resource) const {
  Filling& filling = state.filling[at(resource)];
  filling.free = state.resources[at(resource)].capacity;
  filling.slope = 0;
  for (const std::int32_t slot : state.resources[at(resource)].users) {
    const Activity& activity = state.activities[at(slot)];
    if (activity.step < 0) continue;
    state.for_each_use(activity, [&](std::int32_t used, double amount) {
      if (used != resource) return;
      if (activity.step == Activity::kGrowing) filling.slope += amount * activity.weight;
      else filling.free -= amount * (activity.weight * activity.level);
    });
  }
}

void Component::fill(SharingState& state, double now, std::int32_t growing) {
  if (!ceilings_sorted_) {
    std::sort(ceilings_.begin(), ceilings_.end());
    ceilings_sorted_ = true;
  }
  std::size_t next_ceiling = 0;
  heap_.clear();
  for (const std::int32_t resource : resources) {
    const Filling& filling = state.filling[at(resource)];
    if (filling.growing > 0) heap_.push_back({level_of(filling), resource});
  }
  std::make_heap(heap_.begin(), heap_.end());

  const std::int32_t total = growing;
  const std::int32_t per_checkpoint = std::max(kStopsPerCheckpointMin, live / static_cast<std::int32_t>(kCheckpoints));
  std::int32_t grew_at_checkpoint = total + per_checkpoint - 1;
  while (growing > 0) {
    while (next_ceiling < ceilings_.size() &&
           state.activities[at(ceilings_[next_ceiling].slot)].step != Activity::kGrowing)
      ++next_ceiling;
    const double ceiling = next_ceiling < ceilings_.size() ? ceilings_[next_ceiling].level : kInfinity;

    if (heap_.empty() || ceiling <= heap_.front().level) {
      FORETOKEN_CHECK(std::isfinite(ceiling), "an activity without resources needs a ceiling");
      const std::int32_t slot = ceilings_[next_ceiling].slot;
      Activity& activity = state.activities[at(slot)];
      const auto begin = static_cast<std::int32_t>(order_.size());
      activity.left = std::max(0.0, activity.left - activity.level * (now - activity.since));
      activity.since = now;
      activity.level = ceiling;
      activity.step = static_cast<std::int32_t>(steps_.size());
      order_.push_back(slot);
      steps_.push_back({ceiling, now + activity.left / ceiling, begin, begin + 1});
      state.for_each_use(activity, [&](std::int32_t resource, double amount) {
        Filling& filling = state.filling[at(resource)];
        filling.free -= amount * (activity.weight * ceiling);
        filling.slope -= amount * activity.weight;
        --filling.growing;
      });
      --growing;
      continue;
    }

    std::pop_heap(heap_.begin(), heap_.end());
    const Candidate candidate = heap_.back();
    heap_.pop_back();
    Filling& filling = state.filling[at(candidate.resource)];
    if (filling.growing == 0) continue;
    const Resource& resource = state.resources[at(candidate.resource)];
    const auto is_next = [&](double level) {
      return level <= candidate.level || ((heap_.empty() || level <= heap_.front().level) && level < ceiling);
    };
    double level = level_of(filling);
    if (is_next(level) &&
        (filling.slope < kCancelled * resource.slope || filling.free < kCancelled * resource.capacity)) {
      sum_afresh(state, candidate.resource);
      level = level_of(filling);
    }
    if (!is_next(level)) {
      heap_.push_back({level, candidate.resource});
      std::push_heap(heap_.begin(), heap_.end());
      continue;
    }
    if (growing + per_checkpoint <= grew_at_checkpoint) {
      store_checkpoint(state);
      grew_at_checkpoint = growing;
    }
    const std::size_t before = order_.size();
    stop_users(state, candidate.resource, level, now);
    growing -= static_cast<std::int32_t>(order_.size() - before);
  }
}

void Component::stop_users(SharingState& state, std::int32_t resource, double level, double now) {
  const auto step = static_cast<std::int32_t>(steps_.size());
  const auto begin = static_cast<std::int32_t>(order_.size());
  double least = kInfinity;
  auto& users = state.resources[at(resource)].users;
  std::int32_t growing = state.filling[at(resource)].growing;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < users.size(); ++i) {
    if (growing == 0) {  // all the others have stopped elsewhere, or ended
      if (kept < i)
        std::move(users.begin() + static_cast<std::ptrdiff_t>(i), users.end(),
                  users.begin() + static_cast<std::ptrdiff_t>(kept));
      kept += users.size() - i;
      break;
    }
    const std::int32_t slot = users[i];
    Activity& activity = state.activities[at(slot)];
    if (activity.step == Activity::kEnded) continue;
    users[kept++] = slot;
    if (activity.step != Activity::kGrowing) continue;
    --growing;
    activity.left = std::max(0.0, activity.left - activity.level * (now - activity.since));
    activity.since = now;
    activity.level = level;
    activity.step = step;
    order_.push_back(slot);
    least = std::min(least, activity.left);
    const double rate = activity.weight * level;
    state.for_each_use(activity, [&](std::int32_t used, double amount) {
      Filling& filling = state.filling[at(used)];
      filling.free -= amount * rate;
      filling.slope -= amount * activity.weight;
      --filling.growing;
    });
  }
  users.resize(kept);
  steps_.push_back(
      {level, level > 0 ? now + least / level : kInfinity, begin, static_cast<std::int32_t>(order_.size())});
}

void Component::find_next() {
  ++version;
  next = kInfinity;
  if (due_ended_ < due_.size()) {
    next = due_[due_ended_].finish;
    return;  // what is not due in this window ends after it
  }
  for (const Step& step : steps_) next = std::min(next, step.finish);
}

void Component::end(SharingState& state, double time, std::vector<std::int32_t>& slots_ended) {
  const auto is_over = [&](const Activity& activity) {
    const double left = activity.left - activity.level * (time - activity.since);
    return left <= kTogether * activity.work + kClock * time * activity.level;
  };
  const auto take = [&](std::int32_t slot) {
    Activity& activity = state.activities[at(slot)];
    ended(state, activity);
    activity.step = Activity::kEnded;
    slots_ended.push_back(slot);
  };
  if (due_ended_ < due_.size()) {
    for (; due_ended_ < due_.size(); ++due_ended_) {
      const Activity& activity = state.activities[at(due_[due_ended_].slot)];
      if (activity.step == Activity::kEnded) continue;  // was withdrawn
      if (due_[due_ended_].finish > time && !is_over(activity)) break;
      if (activity.step == Activity::kLeaving) {
        const double early = activity.weight * activity.level * (time - activity.since);
        state.for_each_use(activity, [&](std::int32_t resource, double amount) {
          Resource& r = state.resources[at(resource)];
          r.promised -= amount * early;
          if (r.live > 1) r.misplaced += amount * early;
        });
      } else {
        postpone(state, activity, time);
      }
      take(due_[due_ended_].slot);
    }
    find_next();
    dirty = dirty || next > window_end;
    return;
  }
  // A step whose first activity ends a little later may have one that is over: the margin is its own, not the step's.
  const double soon = time + 2 * (kTogether * (time - origin) + kClock * time);
  for (Step& step : steps_) {
    if (!(step.finish <= soon)) continue;
    double least = kInfinity;
    std::int32_t kept = step.begin;
    for (std::int32_t o = step.begin; o < step.end; ++o) {
      const std::int32_t slot = order_[at(o)];
      const Activity& activity = state.activities[at(slot)];
      if (activity.step == Activity::kEnded) continue;
      if (is_over(activity)) {
        take(slot);
        continue;
      }
      order_[at(kept++)] = slot;
      least = std::min(least, activity.since + activity.left / activity.level);
    }
    step.end = kept;
    step.finish = least;
  }
  dirty = true;
  find_next();
}

}  // namespace foretoken::sim
