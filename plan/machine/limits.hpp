// The largest and smallest numbers that a topology may hold. They bound every loop and allocation that follows.
#pragma once

#include <cstdint>

#include "core/units.hpp"

namespace foretoken::plan {

inline constexpr std::int64_t kNodesMax = 16'384;
inline constexpr std::int64_t kGpusPerNodeMax = 64;
inline constexpr std::int64_t kGpusMax = 131'072;
inline constexpr std::int64_t kCoresPerNodeMax = 4'096;
inline constexpr double kCoreShareMin = 0.1;  // of a core, a millisecond in ten: the kernel takes no shorter quota
inline constexpr std::int64_t kRanksPerHostMax = 256;
inline constexpr BytesPerSecond kBandwidthMin{1e3};
inline constexpr BytesPerSecond kBandwidthMax{1e15};
inline constexpr Seconds kLatencyMax{1.0};

}  // namespace foretoken::plan
