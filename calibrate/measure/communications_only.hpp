// A plan without its computing: the messages of a step, in their order, and nothing in between.
#pragma once

#include <cstdint>

#include "plan/plan.hpp"

namespace foretoken::calibrate {

/// The plan with its communication and step_end ops alone, those that write down how many rows are sent where hosts are
/// told (`exact`), and the tensors that all of them have. What an op waited for in
/// ops that are gone (and in the order of their streams), it waits for still. What those wrote is said to be written by
/// an op of no rows that begins each role; it stays as the runtime allocates it: zeros.
///
/// The result is a valid plan, with hashes of its own.
/// @param steps  to run: scenario.measure becomes two warm-up steps and this many counted ones
plan::Plan communications_only(const plan::Plan& plan, std::int64_t steps);

}  // namespace foretoken::calibrate
