// Where the execution of an op stands in a trace.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/trace.hpp"

namespace foretoken::explain {

/// Traces that are complete and ordered by (rank, step, op), as simulator and runtime make them, are looked up
/// directly; others by search. Keeps a reference.
class EventIndex {
 public:
  explicit EventIndex(const Trace& trace);

  /// Nothing if the trace does not have it: a step before the first, or a rank that was left out.
  [[nodiscard]] std::optional<std::size_t> find(std::int32_t rank, std::int32_t step, std::int32_t op) const;

 private:
  [[nodiscard]] std::size_t event_at(std::size_t position) const {
    return order_.empty() ? position : order_[position];
  }

  const Trace& trace_;
  std::vector<std::size_t> order_;          // events by (rank, step, op); empty if they are in that order
  std::vector<std::size_t> first_of_rank_;  // [rank] position, and the end
};

}  // namespace foretoken::explain
