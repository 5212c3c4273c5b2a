#include "tools/explain/shown_ranks.hpp"

#include <algorithm>

namespace foretoken::explain {
namespace {

constexpr std::int64_t kAllRanksMax = 64;

}  // namespace

std::set<std::int32_t> shown_ranks(const Trace& trace, std::int32_t slowest) {
  std::set<std::int32_t> ranks{slowest};
  if (trace.ranks <= kAllRanksMax) {
    for (std::int32_t r = 0; r < trace.ranks; ++r) ranks.insert(r);
    return ranks;
  }
  for (std::int32_t role = 0; role < static_cast<std::int32_t>(trace.roles.size()); ++role) {
    const auto first = std::find(trace.role_of_rank.begin(), trace.role_of_rank.end(), role);
    if (first != trace.role_of_rank.end()) ranks.insert(static_cast<std::int32_t>(first - trace.role_of_rank.begin()));
  }
  return ranks;
}

}  // namespace foretoken::explain
