// An element of a scenario's `faults`.
#pragma once

#include "core/json_reader.hpp"
#include "plan/scenario/scenario.hpp"

namespace foretoken::plan {

///   {"nic": "node0.nic3", "from": "1 ms", "dead": true}
///   {"link": ["node0.nic3", "leaf0"], "bandwidth": "10 %"}     all cables between the two, from the beginning
///   {"switch": "spine2", "from": "2 ms", "bandwidth": "50 %"}  its cables
///   {"gpu": "node1.gpu0", "speed": "50 %"}
///
/// @throws Error{invalid_input} naming file, pointer, what was found and what would be right
FaultSpec read_fault(const JsonReader& place);

}  // namespace foretoken::plan
