// The routing of a scenario file, held against its model.
#pragma once

#include "core/json_reader.hpp"
#include "plan/scenario/scenario.hpp"

namespace foretoken::plan {

/// Files that it names are read too.
/// @throws Error{invalid_input} naming file, pointer and what is wrong, or what the model or workload cannot have
RoutingSpec read_routing(const JsonReader& place, const ModelSpec& model, const WorkloadSpec& workload);

}  // namespace foretoken::plan
