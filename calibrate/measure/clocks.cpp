#include "calibrate/measure/clocks.hpp"

#include <algorithm>
#include <array>
#include <chrono>

#include "runtime/thread_clock.hpp"

namespace foretoken::calibrate {

ClockReading read_clocks() {
  return {runtime::thread_cpu_now() / 1'000,
          std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
              .count()};
}

Seconds reading_cost() {
  std::array<std::int64_t, 1001> costs{};
  ClockReading before = read_clocks();
  for (std::int64_t& cost : costs) {
    const ClockReading now = read_clocks();
    cost = now.cpu - before.cpu;
    before = now;
  }
  std::nth_element(costs.begin(), costs.begin() + 500, costs.end());
  return Seconds(static_cast<double>(costs[500]) * 1e-9);
}

}  // namespace foretoken::calibrate
