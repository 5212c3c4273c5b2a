#include "runtime/stop_vote.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

#include "core/error.hpp"

namespace foretoken::runtime {
namespace {

// Soon enough for who waits for the end, and seldom enough to cost nothing: with more ranks than this, whose messages
// all go to and from rank 0, less often, so that a slow network (10 Mb/s where nodes are emulated) hardly sees them.
constexpr std::int64_t kVoteNanoseconds = 200'000'000;
constexpr std::int64_t kFewRanks = 16;
// A verdict has a step's time to come, at least.
constexpr std::int64_t kApartMin = 2;
// The first steps may be faster than those that follow.
constexpr std::int64_t kApartGrowth = 4;
constexpr std::int64_t kApartMax = std::int64_t{1} << 20;
constexpr std::chrono::milliseconds kVotePatience{20};

template <class T>
std::span<const std::byte> bytes_of_value(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}
template <class T>
std::span<std::byte> room_of_value(T& value) {
  return std::as_writable_bytes(std::span(&value, 1));
}

}  // namespace

StopVote::StopVote(Communicator& communicator, CommunicationId communication, RankId rank, std::int64_t ranks,
                   std::function<bool()> asked)
    : communicator_(&communicator),
      communication_(communication),
      rank_(rank),
      ranks_(ranks),
      asked_(std::move(asked)),
      ballots_(rank == RankId(0) ? static_cast<std::size_t>(ranks) : 0) {}

StopVote::StopVote(std::function<bool()> asked)
    : communicator_(nullptr), rank_(0), ranks_(1), asked_(std::move(asked)), ballots_(1) {}

StepAnswer StopVote::may_begin(std::int64_t step) {
  if (!asked_) return StepAnswer::yes;
  if (stopped_) return StepAnswer::no;
  if (ranks_ == 1) {
    stopped_ = asked_();
    return stopped_ ? StepAnswer::no : StepAnswer::yes;
  }
  if (step == 0) {
    apart_ = kApartMin;
  } else {
    if (step < due_) return StepAnswer::yes;
    look();
    if (!told()) return StepAnswer::not_yet;
    stopped_ = verdict_.stops != 0;
    if (stopped_) return StepAnswer::no;
    // All have the verdict's numbers, and so the same distance.
    const std::int64_t wanted = kVoteNanoseconds * std::max(ranks_, kFewRanks) / kFewRanks /
                                std::max<std::int64_t>(1, verdict_.slowest_nanoseconds);
    apart_ = verdict_.slowest_nanoseconds == 0
                 ? kApartMin
                 : std::clamp(wanted, kApartMin, std::min(kApartGrowth * apart_, kApartMax));
  }
  cast(step);
  due_ = step + apart_;
  return StepAnswer::yes;
}

void StopVote::cast(std::int64_t step) {
  const Clock::time_point now = Clock::now();
  own_ = {asked_() ? 1 : 0, 0};
  if (step > cast_at_)
    own_.step_nanoseconds = std::max<std::int64_t>(
        1, std::chrono::duration_cast<std::chrono::nanoseconds>(now - cast_when_).count() / (step - cast_at_));
  cast_at_ = step;
  cast_when_ = now;
  if (!leads()) {
    pending_.push_back(communicator_->receive(RankId(0), communication_, room_of_value(verdict_)));
    pending_.push_back(communicator_->send(RankId(0), communication_, bytes_of_value(own_)));
    return;
  }
  gathers_ = true;
  ballots_.front() = own_;
  for (std::size_t r = 1; r < ballots_.size(); ++r)
    pending_.push_back(communicator_->receive(RankId(r), communication_, room_of_value(ballots_[r])));
  look();
}

void StopVote::look() {
  std::erase_if(pending_, [&](MessageId message) { return communicator_->done(message); });
  if (pending_.empty() && std::exchange(gathers_, false)) tell();
}

void StopVote::move() {
  if (pending_.empty()) return;
  static_cast<void>(communicator_->progress());
  look();
}

void StopVote::tell() {
  verdict_ = {};
  for (const Ballot& ballot : ballots_) {
    verdict_.stops = std::max(verdict_.stops, ballot.asked);
    verdict_.slowest_nanoseconds = std::max(verdict_.slowest_nanoseconds, ballot.step_nanoseconds);
  }
  for (std::size_t r = 1; r < ballots_.size(); ++r)
    pending_.push_back(communicator_->send(RankId(r), communication_, bytes_of_value(verdict_)));
}

void StopVote::wait_for_verdict(std::chrono::milliseconds deadline) {
  const auto begun = Clock::now();
  for (look(); !told(); look()) {
    if (communicator_->progress()) continue;
    if (Clock::now() - begun > deadline)
      throw Error(ErrorCode::rank_failed, fmt::format("not all ranks have said within {:.0f} s whether the run goes on",
                                                      std::chrono::duration<double>(deadline).count()));
    communicator_->rest(kVotePatience);
  }
}

void StopVote::finish(std::chrono::milliseconds deadline) {
  if (asked_ && ranks_ > 1) wait_for_verdict(deadline);
}

bool StopVote::stops(std::chrono::milliseconds deadline) {
  if (!asked_) return false;
  if (ranks_ == 1) {
    stopped_ = stopped_ || asked_();
    return stopped_;
  }
  wait_for_verdict(deadline);  // of the vote that the last steps left
  cast_at_ = 0;
  cast(0);
  wait_for_verdict(deadline);
  stopped_ = stopped_ || verdict_.stops != 0;
  return stopped_;
}

}  // namespace foretoken::runtime
