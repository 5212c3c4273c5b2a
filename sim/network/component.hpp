// Activities that share resources with one another, directly or through others: their rates are found together.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "sim/network/filling.hpp"
#include "sim/network/sharing_state.hpp"

namespace foretoken::sim {

/// The activities of one component from start to completion. sim/network/filling.hpp finds their shares, as members of
/// arrays that are packed for it: of those resources only that may fill up (sim/network/guards.hpp). What starts later
/// is added there as long as it fits; else, and when components merge, they are packed anew before the next shares are
/// found.
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

  /// An activity has started, or joins; its resources are in `resources`.
  void started(SharingState& state, std::int32_t slot);
  /// It has ended, or is taken out.
  void ended(SharingState& state, std::int32_t slot, double time);
  /// All of its activities are about to be another component's, or capacities have changed.
  void unpack(SharingState& state, double now);
  /// Notes that approximate sharing has done something to a resource.
  void touch(std::int32_t resource) { touched_.push_back(resource); }
  [[nodiscard]] const std::vector<std::int32_t>& touched() const { return touched_; }

  /// Work to go at `time`, which is not after `next`.
  [[nodiscard]] double left(const Activity& activity, double time) const;
  /// Work per second.
  [[nodiscard]] double level(const Activity& activity) const;

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
  struct Due {
    double finish;
    std::int32_t slot;
    bool operator<(const Due& other) const { return std::pair(finish, slot) < std::pair(other.finish, other.slot); }
    bool operator==(const Due& other) const = default;
  };

  void pack(SharingState& state, double now);
  bool add(SharingState& state, std::int32_t slot);
  bool constrain(SharingState& state, std::int32_t resource);
  void collect_uses(const SharingState& state, const Activity& activity);
  void append_due(double time, std::vector<Due>& due);
  void add_due(double time, std::vector<Due>& due);
  double let_leave(SharingState& state, double now);
  void leave(SharingState& state, const Due& due, double now);
  void postpone(SharingState& state, const Activity& activity, double time);
  void release(SharingState& state, double now);
  void find_next();

  Filling filling_;
  bool packed_ = false;
  std::vector<Due> due_;               // in this window, by time
  std::size_t due_ended_ = 0;          // of them
  std::vector<Due> leaving_;           // also of activities that have ended
  std::vector<std::int32_t> touched_;  // resources, since the last window

  std::vector<Due> candidates_;        // scratch
  std::vector<ResourceUse> wanted_;    // scratch
  std::vector<Filling::Use> uses_;     // scratch
  std::vector<Filling::Due> members_;  // scratch
};

}  // namespace foretoken::sim
