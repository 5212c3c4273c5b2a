// CUDA events of the steps under way, and their times as integers since the run began.
//
// A window of steps can be under way; each has events of its own, which are used again when the step has been read.
// Times are put together from differences within a step or two, as a difference is a float of milliseconds: over a
// second it is exact to 60 ns, over a minute it would not be.
#pragma once

#include <cuda_runtime_api.h>

#include <chrono>
#include <cstdint>
#include <vector>

namespace foretoken::runtime::cuda {

class CudaEvent {
 public:
  explicit CudaEvent(bool timed);
  ~CudaEvent();
  CudaEvent(CudaEvent&& other) noexcept;
  CudaEvent& operator=(CudaEvent&&) = delete;
  [[nodiscard]] cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

class TimedEvents {
 public:
  /// @param window  steps that may be under way at one time
  /// @param marks   per step
  TimedEvents(std::size_t window, std::size_t marks);

  /// The run begins: finds out which instant of the host's clock the device's event zero is, by the shortest of some
  /// round trips. The stream is idle.
  std::chrono::steady_clock::time_point begin(cudaStream_t stream);

  [[nodiscard]] cudaEvent_t anchor(std::int64_t step) const { return anchors_[slot(step, anchors_.size())].get(); }
  [[nodiscard]] cudaEvent_t mark(std::int64_t step, std::size_t mark) const {
    return marks_[slot(step, window_)][mark].get();
  }

  /// Picoseconds since the run began, of all marks of a step that has ended. Steps are read in their order.
  void read(std::int64_t step, std::vector<std::int64_t>& times);

 private:
  static std::size_t slot(std::int64_t step, std::size_t of) { return static_cast<std::size_t>(step) % of; }
  [[nodiscard]] static std::int64_t between(cudaEvent_t from, cudaEvent_t to);

  std::size_t window_;
  std::vector<CudaEvent> anchors_;  // at the begin of a step; one more than the window, as the last one read is needed
  std::vector<std::vector<CudaEvent>> marks_;
  std::vector<CudaEvent> zeros_;
  std::size_t zero_ = 0;
  std::int64_t anchor_time_ = 0;
};

}  // namespace foretoken::runtime::cuda
