#include "runtime/health/core_probe.hpp"

#include <algorithm>
#include <cstring>

#include "runtime/host/host_compute.hpp"
#include "runtime/host/verbs.hpp"

namespace foretoken::runtime {
namespace {

using std::chrono::steady_clock;

// Repetitions per second of the fastest window. One repetition before the first, which draws what it needs near.
template <class Work>
double repetitions_per_second(const CoreProbeOptions& options, const Work& work) {
  double most = 0;
  work();
  for (int window = 0; window < options.windows; ++window) {
    const auto begin = steady_clock::now();
    auto now = begin;
    std::int64_t count = 0;
    for (; now - begin < options.window; now = steady_clock::now(), ++count) work();
    most = std::max(most, static_cast<double>(count) / std::chrono::duration<double>(now - begin).count());
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
    const double rate =
        repetitions_per_second(options, [&] { host::gemm(n, n, n, in.data(), weight.data(), out.data()); });
    reading.product = FlopsPerSecond(2.0 * static_cast<double>(n * n * n) * rate);
  }
  const host::Buffer from(options.copied.value() / 4), to(options.copied.value() / 4);
  fill(from);
  const double rate = repetitions_per_second(
      options, [&] { std::memcpy(to.data(), from.data(), static_cast<std::size_t>(options.copied.value())); });
  reading.copy = BytesPerSecond(static_cast<double>(options.copied.value()) * rate);
  return reading;
}

}  // namespace foretoken::runtime
