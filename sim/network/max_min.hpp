// Weighted max-min fair shares: how activities that compete for resources divide them.
//
// The mathematics is here, stated once. sim/network/component.hpp finds the shares; who is active and for how long is
// sim/network/flow_network.hpp.
//
// Activity a has weight w_a and ceiling c_a and needs d_ar of resource r per unit of its rate. Rates x are feasible if
//
//   x_a <= c_a  for every activity,      sum over a of d_ar x_a <= C_r  for every resource.
//
// The weighted max-min fair rates are the feasible ones in which no x_a can grow without another b shrinking that has
// x_b / w_b <= x_a / w_a. They exist, are unique, and are the feasible rates in which every activity is at its ceiling
// or uses a *bottleneck*: a saturated resource on which no activity has a larger x / w than itself.
//
// Progressive filling finds them: raise one level t from zero with x_a = w_a t for all; when t reaches c_a / w_a,
// freeze a there; when a resource is full, freeze all that use it; go on with the rest. A resource fills up at
//
//   t_r = (C_r - sum over frozen a of d_ar x_a) / (sum over others of d_ar w_a),
//
// and freezing others at t <= t_r never lowers t_r, so the next to fill is found in a heap whose keys are lower
// bounds: the least key is recomputed, and frozen if it is still the least. Its two sums are then taken afresh over
// its users, so that no rounding error of many subtractions gets into a rate.
#pragma once

#include <cstdint>

namespace foretoken::sim {

/// How much of a resource an activity needs per unit of its own rate: 1 for a flow over a link; less for a link that a
/// collective loads less than its busiest one.
struct ResourceUse {
  std::int32_t resource = 0;
  double amount = 1.0;  // > 0
};

}  // namespace foretoken::sim
