// By how much the clocks of other computers are ahead of rank 0's, by messages alone.
//
// Rank 0 asks another rank what time it is there, and reads its own clock before and after. Whenever the other read its
// clock, it was between the two; so with the middle of them rank 0 is off by half the round trip at most:
//
//   | (time there - (before + after) / 2) - offset | <= (after - before) / 2
//
// Of many round trips the shortest bounds it best. (Cristian 1989.)
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/ids.hpp"
#include "runtime/blocking_messages.hpp"

namespace foretoken::runtime {

/// What a rank's clock says, in nanoseconds; of one computer's ranks the same at one time.
using NowNanoseconds = std::function<std::int64_t()>;

struct ClockOffset {
  std::int64_t ahead = 0;  // nanoseconds that the other's clock shows more than rank 0's at the same time
  std::int64_t bound = 0;  // nanoseconds that `ahead` is off by at most
};

/// Called by rank 0 and by all `others` at one time; each is asked `round_trips` times, the one after the other.
/// @return at rank 0 one per other, nothing elsewhere
/// @throws Error{rank_failed} if a rank does not answer
std::vector<ClockOffset> measure_clock_offsets(BlockingMessages& messages, RankId self, std::span<const RankId> others,
                                               const NowNanoseconds& now, int round_trips = 100);

/// Whose clocks have to be measured: of every host but rank 0's the first rank.
/// @param hosts  [rank]
std::vector<RankId> clock_ranks(std::span<const std::string> hosts);

}  // namespace foretoken::runtime
