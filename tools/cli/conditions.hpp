// What a run departs from a healthy machine in, in words: faults, and how kernels are launched.
#pragma once

#include <string>
#include <vector>

#include "plan/scenario/scenario.hpp"

namespace foretoken::cli {

/// Faults in the scenario's order, then what `execution` says beyond a step captured in one graph; empty for neither.
/// Example: {"node0.nic3 dead from 1.00 ms", "eager launches of 5.00 us"}.
std::vector<std::string> conditions_of(const plan::Scenario& scenario);

}  // namespace foretoken::cli
