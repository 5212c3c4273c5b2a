// Activities over shared resources, from start to completion: flows over links, and anything else that takes time by
// sharing something.
//
// Between two changes every activity advances at its max-min fair rate (sim/network/max_min.hpp); a start or a
// completion changes the rates. Time is unrounded seconds here; who publishes events rounds them.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "sim/network/max_min.hpp"

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
/// asked for. Activities that end within 1e-9 of the time to the next completion, or that have less than 1e-12 of their
/// demand left, end with it: symmetric flows differ by rounding errors, and ending them one by one would cost a solve
/// each.
///
/// Only what a change can reach is solved again. Max-min rates are the feasible ones in which every activity is at its
/// ceiling or has a bottleneck, so: solve for the activities that started or whose bottleneck was freed, with the
/// others held at their rates; then check the others that share a resource with them. Any that has lost its bottleneck,
/// or takes more than its share of somebody else's, joins, and the solve repeats. What no longer grows satisfies the
/// definition, hence is the answer.
class FlowNetwork {
 public:
  /// @param capacity of each resource, per second, finite, >= 0
  explicit FlowNetwork(std::vector<double> capacity);

  [[nodiscard]] double now() const { return now_; }
  [[nodiscard]] std::size_t active() const { return active_.size(); }
  /// Advanced by all activities together since the beginning: the sum of the demands once all have ended.
  [[nodiscard]] double delivered() const { return delivered_; }

  /// Starts an activity now.
  void start(const ActivityStart& start);

  /// When the next activity ends; infinity if none does.
  double next_completion();

  /// Moves on to `time`, which lies between now() and next_completion(). Earlier times are taken as now(): events are
  /// rounded to picoseconds and may fall just before the completion that caused them.
  void advance(double time);

  /// Moves on to next_completion() and appends the tags of those that end then, in order of start.
  void complete(std::vector<std::int32_t>& tags);

  /// What each resource has given since the beginning: the integral of its load. `time` as in advance(), and not after
  /// next_completion().
  std::vector<double> carried(double time);

  /// Current share of the activity with this tag. Searches; for tests and reports.
  double rate_of(std::int32_t tag);

 private:
  // A use of a resource by an active activity, linked into the list of all uses of that resource.
  struct Membership {
    std::int32_t activity = -1;
    std::int32_t previous = -1;
    std::int32_t next = -1;
  };
  struct Progress {
    double demand = 0;
    double remaining = 0;
    std::int32_t tag = 0;
  };

  void link(std::int32_t slot);
  void unlink(std::int32_t slot);
  void compact_uses();
  void update_rates();
  void join(std::int32_t slot);
  void solve_members();
  void withdraw(std::int32_t slot);
  void count_load(std::int32_t resource);
  bool check_neighbours();

  std::vector<double> capacity_;
  double now_ = 0;
  double delivered_ = 0;
  double next_ = 0;
  std::int32_t due_ = -1;  // ends at next_
  bool changed_ = true;

  // Activities live in slots that are used again; active_ lists them in order of start.
  std::vector<std::int32_t> active_;
  std::vector<std::int32_t> free_slots_;
  std::vector<MaxMinActivity> activities_;
  std::vector<Progress> progress_;
  std::vector<double> rate_;
  std::vector<std::int32_t> bottleneck_;
  std::vector<ResourceUse> uses_;        // of all activities, live ones and what ended ones left behind
  std::vector<Membership> memberships_;  // parallel to uses_
  std::size_t live_uses_ = 0;
  std::vector<std::int32_t> first_user_;  // [resource] -> head of its list of memberships
  std::vector<double> load_;              // [resource] taken by all activities at their rates
  std::vector<double> carried_;           // [resource] until counted_
  std::vector<double> counted_;           // [resource] when its load last changed
  std::vector<std::int32_t> limited_;     // [resource] activities that have it as their bottleneck

  // Scratch of one update.
  MaxMinSolver solver_;
  std::vector<std::int32_t> members_;  // to be solved for
  std::vector<char> is_member_;        // [slot]
  std::vector<std::int32_t> reached_;  // resources that members use
  std::vector<char> is_reached_;       // [resource]
  std::vector<double> residual_;       // [resource] capacity that non-members leave
};

}  // namespace foretoken::sim
