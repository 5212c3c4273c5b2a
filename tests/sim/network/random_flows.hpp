// Small systems of flows, drawn from a seed, and the seeds that a test goes through.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/network/flow_set.hpp"

namespace foretoken::sim {

/// Four kinds in turn, by seed mod 4:
///   0  everything distinct: weights, ceilings, amounts, starts;
///   1  few values of everything, so that many flows end at one instant and many resources fill up together;
///   2  capacities over 12 decades, and demands that take comparable times all the same, or do not;
///   3  an exchange among the ranks of a few nodes: symmetric, or with one flow that is not like the others.
/// `scale` multiplies how many flows and resources there may be: about 40 and 10. Every flow ends. A resource is used
/// once by a flow at most.
FlowSet random_flows(std::uint64_t seed, int scale = 1);

/// 0, 1, ..., count - 1; or the one that the environment variable FORETOKEN_SEED names.
std::vector<std::uint64_t> seeds(std::uint64_t count);

/// What a failure prints: how to run this seed of the current test again.
std::string replay(std::uint64_t seed);

}  // namespace foretoken::sim
