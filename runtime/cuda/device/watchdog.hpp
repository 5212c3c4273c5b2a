// Ends the process when a call blocks for too long: NCCL and CUDA have calls that wait for other ranks, for ever.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace foretoken::runtime::cuda {

class Watchdog {
 public:
  /// @param expired  called on the watchdog's own thread, once, if feed() is not called in time
  explicit Watchdog(std::function<void()> expired);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// The process is alive; it may take so long until the next call.
  void feed(std::chrono::milliseconds deadline);

 private:
  void watch();
  std::function<void()> expired_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::chrono::steady_clock::time_point until_ = std::chrono::steady_clock::time_point::max();
  bool over_ = false;
  std::thread thread_;
};

}  // namespace foretoken::runtime::cuda
