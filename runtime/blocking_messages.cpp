#include "runtime/blocking_messages.hpp"

#include <fmt/format.h>

#include "core/error.hpp"

namespace foretoken::runtime {
namespace {}  // namespace

void BlockingMessages::send(RankId to, std::span<const std::byte> bytes) {
  wait(communicator_.send(to, communication_, bytes), to);
}

void BlockingMessages::receive(RankId from, std::span<std::byte> bytes) {
  wait(communicator_.receive(from, communication_, bytes), from);
}

void BlockingMessages::wait(MessageId message, RankId peer) {
  using std::chrono::steady_clock;
  const auto begun = steady_clock::now();
  while (!communicator_.done(message)) {
    if (communicator_.progress()) continue;
    if (steady_clock::now() - begun > deadline_)
      throw Error(ErrorCode::rank_failed, fmt::format("rank {} did not answer within {:.0f} s", peer.value(),
                                                      std::chrono::duration<double>(deadline_).count()));
    communicator_.rest(kPatience);
  }
}

}  // namespace foretoken::runtime
