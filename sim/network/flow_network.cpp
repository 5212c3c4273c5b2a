#include "sim/network/flow_network.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.hpp"
#include "core/numbers.hpp"

namespace foretoken::sim {
namespace {

constexpr double kSameEnd = 1e-15;      // of the time: components that end closer to one another end together
constexpr double kNothingLeft = 1e-12;  // of the demand: what is taken out as it ends still has something to do
constexpr std::size_t kEndedMin = 32;

}  // namespace

FlowNetwork::FlowNetwork(const std::vector<double>& capacity, double accuracy) : accuracy_(accuracy) {
  FORETOKEN_CHECK(accuracy >= 0 && accuracy < 1, "an accuracy is a relative error");
  state_.resources.resize(capacity.size());
  for (std::size_t r = 0; r < capacity.size(); ++r) state_.resources[r].capacity = capacity[r];
}

double FlowNetwork::done_by(std::int32_t slot, double time) const {
  const Activity& activity = state_.activities[at(slot)];
  const double left = components_[at(records_[at(slot)].component)].left(activity, time);
  return (activity.work - left) * activity.weight;
}

double FlowNetwork::delivered() const {
  double sum = delivered_;
  for (const Component& component : components_) {
    if (component.pooled) continue;
    for (const std::int32_t slot : component.slots) {
      if (state_.activities[at(slot)].member != Activity::kEnded) sum += done_by(slot, now_);
    }
  }
  return sum;
}

std::vector<double> FlowNetwork::carried(double time) {
  next_completion();  // so that shares are known
  time = std::max(time, now_);
  std::vector<double> carried;
  carried.reserve(state_.resources.size());
  for (const Resource& resource : state_.resources) carried.push_back(resource.carried);
  for (const Component& component : components_) {
    if (component.pooled) continue;
    for (const std::int32_t slot : component.slots) {
      const Activity& activity = state_.activities[at(slot)];
      if (activity.member == Activity::kEnded) continue;
      const double done = done_by(slot, time);
      state_.for_each_use(activity,
                          [&](std::int32_t resource, double amount) { carried[at(resource)] += amount * done; });
    }
  }
  return carried;
}

double FlowNetwork::error() const {
  double error = error_;
  for (const Component& component : components_) error = std::max(error, component.error);
  return error;
}

void FlowNetwork::store_uses(Activity& activity, std::span<const ResourceUse> uses) {
  const bool few = uses.size() <= Activity::kFewUses &&
                   std::all_of(uses.begin(), uses.end(), [](const ResourceUse& use) { return use.amount == 1.0; });
  activity.uses_count = static_cast<std::int32_t>(uses.size());
  if (few) {
    activity.uses_begin = -1;
    for (std::size_t u = 0; u < uses.size(); ++u) activity.few[u] = uses[u].resource;
    return;
  }
  if (state_.uses.size() > 4096 && state_.uses.size() > 2 * live_uses_) compact_uses();
  activity.uses_begin = static_cast<std::int32_t>(state_.uses.size());
  state_.uses.insert(state_.uses.end(), uses.begin(), uses.end());
  live_uses_ += uses.size();
}

void FlowNetwork::compact_uses() {
  std::vector<ResourceUse> live;
  live.reserve(live_uses_);
  for (std::size_t slot = 0; slot < records_.size(); ++slot) {
    Activity& activity = state_.activities[slot];
    if (records_[slot].component < 0 || activity.uses_begin < 0) continue;
    const auto begin = static_cast<std::int32_t>(live.size());
    const auto first = state_.uses.begin() + activity.uses_begin;
    live.insert(live.end(), first, first + activity.uses_count);
    activity.uses_begin = begin;
  }
  state_.uses = std::move(live);
}

void FlowNetwork::start(const ActivityStart& start) {
  FORETOKEN_CHECK(start.demand > 0 && start.weight > 0 && start.ceiling > 0, "an activity needs something to do");
  FORETOKEN_CHECK(!start.uses.empty() || std::isfinite(start.ceiling), "an activity without resources needs a ceiling");
  std::int32_t slot = 0;
  if (free_slots_.empty()) {
    slot = static_cast<std::int32_t>(records_.size());
    records_.emplace_back();
    state_.activities.emplace_back();
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
  }
  Activity activity;
  activity.weight = start.weight;
  activity.work = activity.left = start.demand / start.weight;
  activity.since = now_;
  activity.ceiling = start.ceiling;
  store_uses(activity, start.uses);
  state_.activities[at(slot)] = activity;
  records_[at(slot)] = {started_++, -1, start.tag};
  ++active_;
  insert(slot);
}

// Puts an activity into the component of its resources, with all that shares them.
void FlowNetwork::insert(std::int32_t slot) {
  const Activity& activity = state_.activities[at(slot)];
  const std::int32_t component = component_for(activity);
  records_[at(slot)].component = component;
  Component& c = components_[at(component)];
  state_.for_each_use(activity, [&](std::int32_t resource, double) {
    Resource& r = state_.resources[at(resource)];
    if (r.component != component) {
      r.component = component;
      c.resources.push_back(resource);
    }
    ++r.live;
  });
  if (!c.dirty) dirty_.push_back(component);
  c.started(state_, slot);
}

std::int32_t FlowNetwork::component_for(const Activity& activity) {
  std::int32_t component = -1;
  state_.for_each_use(activity, [&](std::int32_t resource, double) {
    const std::int32_t other = state_.resources[at(resource)].component;
    if (other < 0 || other == component) return;
    if (component < 0) {
      component = other;
      return;
    }
    std::int32_t from = other;
    if (components_[at(component)].slots.size() < components_[at(from)].slots.size()) std::swap(component, from);
    merge(component, from);
  });
  if (component >= 0) return component;
  if (free_components_.empty()) {
    component = static_cast<std::int32_t>(components_.size());
    components_.emplace_back();
  } else {
    component = free_components_.back();
    free_components_.pop_back();
  }
  components_[at(component)].reset(now_);
  return component;
}

void FlowNetwork::merge(std::int32_t into, std::int32_t from) {
  Component& to = components_[at(into)];
  Component& gone = components_[at(from)];
  to.unpack(state_, now_);
  gone.unpack(state_, now_);
  for (const std::int32_t resource : gone.resources) {
    state_.resources[at(resource)].component = into;
    to.resources.push_back(resource);
  }
  for (const std::int32_t resource : gone.touched()) to.touch(resource);
  to.origin = std::min(to.origin, gone.origin);
  to.error = std::max(to.error, gone.error);
  if (!to.dirty) dirty_.push_back(into);
  for (const std::int32_t slot : gone.slots) {
    if (state_.activities[at(slot)].member == Activity::kEnded) {
      to.slots.push_back(slot);  // its slot is used again when this component is split or empty
      continue;
    }
    records_[at(slot)].component = into;
    to.started(state_, slot);
  }
  gone.reset(now_);
  gone.pooled = true;
  free_components_.push_back(from);
}

void FlowNetwork::mark_dirty(std::int32_t component) {
  if (!components_[at(component)].dirty) dirty_.push_back(component);
  components_[at(component)].dirty = true;
}

// All of its activities have ended.
void FlowNetwork::empty(std::int32_t component) {
  Component& c = components_[at(component)];
  for (const std::int32_t resource : c.resources) {
    Resource& r = state_.resources[at(resource)];
    r.live = 0;
    r.component = -1;
    r.misplaced = r.promised = r.unreleased = r.unreleased_time = 0;
    r.constraint = -1;
    r.guarded = 0;
    r.guards.clear();
    r.users.clear();
  }
  free_slots_.insert(free_slots_.end(), c.slots.begin(), c.slots.end());
  error_ = std::max(error_, c.error);
  c.reset(now_);
  c.pooled = true;
  free_components_.push_back(component);
}

// Many have ended: what is left may have fallen apart, and what is stored of the others is in the way.
void FlowNetwork::split(std::int32_t component) {
  Component& old = components_[at(component)];
  old.unpack(state_, now_);
  std::vector<std::int32_t> left;
  const auto is_live = [&](std::int32_t slot) { return state_.activities[at(slot)].member != Activity::kEnded; };
  std::copy_if(old.slots.begin(), old.slots.end(), std::back_inserter(left), is_live);
  std::erase_if(old.slots, is_live);
  const double origin = old.origin;
  struct Misplaced {
    std::int32_t resource;
    double misplaced, promised, unreleased, unreleased_time;
  };
  std::vector<Misplaced> kept;
  for (const std::int32_t resource : old.resources) {
    const Resource& r = state_.resources[at(resource)];
    if (r.live > 0) kept.push_back({resource, r.misplaced, r.promised, r.unreleased, r.unreleased_time});
  }
  empty(component);
  for (const std::int32_t slot : left) {
    insert(slot);
    components_[at(records_[at(slot)].component)].origin = origin;
  }
  for (const Misplaced& before : kept) {
    Resource& r = state_.resources[at(before.resource)];
    r.misplaced = before.misplaced;
    r.promised = before.promised;
    r.unreleased = before.unreleased;
    r.unreleased_time = before.unreleased_time;
    components_[at(r.component)].touch(before.resource);
  }
}

void FlowNetwork::find_shares(std::int32_t component) {
  Component& c = components_[at(component)];
  ++solves_;
  if (accuracy_ == 0) c.solve(state_, now_);
  else c.solve_window(state_, now_, accuracy_);
  events_.push({c.next, component, c.version});
}

double FlowNetwork::next_completion() {
  for (std::size_t d = 0; d < dirty_.size(); ++d) {  // splitting appends to the list
    const std::int32_t component = dirty_[d];
    const Component& c = components_[at(component)];
    if (!c.dirty || c.pooled) continue;  // in the list twice, or gone since
    if (c.live == 0) {
      empty(component);
      continue;
    }
    if (c.slots.size() > 2 * at(c.live) + kEndedMin) {
      split(component);
      continue;
    }
    find_shares(component);
  }
  dirty_.clear();
  while (!events_.empty()) {
    const Event& event = events_.top();
    const Component& c = components_[at(event.component)];
    if (event.version == c.version) return event.time;
    events_.pop();
  }
  return kInfinity;
}

void FlowNetwork::advance(double time) {
  if (!(time > now_)) return;
  FORETOKEN_CHECK(time <= next_completion(), "the network was moved past a completion");
  now_ = time;
}

void FlowNetwork::restart_clock() {
  FORETOKEN_CHECK(active_ == 0, "a clock restarts while nothing is under way");
  next_completion();  // empties components
  now_ = 0;
  events_ = {};
  // Equal levels and times are in order of these numbers: they are given out anew, too.
  records_.clear();
  state_.activities.clear();
  free_slots_.clear();
  free_components_.clear();
  for (std::size_t c = components_.size(); c > 0; --c) free_components_.push_back(static_cast<std::int32_t>(c - 1));
}

void FlowNetwork::take_out(std::int32_t slot, double done) {
  const Activity& activity = state_.activities[at(slot)];
  delivered_ += done;
  state_.for_each_use(activity, [&](std::int32_t resource, double amount) {
    Resource& r = state_.resources[at(resource)];
    r.carried += amount * done;
    --r.live;
  });
  if (activity.uses_begin >= 0) live_uses_ -= at(activity.uses_count);
  records_[at(slot)].component = -1;
  --active_;
}

void FlowNetwork::complete(std::vector<std::int32_t>& tags) {
  const double time = next_completion();
  FORETOKEN_CHECK(std::isfinite(time), "nothing can complete");
  now_ = std::max(now_, time);
  ended_.clear();
  while (!events_.empty() && events_.top().time <= time * (1 + kSameEnd)) {
    const Event event = events_.top();
    events_.pop();
    Component& c = components_[at(event.component)];
    if (event.version != c.version) continue;
    const bool was_dirty = c.dirty;
    c.end(state_, now_, ended_);
    if (c.live == 0) c.dirty = true;
    if (!was_dirty && c.dirty) dirty_.push_back(event.component);
    if (!c.dirty) events_.push({c.next, event.component, c.version});
  }
  std::sort(ended_.begin(), ended_.end(),
            [&](std::int32_t a, std::int32_t b) { return records_[at(a)].sequence < records_[at(b)].sequence; });
  for (const std::int32_t slot : ended_) {
    tags.push_back(records_[at(slot)].tag);
    const Activity& activity = state_.activities[at(slot)];
    take_out(slot, activity.work * activity.weight);
  }
}

std::int32_t FlowNetwork::find(std::int32_t tag) const {
  for (std::size_t slot = 0; slot < records_.size(); ++slot) {
    if (records_[slot].component >= 0 && records_[slot].tag == tag) return static_cast<std::int32_t>(slot);
  }
  return -1;
}

void FlowNetwork::set_capacity(std::int32_t resource, double capacity) {
  Resource& r = state_.resources[at(resource)];
  r.capacity = capacity;
  if (r.component < 0) return;
  components_[at(r.component)].unpack(state_, now_);
  mark_dirty(r.component);
}

double FlowNetwork::withdraw(std::int32_t tag) {
  const std::int32_t slot = find(tag);
  FORETOKEN_CHECK(slot >= 0, "no such activity is under way");
  const Activity& activity = state_.activities[at(slot)];
  const std::int32_t component = records_[at(slot)].component;
  const double done = done_by(slot, now_);
  const double left = std::max(kNothingLeft, 1 - done / (activity.work * activity.weight));
  components_[at(component)].ended(state_, slot, now_);
  take_out(slot, done);
  mark_dirty(component);
  return left;
}

double FlowNetwork::rate_of(std::int32_t tag) {
  next_completion();
  const std::int32_t slot = find(tag);
  if (slot < 0) return 0;
  const Activity& activity = state_.activities[at(slot)];
  return components_[at(records_[at(slot)].component)].level(activity) * activity.weight;
}

}  // namespace foretoken::sim
