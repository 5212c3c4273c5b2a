#include "calibrate/measure/cache_curve.hpp"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <limits>
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

// [footprint] Each core's fastest, and of those the mean. All cores are at the same footprint at any time.
std::vector<double> times_per_byte(const std::vector<Bytes>& footprints, std::int64_t cores, Seconds time) {
  std::barrier<> gate(cores);
  std::vector<std::vector<double>> times(static_cast<std::size_t>(cores));
  {
    std::vector<std::jthread> threads;
    for (std::vector<double>& own : times) {
      threads.emplace_back([&] {
        const runtime::host::Buffer block(footprints.back().value() / cores / static_cast<std::int64_t>(sizeof(float)));
        std::atomic<float> sink{0};
        for (const Bytes footprint : footprints) {
          gate.arrive_and_wait();
          own.push_back(fastest(block, footprint.value() / cores, time, sink));
        }
      });
    }
  }
  std::vector<double> means(footprints.size());
  for (const std::vector<double>& own : times)
    for (std::size_t f = 0; f < means.size(); ++f) means[f] += own[f] / static_cast<double>(cores);
  return means;
}

}  // namespace

std::array<std::vector<HostCachePoint>, 2> measure_caches(const CacheCurveOptions& options) {
  std::vector<Bytes> footprints;
  for (Bytes footprint = options.smallest; footprint <= options.largest; footprint = footprint * 2)
    footprints.push_back(footprint);
  std::array<std::vector<HostCachePoint>, 2> curves;
  const Seconds share = options.time / static_cast<double>(2 * footprints.size());
  for (const HostLoad load : {HostLoad::alone, HostLoad::crowded}) {
    auto& curve = curves[static_cast<std::size_t>(load)];
    const std::vector<double> times = times_per_byte(footprints, load == HostLoad::alone ? 1 : options.cores, share);
    for (std::size_t f = 0; f < footprints.size(); ++f) {
      Seconds time(times[f]);
      if (!curve.empty()) time = std::max(time, curve.back().per_byte);
      curve.push_back({footprints[f], time});
    }
  }
  return curves;
}

}  // namespace foretoken::calibrate
