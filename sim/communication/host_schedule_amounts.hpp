// What a communication op is made of on a CPU core: rounds, messages, bytes moved, added and copied.
//
// The closed forms of runtime/schedule.cpp, which the simulator cannot see; a test compares the two for every
// algorithm. Each gives the `communication` terms of core/host_terms.hpp and nothing else. A message and its bytes are
// counted at both of its ends.
#pragma once

#include <cstdint>

#include "core/collective_algorithm.hpp"
#include "core/host_terms.hpp"
#include "core/units.hpp"

namespace foretoken::sim {

/// One member's share of a collective among n members, B bytes in the whole buffer, parts of B / n:
///
///                          rounds    messages   bytes          added        copied
///   ring   all_reduce      2 (n-1)   4 (n-1)    4 (n-1) B/n    (n-1) B/n    B
///   ring   all_gather      n-1       2 (n-1)    2 (n-1) B/n                 B/n
///   ring   reduce_scatter  n-1       2 (n-1)    2 (n-1) B/n    (n-1) B/n    B + B/n
///   direct all_reduce      2         4 (n-1)    4 (n-1) B/n    (n-1) B/n    B/n
///   direct all_gather      1         2 (n-1)    2 (n-1) B/n                 B/n
///   direct reduce_scatter  1         2 (n-1)    2 (n-1) B/n    (n-1) B/n    B/n
///
/// @param members  >= 1; alone there are no rounds
/// @param bytes    of the full, unsliced buffer
/// @throws Error{internal} for nvls, which a host has not
/// Limits: where B does not divide evenly it is the mean over the members, and messages that the runtime leaves out
/// because a part is empty (fewer rows than members) are counted.
HostTerms host_collective_amounts(CollectiveOp op, CollectiveAlgorithm algorithm, std::int64_t members, Bytes bytes);

/// One side of a send and its recv.
HostTerms host_transfer_amounts(Bytes bytes);

/// One rank's dispatch or combine: a round with a message per peer that it has rows for or from.
///
/// @param messages  sent and received, those without rows left out
/// @param bytes     sent and received
/// @param copied    rows to oneself
/// @param rounds    with messages, where there are any
HostTerms host_exchange_amounts(std::int64_t messages, Bytes bytes, Bytes copied, std::int64_t rounds = 1);

}  // namespace foretoken::sim
