#include "sim/network/filling.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"

namespace foretoken::sim {
namespace {

constexpr double kCancelled = 1e-3;  // a difference this small beside what it was taken from is summed afresh
constexpr double kSameLevel = 1e-9;  // relative; two levels that are surely different are further apart
constexpr std::int32_t kCheckpoints = 8;
constexpr std::int32_t kStopsPerCheckpointMin = 64;
constexpr std::size_t kStaleMin = 32;  // entries of a heap before those out of date are looked for

// Subtraction may leave a full resource a rounding error below zero, and so the slope of one with a light user left.
double level_of(double free, double slope) { return slope > 0.0 ? std::max(0.0, free) / slope : 0.0; }

}  // namespace

void Filling::clear(std::size_t uses_max, bool unit) {
  uses_max_ = uses_max;
  peers_ = std::max<std::size_t>(1, uses_max - 1);
  unit_ = unit;
  live_ = 0;
  constraints_used_ = 0;
  members_.clear();
  places_.clear();
  open_.clear();
  growing_.clear();
  closed_.clear();
  steps_.clear();
  forget();
  add_constraint(kInfinity);  // kNoPeer
}

std::int32_t Filling::add_constraint(double capacity) {
  if (constraints_used_ == constraints_.size()) constraints_.emplace_back();
  Constraint& constraint = constraints_[constraints_used_++];
  constraint.capacity = capacity;
  constraint.slope = constraint.level = constraint.clock = constraint.since = 0;
  constraint.first = kInfinity;
  constraint.members.clear();
  constraint.peers.clear();
  constraint.amounts.clear();
  constraint.due.clear();
  open_.push_back({capacity, 0});
  growing_.push_back(0);
  closed_.push_back(0);
  for (std::size_t c = 0; c < checkpoints_used_; ++c) {
    checkpoints_[c].open.push_back({capacity, 0});
    checkpoints_[c].growing.push_back(0);
  }
  return static_cast<std::int32_t>(constraints_used_ - 1);
}

bool Filling::has_room_for(std::span<const Use> uses) const {
  return uses.size() <= uses_max_ &&
         (!unit_ || std::all_of(uses.begin(), uses.end(), [](const Use& use) { return use.amount == 1; }));
}

// Puts a member into the list of the constraint that is its use number `index`.
void Filling::enter(std::int32_t member, std::span<const Use> uses, std::size_t index) {
  const Use& use = uses[index];
  Constraint& constraint = constraints_[at(use.constraint)];
  places(member)[index] = {use.constraint, static_cast<std::int32_t>(constraint.members.size())};
  constraint.members.push_back(member);
  constraint.slope += use.amount;
  const std::size_t peers = constraint.peers.size() + peers_;
  const std::size_t amounts = constraint.amounts.size() + 1 + peers_;
  if (!unit_) constraint.amounts.push_back(use.amount);
  for (std::size_t u = 0; u < uses.size(); ++u) {
    if (u == index) continue;
    constraint.peers.push_back(static_cast<std::uint32_t>(uses[u].constraint));
    if (!unit_) constraint.amounts.push_back(uses[u].amount);
  }
  constraint.peers.resize(peers, kNoPeer);
  if (!unit_) constraint.amounts.resize(amounts, 0.0);
}

std::int32_t Filling::add_member(std::int32_t slot, double left, std::span<const Use> uses) {
  const auto member = static_cast<std::int32_t>(members_.size());
  members_.push_back({left, slot, kNobody});
  places_.resize(places_.size() + uses_max_);
  ++live_;
  for (std::size_t u = 0; u < uses.size(); ++u) enter(member, uses, u);
  if (restart_ == 0) {
    checkpoints_used_ = 0;
    return member;
  }
  double lowest = kInfinity;
  for (const Use& use : uses)
    lowest = std::min(lowest, constraints_[at(use.constraint)].capacity / constraints_[at(use.constraint)].slope);
  lower_restart(lowest * (1 - kSameLevel));
  for (std::size_t c = 0; c < checkpoints_used_; ++c) {
    for (const Use& use : uses) {
      checkpoints_[c].open[at(use.constraint)].slope += use.amount;
      ++checkpoints_[c].growing[at(use.constraint)];
    }
  }
  return member;
}

bool Filling::add_use(std::int32_t member, const Use& use) {
  const std::span<Place> old = places(member);
  const std::size_t count = static_cast<std::size_t>(
      std::find_if(old.begin(), old.end(), [](const Place& p) { return p.constraint == kNoPeer; }) - old.begin());
  if (count == uses_max_ || (unit_ && use.amount != 1)) return false;
  forget();
  std::vector<Use> uses;
  for (std::size_t u = 0; u < count; ++u) {
    const Place& place = old[u];
    uses.push_back({place.constraint, amount_of(place)});
    Constraint& constraint = constraints_[at(place.constraint)];
    // count - 1 of its peers are taken.
    std::uint32_t& peer = constraint.peers[at(place.position) * peers_ + count - 1];
    peer = (peer & kHeld) | static_cast<std::uint32_t>(use.constraint);
    if (!unit_) constraint.amounts[at(place.position) * (1 + peers_) + count] = use.amount;
  }
  uses.push_back(use);
  enter(member, uses, count);
  return true;
}

// The last of its list gets its position.
void Filling::take_from_list(const Place& place) {
  Constraint& constraint = constraints_[at(place.constraint)];
  const std::size_t to = at(place.position);
  const std::size_t last = constraint.members.size() - 1;
  if (to != last) {
    const std::int32_t moved = constraint.members[last];
    constraint.members[to] = moved;
    std::copy_n(constraint.peers.begin() + static_cast<std::ptrdiff_t>(last * peers_), peers_,
                constraint.peers.begin() + static_cast<std::ptrdiff_t>(to * peers_));
    if (!unit_)
      std::copy_n(constraint.amounts.begin() + static_cast<std::ptrdiff_t>(last * (1 + peers_)), 1 + peers_,
                  constraint.amounts.begin() + static_cast<std::ptrdiff_t>(to * (1 + peers_)));
    for (Place& other : places(moved))
      if (other.constraint == place.constraint) other.position = static_cast<std::int32_t>(to);
  }
  constraint.members.pop_back();
  constraint.peers.resize(last * peers_);
  if (!unit_) constraint.amounts.resize(last * (1 + peers_));
}

void Filling::remove(std::int32_t member) {
  Member& gone = members_[at(member)];
  --live_;
  if (gone.held_by >= 0) restart_ = std::min(restart_, constraints_[at(gone.held_by)].step);
  drop_checkpoints();
  for (Place& place : places(member)) {
    if (place.constraint == kNoPeer) continue;
    const double amount = amount_of(place);
    Constraint& constraint = constraints_[at(place.constraint)];
    constraint.slope -= amount;
    take_from_list(place);
    if (constraint.members.empty()) constraint.slope = 0;  // exactly
    for (std::size_t c = 0; c < checkpoints_used_; ++c) {
      checkpoints_[c].open[at(place.constraint)].slope -= amount;
      --checkpoints_[c].growing[at(place.constraint)];
    }
    place.constraint = kNoPeer;
  }
  if (gone.held_by >= 0) let_go(member);
  gone.held_by = kRemoved;
}

void Filling::lower_restart(double level) {
  const auto affected = std::find_if(steps_.begin(), steps_.begin() + restart_,
                                     [&](const Step& step) { return constraints_[at(step.constraint)].level > level; });
  restart_ = static_cast<std::int32_t>(affected - steps_.begin());
  drop_checkpoints();
}

void Filling::drop_checkpoints() {
  while (checkpoints_used_ > 0 && checkpoints_[checkpoints_used_ - 1].step > restart_) --checkpoints_used_;
}

// Returns how many members grow from there on.
std::int32_t Filling::resume() {
  const std::int32_t kept = checkpoints_used_ == 0 ? 0 : checkpoints_[checkpoints_used_ - 1].step;
  if (checkpoints_used_ == 0) {
    for (std::size_t c = 1; c < constraints_used_; ++c) {
      open_[c] = {constraints_[c].capacity, constraints_[c].slope};
      growing_[c] = static_cast<std::int32_t>(constraints_[c].members.size());
    }
  } else {
    const Checkpoint& checkpoint = checkpoints_[checkpoints_used_ - 1];
    std::copy(checkpoint.open.begin(), checkpoint.open.end(), open_.begin());
    std::copy(checkpoint.growing.begin(), checkpoint.growing.end(), growing_.begin());
  }
  std::int32_t growing = live_;
  for (std::size_t s = 0; s < steps_.size(); ++s) {
    if (s < at(kept)) growing -= steps_[s].stopped;
    else closed_[at(steps_[s].constraint)] = 0;
  }
  steps_.resize(at(kept));
  return growing;
}

void Filling::store_checkpoint() {
  if (checkpoints_used_ == checkpoints_.size()) checkpoints_.emplace_back();
  Checkpoint& checkpoint = checkpoints_[checkpoints_used_++];
  checkpoint.step = static_cast<std::int32_t>(steps_.size());
  checkpoint.open = open_;
  checkpoint.growing = growing_;
}

void Filling::sum_afresh(std::int32_t number) {
  const Constraint& constraint = constraints_[at(number)];
  Open& open = open_[at(number)];
  open = {constraint.capacity, 0};
  for (std::size_t i = 0; i < constraint.members.size(); ++i) {
    double level = kInfinity;  // of the first to hold it
    for (std::size_t p = 0; p < peers_; ++p) {
      const std::size_t peer = constraint.peers[i * peers_ + p] & ~kHeld;
      if (closed_[peer] != 0) level = std::min(level, constraints_[peer].level);
    }
    const double amount = unit_ ? 1.0 : constraint.amounts[i * (1 + peers_)];
    if (std::isfinite(level)) open.free -= amount * level;
    else open.slope += amount;
  }
}

void Filling::fill(double now, bool checkpoints) {
  std::int32_t growing = resume();
  tournament_.clear();
  for (std::size_t c = 1; c < constraints_used_; ++c) {
    const auto constraint = static_cast<std::int32_t>(c);
    if (closed_[c] == 0 && grows(constraint)) tournament_.add(level_of(open_[c].free, open_[c].slope), constraint);
  }
  tournament_.play();

  const std::int32_t per_checkpoint = std::max(kStopsPerCheckpointMin, live_ / kCheckpoints);
  std::int32_t grew_at_checkpoint = growing + per_checkpoint - 1;
  while (growing > 0) {
    FORETOKEN_CHECK(std::isfinite(tournament_.key()), "an activity grows forever");
    const std::int32_t next = tournament_.winner();
    if (!grows(next)) {
      tournament_.change_winner(kInfinity);
      continue;
    }
    const Constraint& constraint = constraints_[at(next)];
    const Open& open = open_[at(next)];
    double level = level_of(open.free, open.slope);
    if (level > tournament_.key() && !tournament_.change_winner(level)) continue;
    if (open.slope < kCancelled * constraint.slope || open.free < kCancelled * constraint.capacity) {
      sum_afresh(next);
      level = level_of(open.free, open.slope);
      if (level > tournament_.key() && !tournament_.change_winner(level)) continue;
    }
    tournament_.change_winner(kInfinity);
    if (checkpoints && growing + per_checkpoint <= grew_at_checkpoint) {
      store_checkpoint();
      grew_at_checkpoint = growing;
    }
    growing -= close(next, level, now);
  }
  restart_ = static_cast<std::int32_t>(steps_.size());
}

std::int32_t Filling::close(std::int32_t number, double level, double now) {
  Constraint& constraint = constraints_[at(number)];
  constraint.clock = std::isfinite(constraint.first) ? clock_at(constraint, now) : 0;  // 0: it holds nobody
  constraint.since = now;
  constraint.level = level;
  if (constraint.clock > level * now) restart_clock(number);
  constraint.step = static_cast<std::int32_t>(steps_.size());
  newly_.clear();
  const std::int32_t stopped = !unit_        ? stop_members_by_amount(constraint, level)
                               : peers_ == 1 ? stop_members<1>(constraint, level)
                               : peers_ == 2 ? stop_members<2>(constraint, level)
                               : peers_ == 3 ? stop_members<3>(constraint, level)
                                             : stop_members<0>(constraint, level);
  for (const std::size_t position : newly_) hold(number, position, now);
  closed_[at(number)] = 1;
  steps_.push_back({number, stopped});
  return stopped;
}

// kPeers: peers_, or 0 if only that knows.
template <std::size_t kPeers>
std::int32_t Filling::stop_members(Constraint& constraint, double level) {
  const std::size_t peers = kPeers > 0 ? kPeers : peers_;
  const std::size_t count = constraint.members.size();
  const std::uint32_t* peer = constraint.peers.data();
  const char* const closed = closed_.data();
  Open* const open = open_.data();
  std::int32_t stopped = 0;
  for (std::size_t i = 0; i < count; ++i, peer += peers) {
    int held = closed[peer[0] & ~kHeld];
    for (std::size_t p = 1; p < peers; ++p) held |= closed[peer[p]];
    if (held != 0) continue;
    ++stopped;
    if ((peer[0] & kHeld) == 0) newly_.push_back(i);
    for (std::size_t p = 0; p < peers; ++p) {
      Open& other = open[peer[p] & ~kHeld];
      other.free -= level;
      other.slope -= 1;
    }
  }
  return stopped;
}

std::int32_t Filling::stop_members_by_amount(Constraint& constraint, double level) {
  std::int32_t stopped = 0;
  for (std::size_t i = 0; i < constraint.members.size(); ++i) {
    const auto peers = std::span(constraint.peers).subspan(i * peers_, peers_);
    if (std::any_of(peers.begin(), peers.end(), [&](std::uint32_t peer) { return closed_[peer & ~kHeld] != 0; }))
      continue;
    ++stopped;
    if ((peers[0] & kHeld) == 0) newly_.push_back(i);
    for (std::size_t p = 0; p < peers_; ++p) {
      const std::size_t peer = peers[p] & ~kHeld;
      const double amount = constraint.amounts[i * (1 + peers_) + 1 + p];
      open_[peer].free -= amount * level;
      open_[peer].slope -= amount;
      --growing_[peer];
    }
  }
  return stopped;
}

// A member that something else held, or nothing yet.
void Filling::hold(std::int32_t number, std::size_t position, double now) {
  Constraint& constraint = constraints_[at(number)];
  const std::int32_t member = constraint.members[position];
  Member& held = members_[at(member)];
  const double left_now = left(member, now);
  if (held.held_by >= 0) {
    for (const Place& place : places(member))
      if (place.constraint == held.held_by) first_peer(place) &= ~kHeld;
    let_go(member);
  }
  constraint.peers[position * peers_] |= kHeld;
  held.held_by = number;
  held.due = constraint.clock + left_now;
  if (constraint.due.size() > 2 * constraint.members.size() + kStaleMin) {
    collect_due(number);
  } else {
    constraint.due.push_back({held.due, member});
    std::push_heap(constraint.due.begin(), constraint.due.end(), std::greater<>());
  }
  constraint.first = constraint.due.front().clock;
}

// Its level was higher once: the last digits of its clock are worth more time than those of the time itself.
void Filling::restart_clock(std::int32_t number) {
  Constraint& constraint = constraints_[at(number)];
  for (const std::int32_t member : constraint.members)
    if (members_[at(member)].held_by == number) members_[at(member)].due -= constraint.clock;
  constraint.clock = 0;
  collect_due(number);
}

void Filling::collect_due(std::int32_t number) {
  Constraint& constraint = constraints_[at(number)];
  constraint.due.clear();
  for (const std::int32_t member : constraint.members)
    if (members_[at(member)].held_by == number) constraint.due.push_back({members_[at(member)].due, member});
  std::make_heap(constraint.due.begin(), constraint.due.end(), std::greater<>());
  constraint.first = constraint.due.empty() ? kInfinity : constraint.due.front().clock;
}

// Nothing holds it any more.
void Filling::let_go(std::int32_t member) {
  const std::int32_t number = members_[at(member)].held_by;
  Constraint& constraint = constraints_[at(number)];
  members_[at(member)].held_by = kNobody;
  if (members_[at(member)].due > constraint.first) return;
  const auto is_stale = [&](const OnClock& due) {
    const Member& other = members_[at(due.member)];
    return other.held_by != number || other.due != due.clock;
  };
  while (!constraint.due.empty() && is_stale(constraint.due.front())) {
    std::pop_heap(constraint.due.begin(), constraint.due.end(), std::greater<>());
    constraint.due.pop_back();
  }
  constraint.first = constraint.due.empty() ? kInfinity : constraint.due.front().clock;
}

double Filling::level(std::int32_t member) const {
  const std::int32_t number = members_[at(member)].held_by;
  return number < 0 ? 0 : constraints_[at(number)].level;
}

double Filling::left(std::int32_t member, double time) const {
  const Member& m = members_[at(member)];
  return m.held_by < 0 ? m.due : std::max(0.0, m.due - clock_at(constraints_[at(m.held_by)], time));
}

double Filling::next() const {
  double next = kInfinity;
  for (const Step& step : steps_) {
    const Constraint& c = constraints_[at(step.constraint)];
    if (c.level > 0) next = std::min(next, c.since + (c.first - c.clock) / c.level);
  }
  return next;
}

void Filling::due_by(double time, std::vector<Due>& due) const {
  std::vector<std::size_t> way;
  for (const Step& step : steps_) {
    const Constraint& c = constraints_[at(step.constraint)];
    const double until = clock_at(c, time);
    if (!(c.first <= until) || !(c.level > 0)) continue;
    // Down the heap: below what is due later, all is.
    way.assign(1, 0);
    while (!way.empty()) {
      const std::size_t i = way.back();
      way.pop_back();
      if (i >= c.due.size() || c.due[i].clock > until) continue;
      const Member& member = members_[at(c.due[i].member)];
      if (member.held_by == step.constraint && member.due == c.due[i].clock)
        due.push_back({c.since + (member.due - c.clock) / c.level, c.due[i].member});
      way.push_back(2 * i + 1);
      way.push_back(2 * i + 2);
    }
  }
}

}  // namespace foretoken::sim
