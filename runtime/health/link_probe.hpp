// What the way between two ranks does, by messages: latency and bandwidth, one direction at a time.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <vector>

#include "core/ids.hpp"
#include "core/units.hpp"
#include "runtime/blocking_messages.hpp"
#include "runtime/health/turns.hpp"

namespace foretoken::runtime {

struct LinkProbeOptions {
  int round_trips = 30;
  std::chrono::microseconds message{30'000};  // that the longest message takes at least, where it is not the largest
  Bytes smallest{std::int64_t{16} << 10};
  Bytes largest{std::int64_t{4} << 20};
  int repetitions = 3;  // of the longest message: the fastest counts, as others can only slow it down
};

struct LinkReading {
  RankPair pair;
  Seconds latency{};  // half of the shortest round trip of 8 bytes
  /// [0] from the pair's first rank to its second, [1] back: bytes / (from the message's start until the answer that it
  /// has come - latency).
  std::array<BytesPerSecond, 2> bandwidth;
  std::array<Bytes, 2> message;  // of which size
};

/// Called by both ranks of the pair, with the same options. `buffer` is grown to what is needed.
/// @return the same reading at both
/// @throws Error{rank_failed} if the other rank does not answer
LinkReading probe_link(BlockingMessages& messages, RankId self, const RankPair& pair, const LinkProbeOptions& options,
                       std::vector<std::byte>& buffer);

}  // namespace foretoken::runtime
