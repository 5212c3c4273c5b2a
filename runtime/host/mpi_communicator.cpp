#include "runtime/host/mpi_communicator.hpp"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <limits>
#include <thread>

#include "core/error.hpp"
#include "runtime/host/mpi_check.hpp"
#include "runtime/thread_clock.hpp"

namespace foretoken::runtime::host {
namespace {

// A rank that has looked in vain this often sleeps between looks when cores are short: yielding alone lets many waiting
// ranks take most of the time from the one that works.
constexpr int kLooksBeforeSleep = 20;
constexpr std::chrono::microseconds kNap{30};
// Naps grow with the wait, to a few percent of it: many ranks that wait long for a slow network would fill the cores.
constexpr int kLooksPerNap = 16;
constexpr std::chrono::microseconds kNapMax{1000};

// Assumed, in picoseconds: a look in vain at a handful of requests takes a fraction of a microsecond, and copying a
// piece of a large message several.
constexpr std::int64_t kLongLook = 3'000'000;

int mpi_bytes(std::size_t bytes) {
  FORETOKEN_CHECK(bytes <= static_cast<std::size_t>(std::numeric_limits<int>::max()), "a message over 2 GiB");
  return static_cast<int>(bytes);
}

}  // namespace

void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw Error(ErrorCode::rank_failed, fmt::format("{}: {}", call, text));
}

MpiCommunicator::MpiCommunicator(MPI_Comm communicator, bool oversubscribed)
    : communicator_(communicator), oversubscribed_(oversubscribed) {}

MessageId MpiCommunicator::new_message() {
  if (free_.empty()) {
    done_.push_back(0);
    return static_cast<MessageId>(done_.size() - 1);
  }
  const MessageId message = free_.back();
  free_.pop_back();
  done_[static_cast<std::size_t>(message)] = 0;
  return message;
}

MessageId MpiCommunicator::send(RankId to, CommunicationId communication, std::span<const std::byte> bytes) {
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Isend(bytes.data(), mpi_bytes(bytes.size()), MPI_BYTE, to.value(), communication.value(), communicator_,
                      &request),
            "MPI_Isend");
  requests_.push_back(request);
  expected_.push_back({new_message(), -1});
  return expected_.back().message;
}

MessageId MpiCommunicator::receive(RankId from, CommunicationId communication, std::span<std::byte> bytes) {
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Irecv(bytes.data(), mpi_bytes(bytes.size()), MPI_BYTE, from.value(), communication.value(),
                      communicator_, &request),
            "MPI_Irecv");
  requests_.push_back(request);
  expected_.push_back({new_message(), mpi_bytes(bytes.size())});
  return expected_.back().message;
}

bool MpiCommunicator::done(MessageId message) {
  if (done_[static_cast<std::size_t>(message)] == 0) return false;
  free_.push_back(message);
  return true;
}

// A look that finds nothing is waiting; one that takes longer has moved part of a message.
bool MpiCommunicator::test() {
  if (requests_.empty()) return false;
  if (!timing_) return test_requests();
  const std::int64_t before = thread_cpu_now();
  const bool happened = test_requests();
  const std::int64_t spent = thread_cpu_now() - before;
  if (happened || spent > kLongLook) moving_cpu_ += spent;
  return happened;
}

bool MpiCommunicator::test_requests() {
  completed_.resize(requests_.size());
  statuses_.resize(requests_.size());
  int count = 0;
  check_mpi(
      MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &count, completed_.data(), statuses_.data()),
      "MPI_Testsome");
  if (count == MPI_UNDEFINED || count == 0) return false;
  for (int i = 0; i < count; ++i) {
    const Expected& expected = expected_[static_cast<std::size_t>(completed_[static_cast<std::size_t>(i)])];
    done_[static_cast<std::size_t>(expected.message)] = 1;
    if (expected.bytes < 0) continue;
    int bytes = 0;
    check_mpi(MPI_Get_count(&statuses_[static_cast<std::size_t>(i)], MPI_BYTE, &bytes), "MPI_Get_count");
    FORETOKEN_CHECK(bytes == expected.bytes,
                    fmt::format("a message of {} bytes meets a receive of {}", bytes, expected.bytes));
  }
  // What has completed is MPI_REQUEST_NULL now; the rest closes ranks.
  std::size_t kept = 0;
  for (std::size_t i = 0; i < requests_.size(); ++i) {
    if (requests_[i] == MPI_REQUEST_NULL) continue;
    requests_[kept] = requests_[i];
    expected_[kept++] = expected_[i];
  }
  requests_.resize(kept);
  expected_.resize(kept);
  return true;
}

bool MpiCommunicator::progress() {
  const bool happened = happened_;
  happened_ = false;
  return test() || happened;
}

void MpiCommunicator::yield(int idle) const {
  if (oversubscribed_ && idle >= kLooksBeforeSleep)
    std::this_thread::sleep_for(std::min<std::chrono::microseconds>(kNapMax, kNap * (1 + idle / kLooksPerNap)));
  else sched_yield();
}

void MpiCommunicator::rest(std::chrono::microseconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (!happened_ && std::chrono::steady_clock::now() < until) {
    yield(looks_++);
    happened_ = test();
  }
  if (happened_) looks_ = 0;
}

void MpiCommunicator::meet(std::chrono::milliseconds deadline) {
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ibarrier(communicator_, &request), "MPI_Ibarrier");
  const auto until = std::chrono::steady_clock::now() + deadline;
  for (int idle = 0;; ++idle) {
    int met = 0;
    check_mpi(MPI_Test(&request, &met, MPI_STATUS_IGNORE), "MPI_Test");
    if (met != 0) return;
    if (std::chrono::steady_clock::now() > until)
      throw Error(ErrorCode::rank_failed, fmt::format("not all ranks were ready within {:.0f} s",
                                                      std::chrono::duration<double>(deadline).count()));
    yield(idle);
  }
}

}  // namespace foretoken::runtime::host
