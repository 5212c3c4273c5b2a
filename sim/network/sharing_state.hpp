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
  static constexpr std::int32_t kGrowing = std::numeric_limits<std::int32_t>::max();
  static constexpr std::int32_t kEnded = -1;
  static constexpr std::int32_t kLeaving = -2;
  static constexpr std::size_t kFewUses = 4;

  double left = 0;   // work to go at `since`
  double level = 0;  // from then on
  double since = 0;
  double weight = 1;
  double work = 0;               // in all
  std::int32_t step = kGrowing;  // of its component's filling, at which its level was found
  std::int32_t uses_begin = -1;  // of SharingState::uses; -1: amounts of 1 of the few resources below
  std::int32_t uses_count = 0;
  std::array<std::int32_t, kFewUses> few{};  // resources
};

/// What the filling of a resource changes all the time.
struct Filling {
  double free = 0;           // capacity less what those take whose levels are found
  double slope = 0;          // what one unit of level takes for the others
  std::int32_t growing = 0;  // how many others (an exact zero, where slope may keep a rounding error)
  std::int32_t place = 0;    // in its component's list of resources
};

struct Resource {
  double capacity = 0;
  double slope = 0;             // sum of amount x weight over its activities
  double carried = 0;           // amount x demand of those that have ended
  std::int32_t live = 0;        // its activities
  std::int32_t component = -1;  // -1: nobody uses it
  // Approximate sharing: what those that have ended took until others could have it, at the rate that they had; and, of
  // those for whom nobody has found new shares yet, their rates and rates x times of ending.
  double misplaced = 0;
  double promised = 0;  // what those that leave will still take
  double unreleased = 0;
  double unreleased_time = 0;
  std::vector<std::int32_t> users;  // slots, in order of start; also of activities that have ended, for a while
};

struct SharingState {
  std::vector<Activity> activities;  // [slot]
  std::vector<Resource> resources;
  std::vector<Filling> filling;   // [resource]
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
