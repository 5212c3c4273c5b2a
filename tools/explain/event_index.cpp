#include "tools/explain/event_index.hpp"

#include <algorithm>
#include <numeric>
#include <tuple>

namespace foretoken::explain {

EventIndex::EventIndex(const Trace& trace) : trace_(trace) {
  const auto key = [&](std::size_t e) { return std::tuple(trace.rank[e], trace.step[e], trace.op[e]); };
  bool ordered = true;
  for (std::size_t e = 1; e < trace.size() && ordered; ++e) ordered = key(e - 1) < key(e);
  if (!ordered) {
    order_.resize(trace.size());
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    std::sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) { return key(a) < key(b); });
  }
  first_of_rank_.assign(static_cast<std::size_t>(trace.ranks) + 1, 0);
  for (const std::int32_t rank : trace.rank) ++first_of_rank_[static_cast<std::size_t>(rank) + 1];
  std::partial_sum(first_of_rank_.begin(), first_of_rank_.end(), first_of_rank_.begin());
}

std::optional<std::size_t> EventIndex::find(std::int32_t rank, std::int32_t step, std::int32_t op) const {
  if (rank < 0 || rank >= trace_.ranks || step < 0 || op < 0) return std::nullopt;
  const auto r = static_cast<std::size_t>(rank);
  const std::size_t begin = first_of_rank_[r];
  const std::size_t end = first_of_rank_[r + 1];
  const auto is_it = [&](std::size_t event) { return trace_.step[event] == step && trace_.op[event] == op; };
  const std::size_t ops = trace_.roles[static_cast<std::size_t>(trace_.role_of_rank[r])].size();
  const std::size_t guess = begin + static_cast<std::size_t>(step) * ops + static_cast<std::size_t>(op);
  if (guess < end && is_it(event_at(guess))) return event_at(guess);

  std::size_t low = begin;
  std::size_t high = end;
  while (low < high) {
    const std::size_t middle = low + (high - low) / 2;
    const std::size_t event = event_at(middle);
    if (std::pair(trace_.step[event], trace_.op[event]) < std::pair(step, op)) low = middle + 1;
    else high = middle;
  }
  if (low < end && is_it(event_at(low))) return event_at(low);
  return std::nullopt;
}

}  // namespace foretoken::explain
