// What a collective or a message puts on the links between GPUs: one coupled activity over all that it uses.
#pragma once

#include <span>
#include <vector>

#include "core/ids.hpp"
#include "sim/communication/fabric.hpp"

namespace foretoken::sim {

/// The network estimate says how many bytes each member sends in its node and across nodes, and `endpoint`, the time
/// its kernels need for them however fast the links are. This says over which links they go:
///
///   ring    in the node: to the next member there, cyclically. Across: as many rings leave through as many NICs as
///           there are members on the node with the fewest, so each of the first that many members of a node sends to
///           the one in its place on the next node.
///   nvls    up and down the member's own link to the NVSwitch; of an all_gather only its share goes up, of a
///           reduce_scatter only its share comes down.
///   trees   in the node: to the next member, or to the NVSwitch. Across: each of as many members to its counterparts
///           on the nodes above and below, in both trees half of the node's part.
///   direct  an equal part from every member to every other.
///
///   demand = bytes on the busiest link        ceiling = demand / endpoint
///
/// Alone it takes max(endpoint, demand / capacity of the tightest link), which is the network estimate wherever the
/// machine's NICs are the calibrated ones.
///
/// @param members  ranks of the group, >= 1, ascending
/// @param bytes    as NetworkCost::collective
/// @throws Unreachable if faults have left no way, and with nvls or nvls_tree if they have left a member no link to
///         the NVSwitch that the others of its node have: nothing else adds up for it
/// Example: all_gather of 8 GB over a ring of 4 ranks on one node: each member's up and down link carries 6 GB; four
/// members use 8 links with amount 1, demand 6e9.
Footprint collective_footprint(const Fabric& fabric, CollectiveOp op, CollectiveAlgorithm algorithm,
                               std::span<const RankId> members, Bytes bytes);

/// One message: a flow over its route, no faster than the network estimate says a message is.
///
///   latency = max(calibrated latency, sum of the hop latencies on the route)
///
/// because the calibrated one was measured from end to end, over hops of its own; only a longer way costs more.
/// No bytes, or a rank to itself: no time. Provenance: the estimate's and that of the tightest link of the route.
Footprint transfer_footprint(const Fabric& fabric, RankId from, RankId to, Bytes bytes);

}  // namespace foretoken::sim
