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

// The fastest of the passes made until `until`, in seconds per byte.
double fastest(const runtime::host::Buffer& block, steady_clock::time_point until, std::atomic<float>& sink) {
  const std::int64_t bytes = block.count() * static_cast<std::int64_t>(sizeof(float));
  const std::int64_t rounds = std::max<std::int64_t>(1, kReadingMin / bytes);
  double best = std::numeric_limits<double>::infinity();
  sink = sum_of(block.data(), block.count());
  for (std::int64_t pass = 0; pass < kPassesMin || steady_clock::now() < until; ++pass) {
    const ClockReading before = read_clocks();
    for (std::int64_t round = 0; round < rounds; ++round) sink = sum_of(block.data(), block.count());
    const ClockReading after = read_clocks();
    best = std::min(best, static_cast<double>(after.cpu - before.cpu) * 1e-9 / static_cast<double>(bytes * rounds));
  }
  return best;
}

// Each core's fastest, and of those the mean.
double time_per_byte(Bytes footprint, std::int64_t cores, Seconds time) {
  std::barrier<> gate(cores);
  std::vector<double> times(static_cast<std::size_t>(cores));
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < times.size(); ++t) {
      threads.emplace_back([&, t] {
        const runtime::host::Buffer block(footprint.value() / cores / static_cast<std::int64_t>(sizeof(float)));
        std::atomic<float> sink{0};
        gate.arrive_and_wait();
        times[t] = fastest(block,
                           steady_clock::now() + std::chrono::duration_cast<steady_clock::duration>(
                                                     std::chrono::duration<double>(time.value())),
                           sink);
      });
    }
  }
  double sum = 0;
  for (const double one : times) sum += one;
  return sum / static_cast<double>(cores);
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
    for (const Bytes footprint : footprints) {
      Seconds time(time_per_byte(footprint, load == HostLoad::alone ? 1 : options.cores, share));
      if (!curve.empty()) time = std::max(time, curve.back().per_byte);
      curve.push_back({footprint, time});
    }
  }
  return curves;
}

}  // namespace foretoken::calibrate
