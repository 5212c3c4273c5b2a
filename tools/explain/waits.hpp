// Who waits for whom, from a trace's roles: the ops that may stand before an op on its stream, and the ranks it meets.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/trace.hpp"

namespace foretoken::explain {

/// An op that may stand before another one on its stream.
struct StreamPredecessor {
  std::int32_t op = 0;
  std::int32_t distance = 0;  // 1: of the step before
  // Where the two are in different blocks of one arrival set, which run in either order: the first op of its block, and
  // the last op of the other one's.
  std::int32_t block_begin = -1;
  std::int32_t own_block_end = -1;
};

/// Precondition: says_who_waits(trace). Keeps a reference.
class Waits {
 public:
  explicit Waits(const Trace& trace);

  /// The ops after one of which, whichever ended last, the op's stream takes it up. One, unless blocks of an arrival
  /// set run in the order in which they become ready.
  [[nodiscard]] std::span<const StreamPredecessor> before_on_stream(std::int32_t role, std::int32_t op) const {
    return before_[static_cast<std::size_t>(role)][static_cast<std::size_t>(op)];
  }

  /// Calls each(rank, op) for the others that take part in a communication op of this rank.
  template <class Each>
  void for_each_peer(std::int32_t rank, std::int32_t op, Each each) const {
    const TraceMeeting& meets = *op_of(rank, op).meets;
    const auto visit = [&](std::int64_t peer) {
      if (peer < 0 || peer >= trace_.ranks || peer == rank) return;
      const auto other = op_in(static_cast<std::int32_t>(peer), meets.communication);
      if (other) each(static_cast<std::int32_t>(peer), *other);
    };
    if (meets.peer_offset != 0) return visit(rank + meets.peer_offset);
    const std::int64_t first = first_of(rank, meets);
    for (std::int64_t member = 0; member < meets.size; ++member) visit(first + member * meets.stride);
  }

  /// The rank that names the instance of a communication: the group's first member, or the sender.
  [[nodiscard]] std::int64_t anchor(std::int32_t rank, std::int32_t op) const;

 private:
  static std::int64_t first_of(std::int64_t rank, const TraceMeeting& meets) {
    return rank - rank / meets.stride % meets.size * meets.stride;
  }
  [[nodiscard]] const TraceOp& op_of(std::int32_t rank, std::int32_t op) const {
    return trace_.roles[static_cast<std::size_t>(trace_.role_of_rank[static_cast<std::size_t>(rank)])]
                       [static_cast<std::size_t>(op)];
  }
  [[nodiscard]] std::optional<std::int32_t> op_in(std::int32_t rank, std::int32_t communication) const;

  const Trace& trace_;
  std::vector<std::vector<std::vector<StreamPredecessor>>> before_;  // [role][op]
  std::vector<std::vector<std::pair<std::int32_t, std::int32_t>>>
      op_of_meeting_;  // [role] (communication, op), ascending
};

}  // namespace foretoken::explain
