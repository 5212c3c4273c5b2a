#include "sim/network/sharing_time.hpp"

#include <fmt/format.h>

#include <cmath>

#include "core/error.hpp"

namespace foretoken::sim {

// Over leaves and spines exact sharing takes up to four times as long: 16,000 flows of random sizes among 128
// ranks, 3.3 s.
double sharing_seconds(double flows, double accuracy) {
  return accuracy > 0 ? flows * 8e-5 * std::sqrt(1e-3 / accuracy) : flows * flows * 3.2e-9;
}

void require_time(double seconds, double seconds_max, double accuracy, const std::string& what,
                  const std::string& lower) {
  if (seconds <= seconds_max) return;
  throw Error(
      ErrorCode::invalid_input,
      fmt::format("{} may take {}; {}{}, or allow the time (--time-limit {:.0f})", what,
                  seconds < 120 ? fmt::format("{:.2g} s", seconds) : fmt::format("{:.0f} minutes", seconds / 60),
                  accuracy > 0 ? "" : "allow an error (--accuracy 1e-3), ", lower, std::ceil(seconds)));
}

}  // namespace foretoken::sim
