// What open choices must not do, lest combinations be counted that nobody meant.
#pragma once

#include <string>
#include <vector>

#include "plan/scenario/scenario.hpp"

namespace foretoken::planning {

/// Holds one scenario's choices to each other. No two of them assign the same field, or one within the other's: the
/// later one would overrule the earlier one silently. No two options of a choice have one label or assign the same:
/// they would be counted twice.
/// @param file  for messages
/// @throws Error{invalid_input} naming the choices
void require_independent(const std::string& file, const std::vector<plan::OpenChoice>& choices);

/// Holds a scenario's own choices (Matching::own) to what baseline and method must have in common: the model, its
/// routing and the workload. How many sequences are in flight is the deployment's affair.
/// @throws Error{invalid_input} naming the choice
void require_one_workload(const std::string& file, const std::vector<plan::OpenChoice>& own);

}  // namespace foretoken::planning
