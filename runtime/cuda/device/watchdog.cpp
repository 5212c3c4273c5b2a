#include "runtime/cuda/device/watchdog.hpp"

#include <utility>

namespace foretoken::runtime::cuda {

using std::chrono::steady_clock;

Watchdog::Watchdog(std::function<void()> expired) : expired_(std::move(expired)), thread_([this] { watch(); }) {}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Watchdog::feed(std::chrono::milliseconds deadline) {
  {
    const std::lock_guard lock(mutex_);
    until_ = steady_clock::now() + deadline;
  }
  changed_.notify_all();
}

void Watchdog::watch() {
  std::unique_lock lock(mutex_);
  while (!over_) {
    if (until_ == steady_clock::time_point::max()) {
      changed_.wait(lock);
      continue;
    }
    if (steady_clock::now() < until_) {
      changed_.wait_until(lock, until_);
      continue;
    }
    lock.unlock();
    expired_();
    return;
  }
}

}  // namespace foretoken::runtime::cuda
