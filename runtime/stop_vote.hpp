// Whether a run ends before its last step, and before which: the same at every rank, as one that stopped alone would
// leave the others waiting for its messages for ever.
//
// Ranks vote now and then, and do not stand still for it. At the beginning of a step each tells rank 0 whether it has
// been asked to stop; when rank 0 has heard all, it tells them the verdict and how many steps lie between two votes;
// that many steps after the vote, all look at the verdict and stop before the same step, or vote anew. A step before
// that needs nothing of a later one, so every rank comes to the vote, and to look at a verdict never has to wait long:
// votes are about a fifth of a second apart, two steps at least. One rank that is asked is enough.
//
// Who calls: the thread of the rank.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

#include "core/ids.hpp"
#include "runtime/communicator.hpp"

namespace foretoken::runtime {

/// Whether a step is to be begun.
enum class StepAnswer : std::uint8_t { yes, no, not_yet };

class StopVote {
 public:
  /// Keeps a reference to the communicator, which messages of its own may be under way in as long as it lives.
  /// @param communication  that no other messages between the ranks have
  /// @param asked          whether this rank has been asked to stop; empty at all ranks: nobody ever is, nor votes
  StopVote(Communicator& communicator, CommunicationId communication, RankId rank, std::int64_t ranks,
           std::function<bool()> asked);
  /// Of a rank that is alone.
  explicit StopVote(std::function<bool()> asked);
  StopVote(const StopVote&) = delete;
  StopVote& operator=(const StopVote&) = delete;
  ~StopVote() = default;

  /// Asked by every rank before each step, from 0 on, until it says yes or no. `not_yet`: let messages move, and ask
  /// again. After a no, at the same step at all ranks, no other step is begun.
  StepAnswer may_begin(std::int64_t step);

  /// Takes note of messages that have come. To be called when some have, so that rank 0 can tell its verdict.
  void look();
  /// Makes messages move, and looks: where nobody else does, now and then between may_begin()s.
  void move();

  /// Called by all ranks before and after their steps: whether any of them has been asked to stop by now. Waits.
  /// @throws Error{rank_failed} if they have not all answered by the deadline, or one has failed
  bool stops(std::chrono::milliseconds deadline);

  /// Called by all ranks behind their last step: nothing is under way then. Waits for what the last vote left.
  /// @throws as stops()
  void finish(std::chrono::milliseconds deadline);

 private:
  using Clock = std::chrono::steady_clock;
  struct Ballot {
    std::int64_t asked = 0;
    std::int64_t step_nanoseconds = 0;  // as long as this rank's steps took since the last vote; 0: not known
  };
  struct Verdict {
    std::int64_t stops = 0;
    std::int64_t slowest_nanoseconds = 0;
  };

  void cast(std::int64_t step);
  void tell();
  void wait_for_verdict(std::chrono::milliseconds deadline);
  [[nodiscard]] bool leads() const { return rank_ == RankId(0); }
  [[nodiscard]] bool told() const { return pending_.empty() && !gathers_; }

  Communicator* communicator_;
  CommunicationId communication_;
  RankId rank_;
  std::int64_t ranks_;
  std::function<bool()> asked_;

  std::int64_t cast_at_ = 0;  // step
  Clock::time_point cast_when_;
  std::int64_t apart_ = 0;  // steps between votes
  std::int64_t due_ = 0;    // step before which the verdict is looked at
  bool stopped_ = false;

  // Of the vote under way.
  Ballot own_;
  Verdict verdict_;
  std::vector<Ballot> ballots_;     // at rank 0: [rank]
  std::vector<MessageId> pending_;  // that have not come to their end
  bool gathers_ = false;            // rank 0 has not heard all
};

}  // namespace foretoken::runtime
