#include "sim/network/flow_network.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"

namespace foretoken::sim {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kTogether = 1e-9;      // of the time to the next completion
constexpr double kNothingLeft = 1e-12;  // of the demand
constexpr double kSameLevel = 1e-12;    // relative difference of two shares that rounding can explain
constexpr int kLocalRoundsMax = 4;      // then solving for everybody is cheaper

std::size_t at(std::int32_t index) { return static_cast<std::size_t>(index); }

}  // namespace

FlowNetwork::FlowNetwork(std::vector<double> capacity)
    : capacity_(std::move(capacity)),
      first_user_(capacity_.size(), -1),
      load_(capacity_.size(), 0.0),
      carried_(capacity_.size(), 0.0),
      counted_(capacity_.size(), 0.0),
      limited_(capacity_.size(), 0),
      is_reached_(capacity_.size(), 0),
      residual_(capacity_.size(), 0.0) {}

void FlowNetwork::start(const ActivityStart& start) {
  FORETOKEN_CHECK(start.demand > 0 && start.weight > 0 && start.ceiling > 0, "an activity needs something to do");
  std::int32_t slot = 0;
  if (free_slots_.empty()) {
    slot = static_cast<std::int32_t>(activities_.size());
    activities_.emplace_back();
    progress_.emplace_back();
    rate_.push_back(0);
    bottleneck_.push_back(-1);
    is_member_.push_back(0);
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
  }
  const auto begin = static_cast<std::int32_t>(uses_.size());
  uses_.insert(uses_.end(), start.uses.begin(), start.uses.end());
  memberships_.resize(uses_.size());
  live_uses_ += start.uses.size();
  activities_[at(slot)] = {start.weight, start.ceiling, begin, static_cast<std::int32_t>(uses_.size())};
  progress_[at(slot)] = {start.demand, start.demand, start.tag};
  rate_[at(slot)] = 0;
  bottleneck_[at(slot)] = -1;
  active_.push_back(slot);
  link(slot);
  join(slot);
  changed_ = true;
}

void FlowNetwork::link(std::int32_t slot) {
  for (std::int32_t u = activities_[at(slot)].uses_begin; u < activities_[at(slot)].uses_end; ++u) {
    std::int32_t& head = first_user_[at(uses_[at(u)].resource)];
    memberships_[at(u)] = {slot, -1, head};
    if (head >= 0) memberships_[at(head)].previous = u;
    head = u;
  }
}

void FlowNetwork::unlink(std::int32_t slot) {
  for (std::int32_t u = activities_[at(slot)].uses_begin; u < activities_[at(slot)].uses_end; ++u) {
    const Membership& membership = memberships_[at(u)];
    if (membership.previous >= 0) memberships_[at(membership.previous)].next = membership.next;
    else first_user_[at(uses_[at(u)].resource)] = membership.next;
    if (membership.next >= 0) memberships_[at(membership.next)].previous = membership.previous;
  }
}

void FlowNetwork::compact_uses() {
  std::vector<ResourceUse> live;
  live.reserve(live_uses_);
  std::fill(first_user_.begin(), first_user_.end(), -1);
  for (const std::int32_t slot : active_) {
    MaxMinActivity& activity = activities_[at(slot)];
    const auto begin = static_cast<std::int32_t>(live.size());
    live.insert(live.end(), uses_.begin() + activity.uses_begin, uses_.begin() + activity.uses_end);
    activity.uses_begin = begin;
    activity.uses_end = static_cast<std::int32_t>(live.size());
  }
  uses_ = std::move(live);
  memberships_.assign(uses_.size(), {});
  for (const std::int32_t slot : active_) link(slot);
}

void FlowNetwork::join(std::int32_t slot) {
  if (is_member_[at(slot)] != 0) return;
  is_member_[at(slot)] = 1;
  members_.push_back(slot);
}

void FlowNetwork::solve_members() {
  reached_.clear();
  for (const std::int32_t slot : members_) {
    for (std::int32_t u = activities_[at(slot)].uses_begin; u < activities_[at(slot)].uses_end; ++u) {
      const std::int32_t resource = uses_[at(u)].resource;
      if (is_reached_[at(resource)] != 0) continue;
      is_reached_[at(resource)] = 1;
      reached_.push_back(resource);
    }
  }
  for (const std::int32_t resource : reached_) is_reached_[at(resource)] = 0;
  for (const std::int32_t slot : members_) withdraw(slot);
  for (const std::int32_t resource : reached_) {
    residual_[at(resource)] = std::max(0.0, capacity_[at(resource)] - load_[at(resource)]);
  }
  solver_.solve(residual_, activities_, members_, uses_, rate_, bottleneck_);
  for (const std::int32_t slot : members_) {
    if (bottleneck_[at(slot)] >= 0) ++limited_[at(bottleneck_[at(slot)])];
    for (std::int32_t u = activities_[at(slot)].uses_begin; u < activities_[at(slot)].uses_end; ++u) {
      count_load(uses_[at(u)].resource);
      load_[at(uses_[at(u)].resource)] += uses_[at(u)].amount * rate_[at(slot)];
    }
  }
}

// Before a load changes.
void FlowNetwork::count_load(std::int32_t resource) {
  carried_[at(resource)] += load_[at(resource)] * (now_ - counted_[at(resource)]);
  counted_[at(resource)] = now_;
}

// Takes an activity's rate back from its resources.
void FlowNetwork::withdraw(std::int32_t slot) {
  if (bottleneck_[at(slot)] >= 0) --limited_[at(bottleneck_[at(slot)])];
  for (std::int32_t u = activities_[at(slot)].uses_begin; u < activities_[at(slot)].uses_end; ++u) {
    count_load(uses_[at(u)].resource);
    load_[at(uses_[at(u)].resource)] -= uses_[at(u)].amount * rate_[at(slot)];
  }
  bottleneck_[at(slot)] = -1;
  rate_[at(slot)] = 0;
}

bool FlowNetwork::check_neighbours() {
  const auto level = [&](std::int32_t slot) { return rate_[at(slot)] / activities_[at(slot)].weight; };
  const std::size_t before = members_.size();
  for (const std::int32_t resource : reached_) {
    if (limited_[at(resource)] == 0) continue;  // nobody claims it as a bottleneck, so there is no claim to check
    double load = 0;
    double top = 0;
    double lowest_limited = kInfinity;  // member that has its bottleneck here
    for (std::int32_t u = first_user_[at(resource)]; u >= 0; u = memberships_[at(u)].next) {
      const std::int32_t user = memberships_[at(u)].activity;
      load += uses_[at(u)].amount * rate_[at(user)];
      top = std::max(top, level(user));
      if (is_member_[at(user)] != 0 && bottleneck_[at(user)] == resource) {
        lowest_limited = std::min(lowest_limited, level(user));
      }
    }
    count_load(resource);
    load_[at(resource)] = load;  // without the rounding errors of adding and taking away
    const bool full = load >= capacity_[at(resource)] * (1.0 - kSameLevel);
    for (std::int32_t u = first_user_[at(resource)]; u >= 0; u = memberships_[at(u)].next) {
      const std::int32_t user = memberships_[at(u)].activity;
      if (is_member_[at(user)] != 0) continue;
      const bool limited_here = bottleneck_[at(user)] == resource;
      const bool lost_bottleneck = limited_here && !(full && level(user) >= top * (1.0 - kSameLevel));
      const bool takes_too_much = level(user) > lowest_limited * (1.0 + kSameLevel);
      if (lost_bottleneck || takes_too_much) join(user);
    }
  }
  return members_.size() == before;
}

void FlowNetwork::update_rates() {
  if (uses_.size() > 4096 && uses_.size() > 2 * live_uses_) compact_uses();
  for (int round = 0; !members_.empty(); ++round) {
    if (round == kLocalRoundsMax || 2 * members_.size() > active_.size()) {
      for (const std::int32_t slot : active_) join(slot);
    }
    solve_members();
    if (members_.size() == active_.size() || check_neighbours()) break;
  }
  for (const std::int32_t slot : members_) is_member_[at(slot)] = 0;
  members_.clear();

  double wait = kInfinity;
  for (const std::int32_t slot : active_) {
    if (progress_[at(slot)].remaining < wait * rate_[at(slot)]) {
      wait = progress_[at(slot)].remaining / rate_[at(slot)];
      due_ = slot;
    }
  }
  next_ = now_ + wait;
  changed_ = false;
}

double FlowNetwork::next_completion() {
  if (active_.empty()) return kInfinity;
  if (changed_) update_rates();
  return next_;
}

void FlowNetwork::advance(double time) {
  if (!(time > now_)) return;
  FORETOKEN_CHECK(active_.empty() || time <= next_completion(), "the network was moved past a completion");
  const double elapsed = time - now_;
  for (const std::int32_t slot : active_) {
    const double moved = rate_[at(slot)] * elapsed;
    progress_[at(slot)].remaining = std::max(0.0, progress_[at(slot)].remaining - moved);
    delivered_ += moved;
  }
  now_ = time;
}

void FlowNetwork::complete(std::vector<std::int32_t>& tags) {
  const double time = next_completion();
  FORETOKEN_CHECK(std::isfinite(time), "nothing can complete");
  // Not time - now_: that may round to nothing, and the one that is due has to end.
  const double wait = progress_[at(due_)].remaining / rate_[at(due_)];
  now_ = time;
  reached_.clear();
  std::size_t kept = 0;
  for (const std::int32_t slot : active_) {
    Progress& progress = progress_[at(slot)];
    const double moved = rate_[at(slot)] * wait;
    const double left = progress.remaining - moved;
    if (left > kTogether * moved + kNothingLeft * progress.demand) {
      progress.remaining = left;
      delivered_ += moved;
      active_[kept++] = slot;
      continue;
    }
    delivered_ += progress.remaining;
    tags.push_back(progress.tag);
    for (std::int32_t u = activities_[at(slot)].uses_begin; u < activities_[at(slot)].uses_end; ++u) {
      const std::int32_t resource = uses_[at(u)].resource;
      if (is_reached_[at(resource)] == 0) reached_.push_back(resource);
      is_reached_[at(resource)] = 1;
    }
    live_uses_ -= at(activities_[at(slot)].uses_end - activities_[at(slot)].uses_begin);
    withdraw(slot);
    unlink(slot);
    free_slots_.push_back(slot);
  }
  active_.resize(kept);

  // Whoever was limited by a resource that has room now may grow. Nobody else can be the first to change.
  for (const std::int32_t resource : reached_) {
    is_reached_[at(resource)] = 0;
    if (first_user_[at(resource)] < 0) load_[at(resource)] = 0;  // exactly
    if (limited_[at(resource)] == 0) continue;
    for (std::int32_t u = first_user_[at(resource)]; u >= 0; u = memberships_[at(u)].next) {
      const std::int32_t user = memberships_[at(u)].activity;
      if (bottleneck_[at(user)] == resource) join(user);
    }
  }
  reached_.clear();
  changed_ = true;
}

std::vector<double> FlowNetwork::carried(double time) {
  const double until = std::max(now_, std::min(time, next_completion()));
  std::vector<double> carried = carried_;
  for (std::size_t r = 0; r < carried.size(); ++r) carried[r] += load_[r] * (until - counted_[r]);
  return carried;
}

double FlowNetwork::rate_of(std::int32_t tag) {
  next_completion();
  for (const std::int32_t slot : active_) {
    if (progress_[at(slot)].tag == tag) return rate_[at(slot)];
  }
  return 0;
}

}  // namespace foretoken::sim
