// Which flows do the same as others, for reasons of symmetry, so that one of them can stand for all.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "sim/network/flow_set.hpp"

namespace foretoken::sim {

/// Things of one sort, each in one class. Classes are numbered in the order of their first members.
struct Classes {
  struct Class {
    std::int32_t first = 0;  // its first member
    std::int32_t size = 0;
  };

  Classes() = default;
  /// @param number of each thing's class; n is first found after 0 .. n - 1
  explicit Classes(std::vector<std::int32_t> number);

  std::vector<std::int32_t> number;  // [thing]
  std::vector<Class> classes;
};

struct FlowPartition {
  Classes flows;
  Classes resources;
};

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
/// Found by colour refinement: flows are told apart by the colours of their resources, resources by those of their
/// flows, until there are no more colours of resources than before. Colours are 64-bit hashes, and what they say is
/// then checked (sim/network/equitable.hpp): no result rests on them.
///
/// Cost: (flows + uses) x rounds; symmetric traffic needs one to three.
/// @returns nothing if over half of the flows are in classes of their own: then it would not pay
std::optional<FlowClasses> find_classes(const FlowSet& set);

}  // namespace foretoken::sim
