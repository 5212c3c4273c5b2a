// Which flows do the same as others, for reasons of symmetry, so that one of them can stand for all.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "sim/network/flow_set.hpp"

namespace foretoken::sim {

struct FlowClasses {
  std::vector<std::int32_t> of_flow;  // [flow]
  FlowSet quotient;                   // one flow per class, one resource per class of resources
};

/// Classes of flows and of resources such that all flows of a class have the same start, demand, weight and ceiling and
/// use equally many resources of each class by equal amounts, and all resources of a class have the same capacity and
/// are used by equally many flows of each class by equal amounts. Then flows of a class have the same rate at all
/// times, and with A the sum of the amounts by which a resource of class s is used by flows of class f,
///
///   sum over classes f of A_fs x_f <= C_s
///
/// says for one resource of each class what the whole system says of all: the quotient, whose shares are the flows'.
///
/// Found by colour refinement: a flow's colour is refined by those of its resources, a resource's by those of its
/// flows, until their number grows no more. Colours are 64-bit hashes: of a million that differ, two are taken for one
/// with a probability below 1e-7.
///
/// Cost: (flows + uses) x rounds; symmetric traffic needs two or three.
/// @returns nothing if over half of the flows are in classes of their own: then it would not pay
std::optional<FlowClasses> find_classes(const FlowSet& set);

}  // namespace foretoken::sim
