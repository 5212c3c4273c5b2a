// What schedules are put together from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/schedule.hpp"

namespace foretoken::runtime {

inline constexpr std::size_t kElementBytes = 4;  // fp32 and int32: all that the host moves

inline std::size_t bytes_of(std::int64_t rows, std::int64_t cols) {
  return static_cast<std::size_t>(rows * cols) * kElementBytes;
}

/// Messages without bytes are not sent: both ends leave them out.
inline void add_message(std::vector<Message>& messages, RankId peer, std::byte* data, std::size_t bytes) {
  if (bytes > 0) messages.push_back({peer, data, bytes});
}

}  // namespace foretoken::runtime
