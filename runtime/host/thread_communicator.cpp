#include "runtime/host/thread_communicator.hpp"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace foretoken::runtime::host {
namespace {

// A rank with a core of its own looks around this often before it sleeps: about as long as waking up takes.
constexpr int kSpins = 200;

}  // namespace

ThreadHub::ThreadHub(std::int64_t ranks) : failure_(ErrorCode::rank_failed, "") {
  for (std::int64_t r = 0; r < ranks; ++r) mailboxes_.push_back(std::make_unique<Mailbox>());
}

void ThreadHub::fail(RankId rank, const Error& reason) {
  {
    const std::scoped_lock lock(mutex_);
    if (failed_.load(std::memory_order_relaxed)) return;
    // Bad input is nobody's failure, and keeps its own message.
    const bool input = reason.code() == ErrorCode::invalid_input || reason.code() == ErrorCode::infeasible;
    failure_ =
        input ? reason : Error(ErrorCode::rank_failed, fmt::format("rank {} failed: {}", rank.value(), reason.what()));
    failed_.store(true, std::memory_order_release);
    gate_.notify_all();
  }
  for (std::size_t r = 0; r < mailboxes_.size(); ++r) ring(static_cast<std::int32_t>(r));
}

Error ThreadHub::failure() const {
  const std::scoped_lock lock(mutex_);
  return failure_;
}

void ThreadHub::ring(std::int32_t rank) {
  Mailbox& mailbox = *mailboxes_[static_cast<std::size_t>(rank)];
  {
    const std::scoped_lock lock(mailbox.mutex);
    mailbox.events.fetch_add(1, std::memory_order_release);
  }
  mailbox.bell.notify_one();
}

ThreadCommunicator::ThreadCommunicator(ThreadHub& hub, RankId rank, bool spin)
    : hub_(hub), rank_(rank.value()), spin_(spin), own_(*hub.mailboxes_[rank.index()]) {}

MessageId ThreadCommunicator::new_message() {
  if (free_.empty()) {
    done_.emplace_back(false);
    return static_cast<MessageId>(done_.size() - 1);
  }
  const MessageId message = free_.back();
  free_.pop_back();
  done_[static_cast<std::size_t>(message)].store(false, std::memory_order_relaxed);
  return message;
}

namespace {

// Takes the first entry of this rank and communication out of a list; false if there is none.
template <class Posted>
bool take(std::vector<Posted>& list, std::int32_t other, CommunicationId communication, Posted& found) {
  const auto entry = std::find_if(list.begin(), list.end(), [&](const Posted& posted) {
    return posted.other == other && posted.communication == communication;
  });
  if (entry == list.end()) return false;
  found = *entry;
  list.erase(entry);
  return true;
}

void copy(std::byte* target, std::size_t room, const std::byte* source, std::size_t bytes) {
  FORETOKEN_CHECK(room == bytes, fmt::format("a message of {} bytes meets a receive of {}", bytes, room));
  std::memcpy(target, source, bytes);
}

}  // namespace

MessageId ThreadCommunicator::send(RankId to, CommunicationId communication, std::span<const std::byte> bytes) {
  const MessageId message = new_message();
  std::atomic<bool>& done = done_[static_cast<std::size_t>(message)];
  ThreadHub::Mailbox& mailbox = *hub_.mailboxes_[to.index()];
  ThreadHub::Posted receive;
  {
    const std::scoped_lock lock(mailbox.mutex);
    if (!take(mailbox.receives, rank_, communication, receive)) {
      // Nobody writes through it: the receiver copies from here.
      mailbox.sends.push_back({rank_, communication, const_cast<std::byte*>(bytes.data()), bytes.size(), &done});
      return message;
    }
  }
  copy(receive.data, receive.bytes, bytes.data(), bytes.size());
  done.store(true, std::memory_order_release);
  receive.done->store(true, std::memory_order_release);
  hub_.ring(to.value());
  return message;
}

MessageId ThreadCommunicator::receive(RankId from, CommunicationId communication, std::span<std::byte> bytes) {
  const MessageId message = new_message();
  std::atomic<bool>& done = done_[static_cast<std::size_t>(message)];
  ThreadHub::Posted send;
  {
    const std::scoped_lock lock(own_.mutex);
    if (!take(own_.sends, from.value(), communication, send)) {
      own_.receives.push_back({from.value(), communication, bytes.data(), bytes.size(), &done});
      return message;
    }
  }
  copy(bytes.data(), bytes.size(), send.data, send.bytes);
  done.store(true, std::memory_order_release);
  send.done->store(true, std::memory_order_release);
  hub_.ring(from.value());
  return message;
}

bool ThreadCommunicator::done(MessageId message) {
  if (!done_[static_cast<std::size_t>(message)].load(std::memory_order_acquire)) return false;
  free_.push_back(message);
  return true;
}

void ThreadCommunicator::check_others() const {
  if (hub_.failed()) throw hub_.failure();
}

bool ThreadCommunicator::progress() {
  check_others();
  const std::uint64_t events = own_.events.load(std::memory_order_acquire);
  return std::exchange(seen_, events) != events;
}

void ThreadCommunicator::rest(std::chrono::microseconds patience) {
  const auto happened = [&] { return own_.events.load(std::memory_order_acquire) != seen_; };
  if (spin_) {
    for (int i = 0; i < kSpins; ++i) {
      if (happened()) return;
      sched_yield();
    }
  }
  std::unique_lock lock(own_.mutex);
  own_.bell.wait_for(lock, patience, happened);
}

void ThreadCommunicator::meet(std::chrono::milliseconds deadline) {
  std::unique_lock lock(hub_.mutex_);
  const std::uint64_t meeting = hub_.meetings_;
  if (++hub_.arrived_ == static_cast<std::int64_t>(hub_.mailboxes_.size())) {
    hub_.arrived_ = 0;
    ++hub_.meetings_;
    hub_.gate_.notify_all();
    return;
  }
  const bool met = hub_.gate_.wait_for(lock, deadline, [&] { return hub_.meetings_ != meeting || hub_.failed(); });
  if (hub_.failed()) throw Error(hub_.failure_);
  if (!met)
    throw Error(ErrorCode::rank_failed, fmt::format("not all ranks were ready within {:.0f} s",
                                                    std::chrono::duration<double>(deadline).count()));
}

}  // namespace foretoken::runtime::host
