// Activities that share resources with one another, directly or through others: their rates are found together.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "sim/network/sharing_state.hpp"

namespace foretoken::sim {

/// The shares of one component, by progressive filling (sim/network/max_min.hpp has the mathematics).
///
/// A filling is a list of steps in order of level: a resource fills up, or an activity reaches its ceiling, and their
/// activities stop growing there. When an activity ends, the steps before its own stay as they are: until then it grew
/// with the others, and only slowed down resources that were not the next to fill. So filling resumes at the step of
/// the first activity that ended, or rather at the last checkpoint before it: the state of all resources, stored
/// several times per filling. An activity that starts changes nothing before the level at which its tightest resource
/// would fill up if nobody else stopped growing.
///
/// Cost of a filling: the uses of activities from that step on, and a heap of resources whose keys are lower bounds.
class Component {
 public:
  std::vector<std::int32_t> slots;      // of its activities, in order of start; those that have ended are marked
  std::vector<std::int32_t> resources;  // that it uses or has used
  std::int32_t live = 0;                // activities that have not ended
  bool dirty = false;                   // shares are to be found
  bool pooled = false;                  // not in use
  std::uint32_t version = 0;            // of `next`, for queues
  double next = 0;                      // when its next activity ends
  double origin = 0;                    // since when it has been busy
  double window_end = 0;                // approximate sharing: until then nothing need be found anew
  double error = 0;                     // that approximate sharing has made here
  double accuracy = 0;                  // asked of it

  void reset(double now);

  /// An activity has started; it is in `slots`, and in the state of its resources.
  void started(const SharingState& state, std::int32_t slot, double ceiling);
  /// A resource has joined: nothing that is stored fits any more.
  void forget() {
    restart_ = 0;
    checkpoints_used_ = 0;
  }
  /// Its activity has ended, or leaves the sharing.
  void ended(const SharingState& state, const Activity& activity);

  /// Finds the shares at `now` and, from them, `next`.
  void solve(SharingState& state, double now);
  /// The same for a window of time: shares are not found again for what ends in it. Those that end in its first part
  /// keep their rates, and the others share as if they were gone; what those of the second part leave is not shared
  /// until the next window. What a resource does too much in the first and too little in the second cancels; a window
  /// is as long as neither comes to more than `accuracy` of what the resource can do in the time since `origin`.
  void solve_window(SharingState& state, double now, double accuracy);

  /// Activities that end at `time`, give or take rounding errors, in any order; they get marked as ended. Then `next`
  /// is that of the others.
  void end(SharingState& state, double time, std::vector<std::int32_t>& slots_ended);

 private:
  // [begin, end) of order_ stopped growing at this level.
  struct Step {
    double level = 0;
    double finish = 0;  // of the first of them to end
    std::int32_t begin = 0;
    std::int32_t end = 0;
  };
  struct Checkpoint {
    std::int32_t step = 0;  // before it
    std::vector<double> free;
    std::vector<double> slope;
    std::vector<std::int32_t> growing;
  };
  struct Candidate {
    double level;
    std::int32_t resource;
    // Inverted, for a heap with the least level on top; equal levels: lower resource first.
    bool operator<(const Candidate& other) const {
      return std::pair(level, resource) > std::pair(other.level, other.resource);
    }
  };
  struct Ceiling {
    double level;
    std::int32_t slot;
    bool operator<(const Ceiling& other) const { return std::pair(level, slot) < std::pair(other.level, other.slot); }
  };
  struct Due {
    double finish;
    std::int32_t slot;
    bool operator<(const Due& other) const { return std::pair(finish, slot) < std::pair(other.finish, other.slot); }
  };

  std::int32_t resume(SharingState& state);
  std::int32_t start_over(SharingState& state);
  double let_leave(SharingState& state, double now);
  void postpone(SharingState& state, const Activity& activity, double time);
  void release(SharingState& state, double now);
  void fill(SharingState& state, double now, std::int32_t growing);
  void stop_users(SharingState& state, std::int32_t resource, double level, double now);
  void sum_afresh(SharingState& state, std::int32_t resource) const;
  void store_checkpoint(const SharingState& state);
  void drop_checkpoints();
  void find_next();

  std::vector<Step> steps_;
  std::vector<std::int32_t> order_;  // slots by step
  std::vector<Due> due_;             // in this window, by time
  std::size_t due_ended_ = 0;        // of them
  std::vector<Checkpoint> checkpoints_;
  std::size_t checkpoints_used_ = 0;
  std::vector<Ceiling> ceilings_;  // finite ones
  bool ceilings_sorted_ = true;
  std::int32_t restart_ = 0;  // first step that is out of date
  std::vector<Candidate> heap_;
};

}  // namespace foretoken::sim
