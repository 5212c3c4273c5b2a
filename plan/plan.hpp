// The Plan: Program (what every rank does in a step) + Routing (who goes to which expert) + Placement.
//
// make_plan() lowers a Scenario for a Machine's shape (how many GPUs share a node decides which collective algorithm
// `auto` means); the result does not refer to the machine, and both executors run exactly it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan/faults.hpp"
#include "plan/machine/machine.hpp"
#include "plan/placement.hpp"
#include "plan/program/program.hpp"
#include "plan/routing/routing.hpp"
#include "plan/scenario/scenario.hpp"

namespace foretoken::plan {

struct Plan {
  Scenario scenario;
  Placement placement;
  Routing routing;
  std::vector<std::int64_t> layers;  // that the program has, ascending: all, but for plan/layer_sample.hpp
  Program program;
  std::vector<Fault> faults;  // in order of time; the hashes below do not cover them: the work is the same
  std::string program_hash;   // of the program's canonical text
  std::string routing_hash;   // of everything that decides the routing
  std::string plan_hash;      // of both
};

/// @throws Error{invalid_input} if the ranks do not fit the machine, the program would be absurdly large, or a fault
///         names what the machine has not
/// @throws Error{infeasible} if weights, KV cache, activations and buffers do not fit a device; the message is the
/// table
Plan make_plan(const Scenario& scenario, const Machine& machine);

}  // namespace foretoken::plan
