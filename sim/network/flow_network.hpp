// Activities over shared resources, from start to completion: flows over links, and anything else that takes time by
// sharing something.
//
// Between two changes every activity advances at its max-min fair rate (sim/network/max_min.hpp); a start or a
// completion changes the rates. Time is unrounded seconds here; who publishes events rounds them.
#pragma once

#include <cstdint>
#include <limits>
#include <queue>
#include <span>
#include <vector>

#include "sim/network/component.hpp"
#include "sim/network/max_min.hpp"
#include "sim/network/sharing_state.hpp"

namespace foretoken::sim {

/// An activity about to start. It ends when it has advanced by `demand`, at x per second where x is its share.
struct ActivityStart {
  double demand = 0;  // > 0; bytes for a flow
  double weight = 1.0;
  double ceiling = std::numeric_limits<double>::infinity();
  std::span<const ResourceUse> uses;  // copied
  std::int32_t tag = 0;               // handed back at completion
};

/// What is going on now.
///
/// Several starts, or several completions, at one instant cost one solve, because rates are found when they are next
/// asked for. Activities whose completions rounding errors alone tell apart end together: symmetric flows would
/// otherwise cost a solve each.
///
/// Activities that share nothing, directly or through others, are solved for apart (sim/network/component.hpp).
///
/// With an accuracy above 0, shares are found anew only once per window of time, which ends before any resource has
/// done more, or less, than that part of what it can do in the time for which its component has been busy: see error().
/// Makespans of all-to-alls came out within 1.3 times the accuracy, single flows within 3.4 times.
class FlowNetwork {
 public:
  /// @param capacity of each resource, per second, finite, >= 0
  /// @param accuracy 0: exact; else what a resource may be ahead or behind, of what it can do since it became busy; < 1
  explicit FlowNetwork(const std::vector<double>& capacity, double accuracy = 0);

  [[nodiscard]] double now() const { return now_; }
  [[nodiscard]] std::size_t active() const { return static_cast<std::size_t>(active_); }
  /// Advanced by all activities together since the beginning: the sum of the demands once all have ended.
  [[nodiscard]] double delivered() const;
  /// What each resource has carried by `time`, as in advance(), and not after next_completion(): the sum of amount x
  /// advance over its activities.
  [[nodiscard]] std::vector<double> carried(double time);
  /// How often the shares of a component were found.
  [[nodiscard]] std::int64_t solves() const { return solves_; }
  /// Of approximate sharing, as found afterwards: the most that a resource was ahead or behind, of what it can do in
  /// the time for which its component had been busy. A first-order estimate for completions: who is late on one
  /// resource starts late on others.
  [[nodiscard]] double error() const;

  /// Starts an activity now.
  void start(const ActivityStart& start);

  /// Gives a resource another capacity, from now on.
  void set_capacity(std::int32_t resource, double capacity);

  /// Takes an activity out now. Searches. Returns the part of its demand that was left, in (0, 1].
  double withdraw(std::int32_t tag);

  /// While nothing is under way: time begins anew at 0, and what follows depends on nothing that was before. Only what
  /// has been delivered and carried, and the solves and errors made, stay counted.
  void restart_clock();

  /// When the next activity ends; infinity if none does.
  double next_completion();

  /// Moves on to `time`, which lies between now() and next_completion(). Earlier times are taken as now(): events are
  /// rounded to picoseconds and may fall just before the completion that caused them.
  void advance(double time);

  /// Moves on to next_completion() and appends the tags of those that end then, in order of start.
  void complete(std::vector<std::int32_t>& tags);

  /// Current share of the activity with this tag. Searches; for tests and reports.
  double rate_of(std::int32_t tag);

 private:
  struct Record {
    std::int64_t sequence = 0;
    std::int32_t component = -1;  // -1: not under way
    std::int32_t tag = 0;
  };
  struct Event {
    double time;
    std::int32_t component;
    std::uint32_t version;
    bool operator>(const Event& other) const {
      return std::pair(time, component) > std::pair(other.time, other.component);
    }
  };

  void insert(std::int32_t slot);
  std::int32_t component_for(const Activity& activity);
  void merge(std::int32_t into, std::int32_t from);
  void mark_dirty(std::int32_t component);
  void find_shares(std::int32_t component);
  void split(std::int32_t component);
  void empty(std::int32_t component);
  void take_out(std::int32_t slot, double done);
  void store_uses(Activity& activity, std::span<const ResourceUse> uses);
  void compact_uses();
  [[nodiscard]] std::int32_t find(std::int32_t tag) const;
  [[nodiscard]] double done_by(std::int32_t slot, double time) const;

  double accuracy_;
  double now_ = 0;
  std::int32_t active_ = 0;
  double delivered_ = 0;  // by activities that have ended
  double error_ = 0;      // of components that are no more
  std::int64_t started_ = 0;
  std::int64_t solves_ = 0;
  SharingState state_;
  std::vector<Record> records_;  // [slot]
  std::vector<std::int32_t> free_slots_;
  std::vector<Component> components_;
  std::vector<std::int32_t> free_components_;
  std::vector<std::int32_t> dirty_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::size_t live_uses_ = 0;  // of state_.uses

  std::vector<std::int32_t> ended_;  // scratch
};

}  // namespace foretoken::sim
