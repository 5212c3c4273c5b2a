// What a rank's core does by itself: a matrix product, and copying memory.
#pragma once

#include <chrono>
#include <cstdint>

#include "core/units.hpp"

namespace foretoken::runtime {

/// Longer than the periods (10 ms) in which a system deals out shares of its cores, so that a share is seen.
struct CoreProbeOptions {
  std::chrono::microseconds window{50'000};
  int windows = 3;                       // the fastest counts
  std::int64_t product = 256;            // rows, columns and depth
  Bytes copied{std::int64_t{16} << 20};  // beyond what a core's own caches hold
};

/// By wall time: what a core is not given counts as slow. By the thread's CPU time: what it does while it has a core.
struct CoreReading {
  FlopsPerSecond product;  // 2 m n k / time, fp32
  BytesPerSecond copy;     // bytes copied / time: as many are read, and as many written
  FlopsPerSecond product_by_cpu{};
  BytesPerSecond copy_by_cpu{};
};

/// On the calling thread. @throws Error{infeasible} if the memory is not there
CoreReading probe_core(const CoreProbeOptions& options);

}  // namespace foretoken::runtime
