#include "tools/cli/live_health.hpp"

#include <fmt/format.h>

#include "core/error.hpp"

namespace foretoken::cli {

void require_idle_cores(const std::optional<double>& busy, double busy_max, const std::string& what) {
  if (!busy || *busy <= busy_max) return;
  throw Error(
      ErrorCode::unhealthy,
      fmt::format("{}{:.0f} % of the computer's core time was used, more than the {:.0f} % of --busy-max: not the "
                  "network was the bottleneck; give it a slower one, or leave the computer alone",
                  what.empty() ? "" : what + ": ", 100 * *busy, 100 * busy_max));
}

}  // namespace foretoken::cli
