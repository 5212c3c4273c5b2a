// Whether a run ends early: ranks that come to their steps at different times end before the same one.
#include "runtime/stop_vote.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <latch>
#include <set>
#include <thread>
#include <vector>

#include "core/error.hpp"
#include "tests/runtime/call_on_threads.hpp"

namespace foretoken::test {
namespace {

using runtime::StepAnswer;
using runtime::StopVote;
using testing::HasSubstr;

constexpr CommunicationId kVotes(7);
constexpr std::chrono::milliseconds kDeadline{60'000};

// Asks as an executor does until there is an answer.
StepAnswer answer_of(StopVote& vote, runtime::Communicator& communicator, std::int64_t step) {
  StepAnswer answer = vote.may_begin(step);
  for (; answer == StepAnswer::not_yet; answer = vote.may_begin(step))
    if (!communicator.progress()) communicator.rest(std::chrono::microseconds(1'000));
  return answer;
}

// How many steps each of the ranks begins.
std::vector<std::int64_t> steps_begun(std::int64_t ranks, std::int64_t steps,
                                      const std::function<bool(RankId rank, std::int64_t step)>& asked,
                                      const std::function<void(RankId rank, std::int64_t step)>& work) {
  std::vector<std::int64_t> begun(static_cast<std::size_t>(ranks), 0);
  call_on_threads(ranks, [&](RankId rank, runtime::Communicator& communicator) {
    std::int64_t step = 0;
    StopVote vote(communicator, kVotes, rank, ranks, [&] { return asked(rank, step); });
    for (; step < steps && answer_of(vote, communicator, step) == StepAnswer::yes; ++step) work(rank, step);
    begun[rank.index()] = step;
    static_cast<void>(vote.stops(kDeadline));
  });
  return begun;
}

TEST(StopVote, AllEndBeforeTheSameStepThoughOneRankIsAsked) {
  const auto asked = [](RankId rank, std::int64_t step) { return rank == RankId(5) && step >= 13; };
  const auto work = [](RankId rank, std::int64_t step) {
    std::this_thread::sleep_for(std::chrono::microseconds((rank.value() * 37 + step * 91) % 3'000));
  };
  const std::vector<std::int64_t> begun = steps_begun(8, 1'000'000, asked, work);
  EXPECT_EQ(std::set<std::int64_t>(begun.begin(), begun.end()).size(), 1U) << testing::PrintToString(begun);
  EXPECT_GT(begun.front(), 13);
  EXPECT_LT(begun.front(), 1'000'000);
}

TEST(StopVote, GoesOnToTheLastStepWhereNobodyIsAsked) {
  const auto never = [](RankId, std::int64_t) { return false; };
  const std::vector<std::int64_t> begun = steps_begun(3, 500, never, [](RankId, std::int64_t) {});
  EXPECT_THAT(begun, testing::Each(500));
}

// A vote per two steps would be 50 000; they are a fifth of a second apart, and few until they have come to that.
TEST(StopVote, FastStepsAreSeldomVotedOn) {
  std::atomic<std::int64_t> votes = 0;
  const auto counted = [&](RankId rank, std::int64_t) {
    if (rank == RankId(0)) ++votes;
    return false;
  };
  const auto begun = std::chrono::steady_clock::now();
  static_cast<void>(steps_begun(2, 100'000, counted, [](RankId, std::int64_t) {}));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  // Distances of 2, 8, 32, … reach 100 000 with ten votes; all later ones are 0.2 s apart unless steps become slower.
  EXPECT_LE(votes, 40 + static_cast<std::int64_t>(20 * seconds));
}

// Rank 1 has not come to the first vote: rank 0 begins the two steps that lie before its verdict, and no third.
TEST(StopVote, DoesNotWaitForOthersBeforeTheVerdictIsDue) {
  std::latch tried(1);
  call_on_threads(2, [&](RankId rank, runtime::Communicator& communicator) {
    StopVote vote(communicator, kVotes, rank, 2, [] { return false; });
    if (rank == RankId(0)) {
      EXPECT_EQ(vote.may_begin(0), StepAnswer::yes);
      EXPECT_EQ(vote.may_begin(1), StepAnswer::yes);
      EXPECT_EQ(vote.may_begin(2), StepAnswer::not_yet);
      tried.count_down();
    } else {
      tried.wait();
      EXPECT_EQ(vote.may_begin(0), StepAnswer::yes);
      EXPECT_EQ(vote.may_begin(1), StepAnswer::yes);
    }
    EXPECT_EQ(answer_of(vote, communicator, 2), StepAnswer::yes);
    EXPECT_FALSE(vote.stops(kDeadline));
  });
}

// Before the steps and behind them, with a vote of the last steps still under way; then again.
TEST(StopVote, IsAskedBeforeAndBehindTheSteps) {
  std::atomic<bool> asked = false;
  call_on_threads(4, [&](RankId rank, runtime::Communicator& communicator) {
    StopVote vote(communicator, kVotes, rank, 4, [&] { return rank == RankId(3) && asked; });
    for (int run = 0; run < 2; ++run) {
      EXPECT_FALSE(vote.stops(kDeadline));
      for (std::int64_t step = 0; step < 5; ++step) EXPECT_EQ(answer_of(vote, communicator, step), StepAnswer::yes);
    }
    EXPECT_FALSE(vote.stops(kDeadline));
    communicator.meet(kDeadline);
    asked = true;
    EXPECT_TRUE(vote.stops(kDeadline));
    EXPECT_EQ(vote.may_begin(0), StepAnswer::no);
  });
}

TEST(StopVote, ARankAloneStopsAtOnce) {
  bool asked = false;
  StopVote vote([&] { return asked; });
  EXPECT_FALSE(vote.stops(kDeadline));
  EXPECT_EQ(vote.may_begin(0), StepAnswer::yes);
  EXPECT_EQ(vote.may_begin(1), StepAnswer::yes);
  asked = true;
  EXPECT_EQ(vote.may_begin(2), StepAnswer::no);
  EXPECT_TRUE(vote.stops(kDeadline));
}

// Ranks that nobody can ask send no messages: none is received here.
TEST(StopVote, IsNotHeldWhereNobodyCanBeAsked) {
  call_on_threads(2, [&](RankId rank, runtime::Communicator& communicator) {
    StopVote vote(communicator, kVotes, rank, 2, {});
    if (rank == RankId(1)) return;
    for (std::int64_t step = 0; step < 100; ++step) EXPECT_EQ(vote.may_begin(step), StepAnswer::yes);
    EXPECT_FALSE(vote.stops(std::chrono::milliseconds(0)));
  });
}

TEST(StopVote, ARankThatDoesNotAnswerIsAnError) {
  try {
    call_on_threads(2, [&](RankId rank, runtime::Communicator& communicator) {
      if (rank == RankId(1)) return;
      StopVote vote(communicator, kVotes, rank, 2, [] { return false; });
      static_cast<void>(vote.stops(std::chrono::milliseconds(100)));
    });
    FAIL() << "nobody noticed";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::rank_failed);
    EXPECT_THAT(error.what(), HasSubstr("whether the run goes on"));
  }
}

}  // namespace
}  // namespace foretoken::test
