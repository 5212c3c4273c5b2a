// How long reading takes, by the size of what is read over and over: the steps of a computer's caches.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/calibration_host.hpp"

namespace foretoken::calibrate {

struct CacheCurveOptions {
  std::int64_t cores = 1;
  Seconds time{};  ///< for both loads together; at least three passes over each block are made
  Bytes smallest{64 << 10};
  Bytes largest{256 << 20};
};

/// [HostLoad] Time per byte of adding up the fp32 numbers of a block, footprints doubling from smallest to largest. The
/// footprint is that of all cores together, each of which reads a block of its own. Of several passes the fastest: what
/// disturbs a pass makes a cache look slower, never faster. So the times never fall with the footprint: each is at
/// least the one before.
std::array<std::vector<HostCachePoint>, 2> measure_caches(const CacheCurveOptions& options);

}  // namespace foretoken::calibrate
