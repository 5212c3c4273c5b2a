// Messages between ranks: the seam between the executor and what carries its bytes.
//
// Posting never blocks; progress() moves what can be moved. A communication's messages from one rank to another are
// matched in the order in which both ends post them, which is the order of the op's stream in every step. Who calls:
// one thread per rank.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/ids.hpp"

namespace foretoken::runtime {

/// A message under way, of the rank that posted it.
using MessageId = std::int32_t;

/// How long a rank rests at most before it looks again for what nobody woke it for.
inline constexpr std::chrono::microseconds kPatience{20'000};

class Communicator {
 public:
  Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  virtual ~Communicator() = default;

  /// The bytes must stay as they are until done() says so.
  virtual MessageId send(RankId to, CommunicationId communication, std::span<const std::byte> bytes) = 0;
  virtual MessageId receive(RankId from, CommunicationId communication, std::span<std::byte> bytes) = 0;

  /// True once, and then the id is free to be used again.
  virtual bool done(MessageId message) = 0;

  /// Moves what can be moved. True if some message of this rank may have come to its end since the last call.
  /// @throws Error{rank_failed} if another rank has failed
  virtual bool progress() = 0;

  /// Gives the core to others until something may have happened, or `patience` is over.
  virtual void rest(std::chrono::microseconds patience) = 0;

  /// Whether to keep account of moving_cpu(). Off at first.
  virtual void time_moves(bool /*on*/) {}
  /// CPU time, in picoseconds, that progress() and rest() have spent on moving bytes since this was last asked. Zero
  /// where bytes are moved by send() and receive() alone.
  virtual std::int64_t moving_cpu() { return 0; }

  /// Waits until all ranks are here.
  /// @throws Error{rank_failed} if another rank has failed, or the deadline is over
  virtual void meet(std::chrono::milliseconds deadline) = 0;
};

}  // namespace foretoken::runtime
