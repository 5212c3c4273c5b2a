#include "tests/runtime/call_on_threads.hpp"

#include <chrono>
#include <deque>
#include <thread>
#include <vector>

#include "core/error.hpp"
#include "runtime/host/thread_communicator.hpp"

namespace foretoken::test {

void call_on_threads(std::int64_t ranks, const std::function<void(RankId, runtime::Communicator&)>& body) {
  runtime::host::ThreadHub hub(ranks);
  std::deque<runtime::host::ThreadCommunicator> communicators;
  for (std::int64_t r = 0; r < ranks; ++r) communicators.emplace_back(hub, RankId(static_cast<std::int32_t>(r)), false);
  {
    std::vector<std::jthread> threads;
    for (std::int64_t r = 0; r < ranks; ++r)
      threads.emplace_back([&, rank = RankId(static_cast<std::int32_t>(r))] {
        try {
          body(rank, communicators[rank.index()]);
        } catch (const Error& error) {
          hub.fail(rank, error);
        }
      });
  }
  if (hub.failed()) throw hub.failure();
}

}  // namespace foretoken::test
