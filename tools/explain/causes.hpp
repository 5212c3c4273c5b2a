// What an event of a trace had waited for: the rule by which a path is followed back (critical_path.hpp) and by which a
// run is timed anew (retiming.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <tuple>

#include "core/trace.hpp"
#include "tools/explain/event_index.hpp"
#include "tools/explain/waits.hpp"

namespace foretoken::explain {

/// Precondition: says_who_waits(trace), of which the others are. Keeps references.
class Causes {
 public:
  Causes(const Trace& trace, const EventIndex& index, const Waits& waits)
      : trace_(trace), index_(index), waits_(waits) {}

  [[nodiscard]] std::optional<std::size_t> find(std::int32_t rank, std::int32_t step, std::int32_t op) const {
    return index_.find(rank, step, op);
  }

  /// Calls each(other, is_dependency) for ops of the same rank that had ended when this one was posted: those that it
  /// depends on, and those before it on its stream.
  template <class Each>
  void for_each_before(std::size_t event, Each each) const {
    const std::int32_t rank = trace_.rank[event];
    const std::int32_t step = trace_.step[event];
    const auto ended = [&](std::size_t other) { return trace_.ended[other] <= trace_.posted[event]; };
    for (const TraceDependency& dependency : trace_.op_of(event).after)
      if (const auto other = index_.find(rank, step - dependency.distance, dependency.op); other && ended(*other))
        each(*other, true);
    const std::int32_t role = trace_.role_of_rank[static_cast<std::size_t>(rank)];
    for (const StreamPredecessor& before : waits_.before_on_stream(role, trace_.op[event])) {
      const auto other = index_.find(rank, step - before.distance, before.op);
      if (other && ended(*other) && ran_before(before, *other, event)) each(*other, false);
    }
  }

  /// Calls each(other) for the sides of a communication that its own could not end without: those that were posted by
  /// then; of a dispatch or combine of which it is known whose message ended last, that rank's alone.
  template <class Each>
  void for_each_side(std::size_t event, Each each) const {
    const std::int32_t known = trace_.last_peer.empty() ? -1 : trace_.last_peer[event];
    waits_.for_each_peer(trace_.rank[event], trace_.op[event], [&](std::int32_t peer, std::int32_t op) {
      if (known >= 0 && peer != known) return;
      const auto other = index_.find(peer, trace_.step[event], op);
      if (other && trace_.posted[*other] <= trace_.ended[event]) each(*other);
    });
  }

 private:
  // Blocks of an arrival set run one after the other: by their begin, and of two that begin at once one takes no time.
  [[nodiscard]] bool ran_before(const StreamPredecessor& before, std::size_t other, std::size_t event) const {
    if (before.block_begin < 0) return true;
    const std::int32_t rank = trace_.rank[event];
    const auto begin = index_.find(rank, trace_.step[event], before.block_begin);
    const auto own_end = index_.find(rank, trace_.step[event], before.own_block_end);
    if (!begin || !own_end) return false;
    return std::tuple(trace_.posted[*begin], trace_.ended[other], before.op) <
           std::tuple(trace_.posted[event], trace_.ended[*own_end], before.own_block_end);
  }

  const Trace& trace_;
  const EventIndex& index_;
  const Waits& waits_;
};

}  // namespace foretoken::explain
