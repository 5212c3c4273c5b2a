#include "sim/network/component.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/numbers.hpp"
#include "sim/network/guards.hpp"

namespace foretoken::sim {
namespace {

constexpr double kTogether = 1e-13;  // of an activity's work: what rounding errors may leave of it
constexpr double kClock = 1e-15;     // of the time: what the clock cannot show
// What a resource may be ahead or behind, of the accuracy asked for: who is delayed on one starts late on others, and
// all-to-alls whose resources were within one accuracy came out within six (tests/sim/network/flow_accuracy_test.cpp
// has the measured errors).
constexpr double kOfAccuracy = 0.25;
// A window ends after this times the square root of the accuracy, of the time since the component became busy: who ends
// in it has the shares of its middle, which is wrong by the square of its length.
constexpr double kWindowMax = 0.1;
constexpr std::int32_t kToBeNumbered = 0;  // a constraint whose number packing has yet to give

void guard_anew(Resource& resource) {
  resource.constraint = -1;
  resource.guarded = 0;
  resource.guards.clear();
  resource.users.clear();
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
  packed_ = false;
  due_.clear();
  due_ended_ = 0;
  leaving_.clear();
  touched_.clear();
}

double Component::left(const Activity& activity, double time) const {
  if (activity.member >= 0) return filling_.left(activity.member, time);
  return std::max(0.0, activity.left - activity.level * (time - activity.since));
}

double Component::level(const Activity& activity) const {
  return activity.member >= 0 ? filling_.level(activity.member) : activity.level;
}

void Component::started(SharingState& state, std::int32_t slot) {
  const Activity& activity = state.activities[at(slot)];
  slots.push_back(slot);
  ++live;
  dirty = true;
  if (activity.member == Activity::kLeaving) {
    leaving_.push_back({activity.since + activity.left / activity.level, slot});
    return;
  }
  packed_ = packed_ && add(state, slot);
}

void Component::ended(SharingState& state, std::int32_t slot, double time) {
  Activity& activity = state.activities[at(slot)];
  --live;
  if (activity.member >= 0) {
    filling_.remove(activity.member);
  } else if (activity.member == Activity::kLeaving) {
    const double rate = activity.weight * activity.level;
    const double early = rate * (time - activity.since);
    const double promised = activity.weight * activity.left;
    state.for_each_use(activity, [&](std::int32_t resource, double amount) {
      Resource& r = state.resources[at(resource)];
      r.promised -= amount * promised;
      if (r.live > 1) r.misplaced += amount * early;
      touch(resource);
    });
  }
  activity.member = Activity::kEnded;
}

void Component::unpack(SharingState& state, double now) {
  for (const std::int32_t slot : slots) {
    Activity& activity = state.activities[at(slot)];
    if (activity.member < 0) continue;
    activity.left = filling_.left(activity.member, now);
    activity.level = 0;
    activity.since = now;
    activity.member = Activity::kWaiting;
  }
  packed_ = false;
}

// What an activity needs of each resource per unit of its level, each once.
void Component::collect_uses(const SharingState& state, const Activity& activity) {
  wanted_.clear();
  state.for_each_use(activity, [&](std::int32_t resource, double amount) {
    const auto same =
        std::find_if(wanted_.begin(), wanted_.end(), [&](const ResourceUse& use) { return use.resource == resource; });
    if (same == wanted_.end()) wanted_.push_back({resource, amount});
    else same->amount += amount;
  });
}

void Component::pack(SharingState& state, double now) {
  unpack(state, now);
  for (const std::int32_t resource : resources) guard_anew(state.resources[at(resource)]);
  const auto is_waiting = [&](std::int32_t slot) { return state.activities[at(slot)].member == Activity::kWaiting; };
  bool unit = true;
  for (const std::int32_t slot : slots) {
    if (!is_waiting(slot)) continue;
    const Activity& activity = state.activities[at(slot)];
    collect_uses(state, activity);
    for (const ResourceUse& use : wanted_) {
      unit = unit && use.amount == 1;
      Resource& r = state.resources[at(use.resource)];
      if (r.constraint >= 0) continue;
      if (stays_guarded(state, use.resource, activity, use.amount)) continue;
      guard_anew(r);
      r.constraint = kToBeNumbered;
    }
    unit = unit && activity.weight == 1;
  }
  std::size_t uses_max = 1;
  for (const std::int32_t slot : slots) {
    if (!is_waiting(slot)) continue;
    const Activity& activity = state.activities[at(slot)];
    std::size_t uses = std::isfinite(activity.ceiling) ? 1 : 0;
    state.for_each_use(activity, [&](std::int32_t resource, double) {
      if (state.resources[at(resource)].constraint >= 0) ++uses;
    });
    uses_max = std::max(uses_max, uses);
  }
  filling_.clear(uses_max, unit);
  for (const std::int32_t resource : resources) {
    Resource& r = state.resources[at(resource)];
    if (r.constraint >= 0) r.constraint = filling_.add_constraint(r.capacity);
  }
  packed_ = true;
  for (const std::int32_t slot : slots)
    if (is_waiting(slot)) add(state, slot);
}

// Adds an activity that waits to what is packed. Returns whether it fits in.
bool Component::add(SharingState& state, std::int32_t slot) {
  Activity& activity = state.activities[at(slot)];
  collect_uses(state, activity);
  uses_.clear();
  for (const ResourceUse& use : wanted_) {
    Resource& r = state.resources[at(use.resource)];
    if (r.constraint < 0) {
      if (stays_guarded(state, use.resource, activity, use.amount)) {
        r.users.push_back(slot);
        continue;
      }
      if (!constrain(state, use.resource)) return false;
    }
    uses_.push_back({r.constraint, use.amount * activity.weight});
  }
  if (std::isfinite(activity.ceiling)) uses_.push_back({filling_.add_constraint(activity.ceiling), activity.weight});
  if (!filling_.has_room_for(uses_)) return false;
  activity.member = filling_.add_member(slot, activity.left, uses_);
  return true;
}

// A resource is guarded no longer.
bool Component::constrain(SharingState& state, std::int32_t resource) {
  Resource& r = state.resources[at(resource)];
  const std::vector<std::int32_t> users = std::move(r.users);
  guard_anew(r);
  r.constraint = filling_.add_constraint(r.capacity);
  for (const std::int32_t slot : users) {
    const Activity& activity = state.activities[at(slot)];
    if (activity.member < 0) continue;
    double amount = 0;
    state.for_each_use(activity, [&](std::int32_t used, double needed) {
      if (used == resource) amount += needed;
    });
    if (!filling_.add_use(activity.member, {r.constraint, amount * activity.weight})) return false;
  }
  return true;
}

void Component::solve(SharingState& state, double now) {
  if (!packed_) pack(state, now);
  filling_.fill(now, true);
  dirty = false;
  find_next();
}

void Component::solve_window(SharingState& state, double now, double asked) {
  accuracy = asked;
  release(state, now);
  if (!packed_) {
    pack(state, now);
    filling_.fill(now, false);  // who ends soon is known from the shares that they had
  }
  const double half = let_leave(state, now);
  filling_.forget();
  filling_.fill(now, false);
  window_end = now + 2 * half;
  due_ = leaving_;
  due_ended_ = 0;
  add_due(window_end, due_);
  dirty = false;
  find_next();
}

// Appends those of the filling that are due by `time`, some perhaps twice.
void Component::append_due(double time, std::vector<Due>& due) {
  members_.clear();
  filling_.due_by(time, members_);
  for (const Filling::Due& member : members_) due.push_back({member.time, filling_.slot(member.member)});
}

// Appends them, and sorts.
void Component::add_due(double time, std::vector<Due>& due) {
  append_due(time, due);
  std::sort(due.begin(), due.end());
  due.erase(std::unique(due.begin(), due.end()), due.end());
}

// Takes out those that end soon, as long as no resource does too much on their account. Returns how soon.
double Component::let_leave(SharingState& state, double now) {
  std::erase_if(leaving_, [&](const Due& due) { return state.activities[at(due.slot)].member != Activity::kLeaving; });
  const double soon = kWindowMax * std::sqrt(accuracy) * (now - origin);
  // A heap: mostly only a few of those that are due soon can leave.
  candidates_ = leaving_;
  append_due(now + soon, candidates_);
  const auto later = [](const Due& a, const Due& b) { return b < a; };
  std::make_heap(candidates_.begin(), candidates_.end(), later);
  double half = soon;
  std::size_t left = 0;
  while (!candidates_.empty()) {
    const Due due = candidates_.front();
    const Activity& activity = state.activities[at(due.slot)];
    bool too_much = false;
    if (activity.member != Activity::kLeaving) {
      const double rate = activity.weight * level(activity);
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
    ++left;
    if (activity.member != Activity::kLeaving) leave(state, due, now);
    std::pop_heap(candidates_.begin(), candidates_.end(), later);
    candidates_.pop_back();
  }
  return left == 0 ? soon / 2 : half;
}

// It keeps its level until it ends, and others have what it takes from now on.
void Component::leave(SharingState& state, const Due& due, double now) {
  Activity& activity = state.activities[at(due.slot)];
  activity.left = filling_.left(activity.member, now);
  activity.level = filling_.level(activity.member);
  activity.since = now;
  filling_.remove(activity.member);
  activity.member = Activity::kLeaving;
  leaving_.push_back(due);
  state.for_each_use(activity, [&](std::int32_t resource, double amount) {
    state.resources[at(resource)].promised += amount * activity.weight * activity.left;
  });
}

// An activity has ended whose share nobody gets before the next window.
void Component::postpone(SharingState& state, const Activity& activity, double time) {
  const double rate = activity.weight * level(activity);
  state.for_each_use(activity, [&](std::int32_t resource, double amount) {
    Resource& r = state.resources[at(resource)];
    if (r.live <= 1) return;  // nobody is there to get it
    touch(resource);
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
  for (const std::int32_t resource : touched_) {
    Resource& r = state.resources[at(resource)];
    if (r.unreleased > 0) {
      r.misplaced -= r.unreleased * now - r.unreleased_time;
      r.unreleased = 0;
      r.unreleased_time = 0;
    }
    if (r.misplaced != 0) error = std::max(error, std::abs(r.misplaced) / (r.capacity * (now - origin)));
  }
  touched_.clear();
}

void Component::find_next() {
  ++version;
  // What is not due in this window ends after it.
  next = due_ended_ < due_.size() ? due_[due_ended_].finish : filling_.next();
}

void Component::end(SharingState& state, double time, std::vector<std::int32_t>& slots_ended) {
  const auto is_over = [&](const Due& due) {
    const Activity& activity = state.activities[at(due.slot)];
    return due.finish <= time || left(activity, time) <= kTogether * activity.work + kClock * time * level(activity);
  };
  if (due_ended_ < due_.size()) {
    for (; due_ended_ < due_.size(); ++due_ended_) {
      const Due& due = due_[due_ended_];
      const Activity& activity = state.activities[at(due.slot)];
      if (activity.member == Activity::kEnded) continue;  // was withdrawn
      if (!is_over(due)) break;
      if (activity.member != Activity::kLeaving) postpone(state, activity, time);
      ended(state, due.slot, time);
      slots_ended.push_back(due.slot);
    }
    find_next();
    dirty = dirty || next > window_end;
    return;
  }
  // One that is due a little later may be over: the margin is its own.
  due_.clear();
  due_ended_ = 0;
  add_due(time + 2 * (kTogether * (time - origin) + kClock * time), due_);
  for (const Due& due : due_) {
    if (!is_over(due)) continue;
    ended(state, due.slot, time);
    slots_ended.push_back(due.slot);
  }
  due_.clear();
  dirty = true;
  find_next();
}

}  // namespace foretoken::sim
