// CPU time of the calling thread.
#pragma once

#include <cstdint>
#include <ctime>

#include "core/error.hpp"

namespace foretoken::runtime {

/// In picoseconds, since the thread began.
inline std::int64_t thread_cpu_now() {
  timespec time{};
  FORETOKEN_CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0,
                  "this system has no clock of a thread's CPU time");
  return (static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec) * 1'000;
}

}  // namespace foretoken::runtime
