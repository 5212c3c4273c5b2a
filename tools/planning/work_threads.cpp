#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "tools/planning/work.hpp"

namespace foretoken::planning {

void work_on_threads(const std::vector<std::size_t>& points, unsigned threads, const Compute& compute,
                     const Done& done) {
  std::atomic<std::size_t> next{0};
  std::mutex mutex;  // of `failure`, and around done()
  std::exception_ptr failure;
  const auto work = [&] {
    try {
      for (std::size_t i = next++; i < points.size(); i = next++) {
        const std::string result = compute(points[i]);
        const std::lock_guard lock(mutex);
        if (failure) return;
        done(points[i], result);
      }
    } catch (...) {
      next = points.size();
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  std::vector<std::jthread> pool;
  for (std::size_t t = 0; t < std::min<std::size_t>(std::max(1U, threads), points.size()); ++t) pool.emplace_back(work);
  pool.clear();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace foretoken::planning
