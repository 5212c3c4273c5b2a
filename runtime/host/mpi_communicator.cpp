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
// Naps grow with the wait: many ranks that wait long for a slow network would fill the cores with their looks. So a
// wait is noticed to be over half a nap late, 1/64 of it.
constexpr std::chrono::microseconds kNap{30};
constexpr std::chrono::microseconds kNapMax{10'000};
constexpr int kNapsPerWait = 32;
// With a doorbell a rank is woken; it naps only so as not to be woken by every packet of a message.
constexpr std::chrono::microseconds kPiecesNapMax{2000};
constexpr int kLooksWhenWoken = 4;

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

MpiCommunicator::MpiCommunicator(MPI_Comm communicator, bool oversubscribed, const MpiDoorbell* doorbell)
    : communicator_(communicator), oversubscribed_(oversubscribed), doorbell_(doorbell) {}

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
  expected_.push_back({new_message(), -1, to.value()});
  if (doorbell_ != nullptr) doorbell_->ring(to.value());
  waits_ = false;
  return expected_.back().message;
}

MessageId MpiCommunicator::receive(RankId from, CommunicationId communication, std::span<std::byte> bytes) {
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Irecv(bytes.data(), mpi_bytes(bytes.size()), MPI_BYTE, from.value(), communication.value(),
                      communicator_, &request),
            "MPI_Irecv");
  requests_.push_back(request);
  expected_.push_back({new_message(), mpi_bytes(bytes.size()), from.value()});
  waits_ = false;
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
    // Its sender waits until it is taken out of shared memory.
    if (doorbell_ != nullptr) doorbell_->ring(expected.peer);
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

void MpiCommunicator::yield(int looks, std::chrono::steady_clock::duration waited) const {
  if (oversubscribed_ && looks >= kLooksBeforeSleep)
    std::this_thread::sleep_for(std::clamp<std::chrono::steady_clock::duration>(waited / kNapsPerWait, kNap, kNapMax));
  else sched_yield();
}

// What comes piece by piece would wake a rank for each; so it also naps, for a small part of the wait.
void MpiCommunicator::sleep(std::chrono::steady_clock::duration waited) const {
  const auto nap = std::min<std::chrono::steady_clock::duration>(waited / kNapsPerWait, kPiecesNapMax);
  if (nap > kNap) std::this_thread::sleep_for(nap);
  doorbell_->sleep(kNapMax);
}

// A wait with a doorbell is for all that has been posted; without one it begins again with every message that comes.
// One ring may stand for several messages, and a look finds only some of them: a rank that was woken looks repeatedly.
void MpiCommunicator::rest(std::chrono::microseconds patience) {
  const auto begun = std::chrono::steady_clock::now();
  if (!waits_) waiting_since_ = begun;
  waits_ = true;
  for (auto now = begun; !happened_ && now < begun + patience; now = std::chrono::steady_clock::now()) {
    if (doorbell_ == nullptr) {
      yield(looks_, now - waiting_since_);
    } else if (looks_ >= kLooksWhenWoken) {
      sleep(now - waiting_since_);
      looks_ = 0;
    }
    ++looks_;
    happened_ = test();
  }
  if (!happened_) return;
  looks_ = 0;
  if (doorbell_ == nullptr) waits_ = false;
}

void MpiCommunicator::meet(std::chrono::milliseconds deadline) {
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ibarrier(communicator_, &request), "MPI_Ibarrier");
  const auto begun = std::chrono::steady_clock::now();
  for (int looks = 0;; ++looks) {
    int met = 0;
    check_mpi(MPI_Test(&request, &met, MPI_STATUS_IGNORE), "MPI_Test");
    if (met != 0) return;
    const auto waited = std::chrono::steady_clock::now() - begun;
    if (waited > deadline)
      throw Error(ErrorCode::rank_failed, fmt::format("not all ranks were ready within {:.0f} s",
                                                      std::chrono::duration<double>(deadline).count()));
    yield(looks, waited);
  }
}

}  // namespace foretoken::runtime::host
