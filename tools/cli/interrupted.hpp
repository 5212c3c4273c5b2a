// The exit code of work that Ctrl-C has ended.
#pragma once

#include "core/error.hpp"

namespace foretoken::cli {

/// As shells have it: 128 and the number of the signal.
inline constexpr ErrorCode kInterrupted{130};

}  // namespace foretoken::cli
