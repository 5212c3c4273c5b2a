#include "runtime/clock_offset.hpp"

#include <algorithm>
#include <limits>
#include <set>

namespace foretoken::runtime {
namespace {

constexpr RankId kLeader{0};

ClockOffset ask(BlockingMessages& messages, RankId other, const NowNanoseconds& now, int round_trips) {
  std::int64_t shortest = std::numeric_limits<std::int64_t>::max();
  ClockOffset offset;
  for (int i = 0; i < round_trips; ++i) {
    const std::int64_t before = now();
    messages.send_value<std::int64_t>(other, i);
    const auto there = messages.receive_value<std::int64_t>(other);
    const std::int64_t after = now();
    if (after - before >= shortest) continue;
    shortest = after - before;
    offset = {there - (before + shortest / 2), (shortest + 1) / 2};
  }
  return offset;
}

}  // namespace

std::vector<ClockOffset> measure_clock_offsets(BlockingMessages& messages, RankId self, std::span<const RankId> others,
                                               const NowNanoseconds& now, int round_trips) {
  std::vector<ClockOffset> offsets;
  if (self == kLeader) {
    for (const RankId other : others) offsets.push_back(ask(messages, other, now, round_trips));
  } else if (std::find(others.begin(), others.end(), self) != others.end()) {
    for (int i = 0; i < round_trips; ++i) {
      static_cast<void>(messages.receive_value<std::int64_t>(kLeader));
      messages.send_value(kLeader, now());
    }
  }
  return offsets;
}

std::vector<RankId> clock_ranks(std::span<const std::string> hosts) {
  std::vector<RankId> ranks;
  std::set<std::string> known;
  for (std::size_t r = 0; r < hosts.size(); ++r)
    if (known.insert(hosts[r]).second && r > 0) ranks.emplace_back(r);
  return ranks;
}

}  // namespace foretoken::runtime
