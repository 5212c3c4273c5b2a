// How long reading takes, by the size of what is read over and over: the steps of a computer's caches.
#pragma once

#include <cstdint>
#include <vector>

#include "core/calibration_host.hpp"

namespace foretoken::calibrate {

/// Footprints of the curve: from 64 KiB to 256 MiB, doubling.
std::vector<Bytes> cache_footprints(Bytes smallest = Bytes(64 << 10), Bytes largest = Bytes(256 << 20));

/// Time per byte of adding up the fp32 numbers of a block over and over, for about `time` and at least three passes.
/// The footprint is that of all cores together, each of which reads a block of its own; alone, that of one core. Of
/// several passes the fastest: what disturbs a pass makes a cache look slower, never faster.
Seconds measure_cache(HostLoad load, Bytes footprint, std::int64_t cores, Seconds time);

/// Points of ascending footprint as a curve that never falls: each is at least the one before.
void add_cache_point(std::vector<HostCachePoint>& curve, Bytes footprint, Seconds per_byte);

}  // namespace foretoken::calibrate
