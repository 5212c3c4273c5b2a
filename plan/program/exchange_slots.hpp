// Exchanges by capacity: how long their messages are, and what holds them on a rank meanwhile.
#pragma once

#include <cstdint>

#include "plan/placement.hpp"
#include "plan/program/program.hpp"
#include "plan/scenario/scenario.hpp"

namespace foretoken::plan {

/// See Communication; zeros where the dispatch mode is not capacity.
struct ExchangeSlots {
  std::int64_t slots = 0;
  std::int64_t header_rows = 0;
};

/// @param kind dispatch, combine or exchange_counts
ExchangeSlots exchange_slots(const Scenario& scenario, const Placement& placement, std::int64_t layer,
                             std::int64_t micro_batch, OpKind kind);

/// Bytes of the messages that a rank has at once while it carries out an op of its role: beside the op's tensors, as
/// empty slots and headers are not in those. 0 but for a dispatch or combine by capacity.
double staged_bytes(const Role& role, const Op& op, const Scenario& scenario, const Placement& placement);

}  // namespace foretoken::plan
