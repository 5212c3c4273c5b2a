// Clocks of other hosts: read by ping-pongs, and the times of a run put on rank 0's.
#include "runtime/clock_offset.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "core/error.hpp"
#include "plan/program/program.hpp"
#include "runtime/run.hpp"
#include "tests/runtime/call_on_threads.hpp"
#include "tests/runtime/small_plan.hpp"

namespace foretoken::test {
namespace {

using runtime::ClockOffset;
using testing::ElementsAre;
using testing::IsEmpty;

std::int64_t steady_now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

TEST(ClockRanks, AreTheFirstOfEveryOtherHost) {
  EXPECT_THAT(runtime::clock_ranks(std::vector<std::string>{"a", "a"}), IsEmpty());
  EXPECT_THAT(runtime::clock_ranks(std::vector<std::string>{"a", "b", "a", "c", "b"}),
              ElementsAre(RankId(1), RankId(3)));
}

// Rank 1's clock is 7 s ahead, rank 3's is 2 ms behind; rank 2 is asked nothing.
TEST(ClockOffsets, AreWithinTheirBound) {
  const std::map<std::int32_t, std::int64_t> ahead{{0, 0}, {1, 7'000'000'000}, {2, 99}, {3, -2'000'000}};
  std::vector<ClockOffset> found;
  call_on_threads(4, [&](RankId rank, runtime::Communicator& communicator) {
    runtime::BlockingMessages messages(communicator, CommunicationId(0), std::chrono::seconds(30));
    const std::vector<RankId> others{RankId(1), RankId(3)};
    const auto offsets = runtime::measure_clock_offsets(
        messages, rank, others, [&] { return steady_now() + ahead.at(rank.value()); }, 20);
    if (rank.value() == 0) found = offsets;
    else EXPECT_THAT(offsets, IsEmpty());
    messages.meet();
  });
  ASSERT_EQ(found.size(), 2U);
  EXPECT_LE(std::abs(found[0].ahead - ahead.at(1)), found[0].bound);
  EXPECT_LE(std::abs(found[1].ahead - ahead.at(3)), found[1].bound);
  EXPECT_GT(found[0].bound, 0);
}

// By an invented clock that both read in turn, a tick of 10 ns per reading: the leader reads 0, the other 10 + 1000,
// the leader 20. Middle 10, so 1000 ahead, and half of the round trip is 10.
TEST(ClockOffsets, AreTheMiddleOfTheRoundTrip) {
  std::atomic<std::int64_t> tick{0};
  std::vector<ClockOffset> found;
  call_on_threads(2, [&](RankId rank, runtime::Communicator& communicator) {
    runtime::BlockingMessages messages(communicator, CommunicationId(0), std::chrono::seconds(30));
    const auto offsets = runtime::measure_clock_offsets(
        messages, rank, std::vector<RankId>{RankId(1)},
        [&] { return tick.fetch_add(10) + (rank.value() == 1 ? 1000 : 0); }, 5);
    if (rank.value() == 0) found = offsets;
    messages.meet();
  });
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].ahead, 1000);
  EXPECT_EQ(found[0].bound, 10);
}

// ---- a run
// -----------------------------------------------------------------------------------------------------------

// Of every message: posted by its sender, ended at its receiver.
std::vector<std::pair<SimTime, SimTime>> messages_of(const plan::Plan& plan, const Trace& trace) {
  std::map<std::tuple<CommunicationId, std::int32_t>, std::pair<SimTime, SimTime>> times;
  for (std::size_t event = 0; event < trace.size(); ++event) {
    const plan::Op& op = plan.program.role_of(RankId(trace.rank[event])).ops[static_cast<std::size_t>(trace.op[event])];
    const auto* const transfer = std::get_if<plan::TransferOp>(&op.detail);
    if (transfer == nullptr) continue;
    auto& [posted, ended] = times[{transfer->communication, trace.step[event]}];
    if (op.kind == plan::OpKind::send) posted = trace.posted[event];
    else ended = trace.ended[event];
  }
  std::vector<std::pair<SimTime, SimTime>> all;
  for (const auto& entry : times) all.push_back(entry.second);
  return all;
}

class ClockAhead : public testing::TestWithParam<std::int64_t> {};

// Two stages, the second one on a host whose clock is hours or milliseconds off: no message ends before it was posted,
// and none takes as long as the clocks are apart.
TEST_P(ClockAhead, TracesComeOutOnRankZerosClock) {
  const std::chrono::milliseconds ahead(GetParam());
  const plan::Plan plan =
      small_plan({R"(deployment.pipeline={"stages":2,"schedule":"flow"})", "deployment.micro_batches=3"});
  runtime::RunOptions options;
  options.feigned_computer = [ahead](RankId rank) -> runtime::RunOptions::FeignedComputer {
    if (rank.value() == 0) return {"here", {}};
    return {"there", ahead};
  };
  const runtime::RunResult result = runtime::run_threads(plan, options);
  ASSERT_EQ(result.clocks.size(), 1U);
  const runtime::ClockReading& clock = result.clocks.front();
  EXPECT_EQ(clock.host, "there");
  EXPECT_EQ(clock.rank, RankId(1));
  const Seconds truth(std::chrono::duration<double>(ahead).count());
  for (const auto& reading : {clock.before, clock.after})
    EXPECT_LE(std::abs((reading.ahead - truth).value()), reading.bound.value() + 1e-9);
  EXPECT_LE(std::abs((clock.ahead() - truth).value()), clock.bound().value() + 1e-9);

  const auto messages = messages_of(plan, *result.trace);
  ASSERT_FALSE(messages.empty());
  SimTime longest;
  for (const auto& [posted, ended] : messages) {
    EXPECT_GE(to_seconds(ended - posted).value(), -clock.bound().value());
    longest = std::max(longest, ended - posted);
  }
  EXPECT_LT(to_seconds(longest), Seconds(0.9 * std::abs(truth.value())));
}

INSTANTIATE_TEST_SUITE_P(ByMilliseconds, ClockAhead, testing::Values(20'000'000, 60'000, -60'000));

TEST(Clocks, OfOneHostNeedNoReading) { EXPECT_THAT(runtime::run_threads(small_plan({})).clocks, IsEmpty()); }

}  // namespace
}  // namespace foretoken::test
