#include "calibrate/measure/clocks.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <string>

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

double core_clock_mhz() {
  std::ifstream info("/proc/cpuinfo");
  double sum = 0;
  int cores = 0;
  for (std::string line; std::getline(info, line);) {
    const std::size_t colon = line.find(": ");
    if (colon == std::string::npos || !line.starts_with("cpu MHz")) continue;
    sum += std::strtod(line.c_str() + colon + 2, nullptr);
    ++cores;
  }
  return cores == 0 ? 0 : sum / cores;
}

}  // namespace foretoken::calibrate
