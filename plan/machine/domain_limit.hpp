// How many GPUs a node of a topology may have. Private to plan/machine.
#pragma once

#include <cstdint>

namespace foretoken::plan {

/// A node is an NVLink domain, and that may be a rack: 72 GPUs in an NVL72, many hosts' worth of them.
inline constexpr std::int64_t kGpusPerDomainMax = 128;

}  // namespace foretoken::plan
