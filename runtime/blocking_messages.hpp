// Messages that are waited for: for probes, whose ranks do one thing at a time.
#pragma once

#include <chrono>
#include <cstddef>
#include <span>

#include "core/ids.hpp"
#include "runtime/communicator.hpp"

namespace foretoken::runtime {

class BlockingMessages {
 public:
  /// Keeps a reference to the communicator.
  /// @param communication  that no other messages between the ranks have meanwhile
  /// @param deadline       a peer that does not answer for so long has failed
  BlockingMessages(Communicator& communicator, CommunicationId communication, std::chrono::milliseconds deadline)
      : communicator_(communicator), communication_(communication), deadline_(deadline) {}

  /// Until the bytes may change again. @throws Error{rank_failed} naming the peer if the deadline is over
  void send(RankId to, std::span<const std::byte> bytes);
  /// Until they are here. @throws as send()
  void receive(RankId from, std::span<std::byte> bytes);

  template <class T>
  void send_value(RankId to, const T& value) {
    send(to, std::as_bytes(std::span(&value, 1)));
  }
  template <class T>
  T receive_value(RankId from) {
    T value{};
    receive(from, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }

  /// Until all ranks are here. @throws as send()
  void meet() { communicator_.meet(deadline_); }

 private:
  void wait(MessageId message, RankId peer);

  Communicator& communicator_;
  CommunicationId communication_;
  std::chrono::milliseconds deadline_;
};

}  // namespace foretoken::runtime
