// Weighted max-min fair shares: how activities that compete for resources divide them.
//
// The mathematics is here, stated once; who is active and for how long is sim/network/flow_network.hpp.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace foretoken::sim {

/// How much of a resource an activity needs per unit of its own rate: 1 for a flow over a link; less for a link that a
/// collective loads less than its busiest one.
struct ResourceUse {
  std::int32_t resource = 0;
  double amount = 1.0;  // > 0
};

struct MaxMinActivity {
  double weight = 1.0;          // > 0
  double ceiling = 0.0;         // > 0; its rate when alone; may be infinite if it uses a resource
  std::int32_t uses_begin = 0;  // its resources are uses[uses_begin, uses_end)
  std::int32_t uses_end = 0;
};

/// The shares of one moment, by progressive filling.
///
/// Activity a has weight w_a and ceiling c_a and needs d_ar of resource r per unit of its rate. Rates x are feasible if
///
///   x_a <= c_a  for every activity,      sum over a of d_ar x_a <= C_r  for every resource.
///
/// The weighted max-min fair rates are the feasible ones in which no x_a can grow without another b shrinking that has
/// x_b / w_b <= x_a / w_a. They exist, are unique, and are the feasible rates in which every activity is at its ceiling
/// or uses a *bottleneck*: a saturated resource on which no activity has a larger x / w than itself.
///
/// Progressive filling finds them: raise one level t from zero with x_a = w_a t for all; when t reaches c_a / w_a,
/// freeze a there; when a resource is full, freeze all that use it; go on with the rest. A resource fills up at
///
///   t_r = (C_r - sum over frozen a of d_ar x_a) / (sum over others of d_ar w_a),
///
/// and freezing others at t <= t_r never lowers t_r, so the next to fill is found in a heap whose keys are lower
/// bounds: the least key is recomputed, and frozen if it is still the least. Its two sums are then taken afresh over
/// its users, so that no rounding error of many subtractions gets into a rate.
///
/// Cost: the number of uses, plus (touched resources) x log. Scratch space is kept between calls: one solver per
/// thread.
class MaxMinSolver {
 public:
  /// @param capacity    of each resource, >= 0; a resource of capacity 0 stops whoever uses it
  /// @param activities  all that there are
  /// @param members     indices of those to solve for; the others do not exist
  /// @param uses        of all activities
  /// @param rates       out, [activity]; written for members only
  /// @param bottleneck  out, [activity]: the resource that limits it, or -1 for its own ceiling; members only
  void solve(std::span<const double> capacity, std::span<const MaxMinActivity> activities,
             std::span<const std::int32_t> members, std::span<const ResourceUse> uses, std::span<double> rates,
             std::span<std::int32_t> bottleneck);

 private:
  struct Filling {
    double free = 0;           // capacity less what frozen activities take
    double slope = 0;          // what one unit of level takes for the others
    std::int32_t growing = 0;  // how many others (an exact zero, where slope may keep a rounding error)
    std::int32_t users_begin = 0;
    std::int32_t users_end = 0;
  };
  struct User {
    std::int32_t activity;
    double amount;
  };
  struct Candidate {
    double level;
    std::int32_t resource;
    // Inverted, for a heap with the least level on top; equal levels: lower resource first.
    bool operator<(const Candidate& other) const {
      return std::pair(level, resource) > std::pair(other.level, other.resource);
    }
  };

  void collect(std::span<const double> capacity, std::span<const MaxMinActivity> activities,
               std::span<const std::int32_t> members, std::span<const ResourceUse> uses);
  void sum_afresh(std::int32_t resource, std::span<const double> capacity, std::span<const MaxMinActivity> activities,
                  std::span<const double> rates);

  std::vector<Filling> filling_;       // [resource]; valid for touched ones
  std::vector<std::int32_t> touched_;  // resources that a member uses
  std::vector<char> is_touched_;       // [resource]; all zero between calls
  std::vector<User> users_;            // members by resource
  std::vector<char> frozen_;           // [activity]
  std::vector<Candidate> heap_;
  std::vector<std::int32_t> by_ceiling_;
};

}  // namespace foretoken::sim
