#include "runtime/cuda/device/timed_events.hpp"

#include <cmath>
#include <utility>

#include "runtime/cuda/device/cuda_check.hpp"

namespace foretoken::runtime::cuda {

using std::chrono::steady_clock;

CudaEvent::CudaEvent(bool timed) {
  check_cuda(cudaEventCreateWithFlags(&event_, timed ? cudaEventDefault : cudaEventDisableTiming),
             "cudaEventCreateWithFlags");
}

CudaEvent::~CudaEvent() {
  if (event_ != nullptr) cudaEventDestroy(event_);
}

CudaEvent::CudaEvent(CudaEvent&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}

TimedEvents::TimedEvents(std::size_t window, std::size_t marks) : window_(window), marks_(window) {
  constexpr int round_trips = 8;
  for (std::size_t i = 0; i <= window; ++i) anchors_.emplace_back(true);
  for (auto& of_step : marks_)
    for (std::size_t m = 0; m < marks; ++m) of_step.emplace_back(true);
  for (int i = 0; i < round_trips; ++i) zeros_.emplace_back(true);
}

steady_clock::time_point TimedEvents::begin(cudaStream_t stream) {
  auto shortest = steady_clock::duration::max();
  steady_clock::time_point began;
  for (std::size_t i = 0; i < zeros_.size(); ++i) {
    const auto before = steady_clock::now();
    check_cuda(cudaEventRecord(zeros_[i].get(), stream), "cudaEventRecord");
    check_cuda(cudaEventSynchronize(zeros_[i].get()), "cudaEventSynchronize");
    const auto took = steady_clock::now() - before;
    if (took >= shortest) continue;
    shortest = took;
    began = before + took / 2;
    zero_ = i;
  }
  return began;
}

std::int64_t TimedEvents::between(cudaEvent_t from, cudaEvent_t to) {
  float milliseconds = 0;
  check_cuda(cudaEventElapsedTime(&milliseconds, from, to), "cudaEventElapsedTime");
  return std::llround(static_cast<double>(milliseconds) * 1e9);
}

void TimedEvents::read(std::int64_t step, std::vector<std::int64_t>& times) {
  const cudaEvent_t own = anchor(step);
  anchor_time_ = step == 0 ? between(zeros_[zero_].get(), own) : anchor_time_ + between(anchor(step - 1), own);
  times.clear();
  for (const CudaEvent& event : marks_[slot(step, window_)]) times.push_back(anchor_time_ + between(own, event.get()));
}

}  // namespace foretoken::runtime::cuda
