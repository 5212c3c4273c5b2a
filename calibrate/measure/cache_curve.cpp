#include "calibrate/measure/cache_curve.hpp"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <limits>
#include <numeric>
#include <thread>

#include "calibrate/measure/clocks.hpp"
#include "runtime/host/host_compute.hpp"

namespace foretoken::calibrate {
namespace {

using std::chrono::steady_clock;

constexpr std::int64_t kPassesMin = 3;
constexpr std::int64_t kReadingMin = std::int64_t{4} << 20;  // bytes between two looks at the clock

// Four numbers at once in eight sums, so that no addition waits for the one before: reading is what takes the time.
float sum_of(const float* data, std::int64_t count) {
  using Four = float __attribute__((vector_size(16)));
  const auto* at = reinterpret_cast<const Four*>(data);  // a Buffer is aligned to a cache line
  Four a{}, b{}, c{}, d{}, e{}, f{}, g{}, h{};
  for (std::int64_t left = count / 32; left > 0; --left, at += 8) {
    a += at[0];
    b += at[1];
    c += at[2];
    d += at[3];
    e += at[4];
    f += at[5];
    g += at[6];
    h += at[7];
  }
  a += b + c + d + e + f + g + h;
  return a[0] + a[1] + a[2] + a[3];
}

// The fastest of the passes over the first `bytes` of a block that are made in `time`, in seconds per byte.
double fastest(const runtime::host::Buffer& block, std::int64_t bytes, Seconds time, std::atomic<float>& sink) {
  const std::int64_t count = bytes / static_cast<std::int64_t>(sizeof(float));
  const std::int64_t rounds = std::max<std::int64_t>(1, kReadingMin / bytes);
  const auto until = steady_clock::now() +
                     std::chrono::duration_cast<steady_clock::duration>(std::chrono::duration<double>(time.value()));
  double best = std::numeric_limits<double>::infinity();
  sink = sum_of(block.data(), count);
  for (std::int64_t pass = 0; pass < kPassesMin || steady_clock::now() < until; ++pass) {
    const ClockReading before = read_clocks();
    for (std::int64_t round = 0; round < rounds; ++round) sink = sum_of(block.data(), count);
    const ClockReading after = read_clocks();
    best = std::min(best, static_cast<double>(after.cpu - before.cpu) * 1e-9 / static_cast<double>(bytes * rounds));
  }
  return best;
}

}  // namespace

std::vector<Bytes> cache_footprints(Bytes smallest, Bytes largest) {
  std::vector<Bytes> footprints;
  for (Bytes footprint = smallest; footprint <= largest; footprint = footprint * 2) footprints.push_back(footprint);
  return footprints;
}

Seconds measure_cache(HostLoad load, Bytes footprint, std::int64_t cores, Seconds time) {
  const std::int64_t readers = load == HostLoad::alone ? 1 : cores;
  const std::int64_t own = footprint.value() / readers;
  std::barrier<> gate(readers);
  std::vector<double> times(static_cast<std::size_t>(readers));
  {
    std::vector<std::jthread> threads;
    for (double& result : times) {
      threads.emplace_back([&] {
        const runtime::host::Buffer block(own / static_cast<std::int64_t>(sizeof(float)));
        std::atomic<float> sink{0};
        gate.arrive_and_wait();
        result = fastest(block, own, time, sink);
      });
    }
  }
  return Seconds(std::accumulate(times.begin(), times.end(), 0.0) / static_cast<double>(readers));
}

void add_cache_point(std::vector<HostCachePoint>& curve, Bytes footprint, Seconds per_byte) {
  curve.push_back({footprint, curve.empty() ? per_byte : std::max(per_byte, curve.back().per_byte)});
}

}  // namespace foretoken::calibrate
