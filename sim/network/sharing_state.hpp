// Who shares what, as flat arrays: all activities and resources of a flow network. Its components point into it.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include "sim/network/max_min.hpp"

namespace foretoken::sim {

/// An activity under way. Its level is rate / weight, its work is demand / weight, so that work goes down by `level`
/// per second whatever the weight.
struct Activity {
  static constexpr std::int32_t kWaiting = -1;  // for its first share, or for its component to be put together anew
  static constexpr std::int32_t kEnded = -2;
  static constexpr std::int32_t kLeaving = -3;
  static constexpr std::size_t kFewUses = 8;

  // Unless its component's filling has it as a member, which then knows better:
  double left = 0;   // work to go at `since`
  double level = 0;  // from then on
  double since = 0;

  double weight = 1;
  double work = 0;  // in all
  double ceiling = std::numeric_limits<double>::infinity();
  std::int32_t member = kWaiting;  // of its component's filling
  std::int32_t uses_begin = -1;    // of SharingState::uses; -1: amounts of 1 of the few resources below
  std::int32_t uses_count = 0;
  std::array<std::int32_t, kFewUses> few{};  // resources
};

struct Resource {
  /// Some of its activities all use each of these other resources too.
  struct Guard {
    double capacity = 0;  // the least of theirs
    std::vector<std::int32_t> resources;
  };

  double capacity = 0;
  double carried = 0;           // amount x demand of those that have ended
  std::int32_t live = 0;        // its activities
  std::int32_t component = -1;  // -1: nobody uses it
  // Approximate sharing: what those that have ended took until others could have it, at the rate that they had; and, of
  // those for whom nobody has found new shares yet, their rates and rates x times of ending.
  double misplaced = 0;
  double promised = 0;  // what those that leave will still take
  double unreleased = 0;
  double unreleased_time = 0;
  // Whether it may fill up (sim/network/guards.hpp).
  std::int32_t constraint = -1;     // of its component's filling; -1: it is guarded
  double guarded = 0;               // the sum of its guards' capacities
  std::vector<Guard> guards;        // of a guarded one
  std::vector<std::int32_t> users;  // slots, of a guarded one; also of activities that have ended
};

struct SharingState {
  std::vector<Activity> activities;  // [slot]
  std::vector<Resource> resources;
  std::vector<ResourceUse> uses;  // of activities that have many, or amounts other than 1

  /// Calls `each(resource, amount)`.
  template <class Each>
  void for_each_use(const Activity& activity, Each each) const {
    if (activity.uses_begin < 0) {
      for (std::int32_t i = 0; i < activity.uses_count; ++i) each(activity.few[static_cast<std::size_t>(i)], 1.0);
    } else {
      for (std::int32_t i = 0; i < activity.uses_count; ++i) {
        const ResourceUse& use = uses[static_cast<std::size_t>(activity.uses_begin + i)];
        each(use.resource, use.amount);
      }
    }
  }
};

}  // namespace foretoken::sim
