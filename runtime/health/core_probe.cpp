#include "runtime/health/core_probe.hpp"

#include <algorithm>
#include <cstring>

#include "runtime/host/host_compute.hpp"
#include "runtime/host/verbs.hpp"
#include "runtime/thread_clock.hpp"

namespace foretoken::runtime {
namespace {

using std::chrono::steady_clock;

struct Rates {
  double by_wall = 0;
  double by_cpu = 0;
};

// Repetitions per second of the fastest window, by either clock. One repetition before the first, which draws what it
// needs near.
template <class Work>
Rates repetitions_per_second(const CoreProbeOptions& options, const Work& work) {
  Rates most;
  work();
  for (int window = 0; window < options.windows; ++window) {
    const auto begin = steady_clock::now();
    const std::int64_t cpu_begin = thread_cpu_now();
    auto now = begin;
    std::int64_t count = 0;
    for (; now - begin < options.window; now = steady_clock::now(), ++count) work();
    const double cpu = static_cast<double>(std::max<std::int64_t>(1, thread_cpu_now() - cpu_begin)) * 1e-12;
    most.by_wall =
        std::max(most.by_wall, static_cast<double>(count) / std::chrono::duration<double>(now - begin).count());
    most.by_cpu = std::max(most.by_cpu, static_cast<double>(count) / cpu);
  }
  return most;
}

void fill(const host::Buffer& buffer) {
  for (std::int64_t i = 0; i < buffer.count(); ++i) buffer.data()[i] = static_cast<float>((i * 37) % 101 - 50) / 64;
}

}  // namespace

CoreReading probe_core(const CoreProbeOptions& options) {
  host::use_one_blas_thread();
  CoreReading reading;
  const std::int64_t n = options.product;
  {
    const host::Buffer in(n * n), weight(n * n), out(n * n);
    fill(in);
    fill(weight);
    const Rates rates =
        repetitions_per_second(options, [&] { host::gemm(n, n, n, in.data(), weight.data(), out.data()); });
    const double flops = 2.0 * static_cast<double>(n * n * n);
    reading.product = FlopsPerSecond(flops * rates.by_wall);
    reading.product_by_cpu = FlopsPerSecond(flops * rates.by_cpu);
  }
  const host::Buffer from(options.copied.value() / 4), to(options.copied.value() / 4);
  fill(from);
  const Rates rates = repetitions_per_second(
      options, [&] { std::memcpy(to.data(), from.data(), static_cast<std::size_t>(options.copied.value())); });
  reading.copy = BytesPerSecond(static_cast<double>(options.copied.value()) * rates.by_wall);
  reading.copy_by_cpu = BytesPerSecond(static_cast<double>(options.copied.value()) * rates.by_cpu);
  return reading;
}

}  // namespace foretoken::runtime
