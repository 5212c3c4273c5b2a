// Which resources can never be the one that limits an activity, because of those in series with them.
#pragma once

#include <cstdint>

#include "sim/network/sharing_state.hpp"

namespace foretoken::sim {

/// Whether a resource is still guarded when this activity uses `amount` of it per unit of rate; notes the activity's
/// guard if so.
///
/// A resource of capacity C is guarded if its activities fall into groups, each with another resource g that all of the
/// group use too, in amounts not smaller, and
///
///   sum over groups of C_g <= C.
///
/// What the resource carries is then at most what its guards do: when it is full, so are they, and each of its
/// activities has a bottleneck there. So max-min fair shares are the same without it. A guard may be guarded itself: it
/// has less capacity, or the same and a lower number, so that the chain ends.
///
/// Groups are formed greedily: an activity joins the first with which it has a resource in common, and the group's
/// guard is then one of those. The answer may be no where another grouping would do; that costs time, not exactness.
bool stays_guarded(SharingState& state, std::int32_t resource, const Activity& activity, double amount);

}  // namespace foretoken::sim
