// Messages between ranks that are threads of one process: one copy, from the sender's buffer to the receiver's.
//
// A message moves when both ends have posted it, and whoever posts second copies it. So a send ends when its receive is
// there, as a large MPI message does, and as the simulator has it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "runtime/communicator.hpp"

namespace foretoken::runtime::host {

/// What the ranks of one run share.
class ThreadHub {
 public:
  explicit ThreadHub(std::int64_t ranks);

  /// Ends the run for all: their next progress() or meet() throws. The first call's reason stands.
  void fail(RankId rank, const Error& reason);
  /// The first failure, as all are told it. Call it when there is one.
  [[nodiscard]] Error failure() const;
  [[nodiscard]] bool failed() const { return failed_.load(std::memory_order_acquire); }

 private:
  friend class ThreadCommunicator;

  struct Posted {
    std::int32_t other = 0;  // the rank at the other end
    CommunicationId communication;
    std::byte* data = nullptr;
    std::size_t bytes = 0;
    std::atomic<bool>* done = nullptr;
  };
  // Of one rank: what it has to receive, from both ends' point of view, and its alarm clock.
  struct Mailbox {
    std::mutex mutex;
    std::condition_variable bell;
    std::vector<Posted> sends;     // to this rank, in the order of posting
    std::vector<Posted> receives;  // by this rank, likewise
    std::atomic<std::uint64_t> events{0};
  };

  void ring(std::int32_t rank);

  std::vector<std::unique_ptr<Mailbox>> mailboxes_;
  std::atomic<bool> failed_{false};
  mutable std::mutex mutex_;
  std::condition_variable gate_;  // meet()
  std::int64_t arrived_ = 0;
  std::uint64_t meetings_ = 0;
  Error failure_;
};

class ThreadCommunicator final : public Communicator {
 public:
  /// @param spin whether to look around for a while before sleeping: yes where every rank has a core of its own
  ThreadCommunicator(ThreadHub& hub, RankId rank, bool spin);

  MessageId send(RankId to, CommunicationId communication, std::span<const std::byte> bytes) override;
  MessageId receive(RankId from, CommunicationId communication, std::span<std::byte> bytes) override;
  bool done(MessageId message) override;
  bool progress() override;
  void rest(std::chrono::microseconds patience) override;
  void meet(std::chrono::milliseconds deadline) override;

 private:
  MessageId new_message();
  void check_others() const;

  ThreadHub& hub_;
  std::int32_t rank_;
  bool spin_;
  ThreadHub::Mailbox& own_;
  std::uint64_t seen_ = 0;              // events that progress() has reported
  std::deque<std::atomic<bool>> done_;  // [message]; a deque keeps them where they are
  std::vector<MessageId> free_;
};

}  // namespace foretoken::runtime::host
