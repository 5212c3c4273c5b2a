#include "tools/explain/critical_path.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/breakdown.hpp"
#include "core/error.hpp"
#include "plan/machine/topology.hpp"
#include "sim/simulate.hpp"
#include "tests/explain/hand_results.hpp"
#include "tests/explain/random_program.hpp"
#include "tests/sim/tiny_program.hpp"

namespace foretoken::explain {
namespace {

using foretoken::test::round_machine;
using foretoken::test::TinyProgram;
using plan::OpKind;

/// A segment as a test writes it.
struct Expected {
  std::int32_t rank;
  std::string op;
  PathWork work;
  PathCause cause;
  double us;
};

void expect_path(const CriticalPath& path, const Trace& trace, const std::vector<Expected>& expected) {
  ASSERT_EQ(path.segments.size(), expected.size());
  for (std::size_t s = 0; s < expected.size(); ++s) {
    const PathSegment& segment = path.segments[s];
    EXPECT_EQ(trace.rank[segment.event], expected[s].rank) << "segment " << s;
    EXPECT_EQ(trace.op_of(segment.event).name, expected[s].op) << "segment " << s;
    EXPECT_EQ(name_of(segment.work), name_of(expected[s].work)) << "segment " << s;
    EXPECT_EQ(name_of(segment.cause), name_of(expected[s].cause)) << "segment " << s;
    EXPECT_EQ(segment.time(), to_sim_time(Seconds(expected[s].us * 1e-6))) << "segment " << s;
  }
}

// What must hold of every path: it tiles the window of the slowest rank, by its ops' own times, and shares add up.
void expect_tiling(const CriticalPath& path, const Trace& trace) {
  const Breakdown breakdown = break_down(trace);
  EXPECT_EQ(path.begin, breakdown.begin);
  EXPECT_EQ(path.end, breakdown.end);
  ASSERT_FALSE(path.segments.empty());
  SimTime now = path.begin;
  std::int64_t rank_changes = 0;
  for (std::size_t s = 0; s < path.segments.size(); ++s) {
    const PathSegment& segment = path.segments[s];
    EXPECT_EQ(segment.begin, now) << "segment " << s;
    EXPECT_GT(segment.end, segment.begin) << "segment " << s;
    EXPECT_LE(segment.end, trace.ended[segment.event]) << "segment " << s;
    EXPECT_EQ(segment.work == PathWork::communication && segment.cause == PathCause::start, false) << "segment " << s;
    if (s > 0 && trace.rank[segment.event] != trace.rank[path.segments[s - 1].event]) ++rank_changes;
    now = segment.end;
  }
  EXPECT_EQ(now, path.end);
  EXPECT_EQ(path.rank_changes, rank_changes);
  for (const PathBy by : {PathBy::kind, PathBy::layer, PathBy::rank, PathBy::cause}) {
    SimTime sum(0);
    for (const PathShare& share : shares_of(path, trace, by)) sum += share.time;
    EXPECT_EQ(sum, path.window());
  }
}

// Rank 0 computes 3 us, rank 1 5 us; then 1,000 bytes are gathered: a ring step of 1 us, two chunks of 500 B in 1 us.
// Steps of 7 us end on both ranks at once, so the slowest is rank 0. Going back: its all_gather, which waited for
// rank 1; what rank 1 computed; the all_gather of the step before, as rank 1 saw it: it was the last to come; and so
// on.
TEST(CriticalPath, FollowsTheRankThatCameLast) {
  TinyProgram program(2);
  const GroupId group = program.group(2);
  const CommunicationId gather = program.communication(OpKind::all_gather, group);
  for (const std::int32_t rank : {0, 1}) {
    const std::size_t role = program.role({rank});
    program.compute(role, rank == 0 ? "short" : "long", rank == 0 ? 3 : 5);
    program.collective(role, "gather", gather, 1000);
    program.step_end(role);
  }
  const Trace trace = program.run(round_machine(1, 2), 1, 2);
  const CriticalPath path = find_critical_path(trace);
  EXPECT_EQ(path.rank, 0);
  EXPECT_EQ(path.steps, 2);
  EXPECT_EQ(path.window(), to_sim_time(Seconds(14e-6)));
  EXPECT_EQ(path.rank_changes, 1);
  expect_path(path, trace,
              {{1, "long", PathWork::compute, PathCause::stream, 5},
               {1, "gather", PathWork::communication, PathCause::stream, 2},
               {1, "long", PathWork::compute, PathCause::stream, 5},
               {0, "gather", PathWork::communication, PathCause::peer, 2}});
  expect_tiling(path, trace);
  const auto kinds = shares_of(path, trace, PathBy::kind);
  ASSERT_EQ(kinds.size(), 2U);
  EXPECT_EQ(kinds[0].name, "compute gemm");
  EXPECT_EQ(kinds[0].segments, 2);
  EXPECT_EQ(kinds[1].name, "communication all_gather");
  EXPECT_EQ(kinds[1].time, to_sim_time(Seconds(4e-6)));
}

// `side` takes 6 us on a stream of its own from the step's begin, `main` 4 us; `join` needs both: 1 us. main has 2 us
// to spare and is not on the path of 7 us.
TEST(CriticalPath, TakesTheDependencyThatEndedLast) {
  TinyProgram program(1);
  const std::size_t role = program.role({0});
  const OpId end(std::int32_t{3});
  const OpId side = program.compute(role, "side", 6, {{{end, 1}}, plan::Stream{4}});
  program.compute(role, "main", 4);
  program.compute(role, "join", 1, {{{side, 0}}});
  ASSERT_EQ(program.step_end(role), end);
  const Trace trace = program.run(round_machine(1, 1), 1, 1);
  const CriticalPath path = find_critical_path(trace);
  expect_path(path, trace,
              {{0, "side", PathWork::compute, PathCause::dependency, 6},
               {0, "join", PathWork::compute, PathCause::dependency, 1}});
  EXPECT_EQ(path.rank_changes, 0);
  expect_tiling(path, trace);
}

// Rank 0: 3 us, then 1,000 bytes to rank 1: 1 us of latency and 1 us. Rank 1: 2 us with them. Rank 0 starts every 5 us
// and rank 1 ends at 7 and 12 us. In that window: rank 0 computes from 5 to 8 us, of which 1 us counts, sends until 10.
TEST(CriticalPath, EndsWhereTheWindowBegins) {
  TinyProgram program(2);
  const CommunicationId message = program.communication(OpKind::send);
  const std::size_t source = program.role({0});
  program.compute(source, "produce", 3);
  program.send(source, "send", message, 1, 1000);
  const std::size_t sink = program.role({1});
  program.recv(sink, "recv", message, -1, 1000);
  program.compute(sink, "consume", 2);
  program.step_end(sink);
  const Trace trace = program.run(round_machine(1, 2), 1, 1);
  const CriticalPath path = find_critical_path(trace);
  EXPECT_EQ(path.rank, 1);
  expect_path(path, trace,
              {{0, "produce", PathWork::compute, PathCause::stream, 1},
               {1, "recv", PathWork::communication, PathCause::peer, 2},
               {1, "consume", PathWork::compute, PathCause::stream, 2}});
  EXPECT_EQ(path.rank_changes, 1);
  expect_tiling(path, trace);
}

// Three ranks compute 1, 2 and 9 us and dispatch: 0 sends 1 a row, 2 sends 1 a row, 5 us of latency and 1 us each. What
// rank 1 waits for is the row of rank 2, from 9 to 15 us. Rank 2 ends with it, so of two slowest the lower is rank 1.
TEST(CriticalPath, FollowsTheMessageThatEndedLast) {
  TinyProgram program(3);
  const CommunicationId dispatch = program.communication(OpKind::dispatch, program.group(3));
  for (const std::int32_t rank : {0, 1, 2}) {
    const std::size_t role = program.role({rank});
    program.compute(role, "work" + std::to_string(rank), std::vector<double>{1, 2, 9}[static_cast<std::size_t>(rank)]);
    program.exchange(role, "dispatch", dispatch);
    program.step_end(role);
  }
  program.pairs = {{0, 1, 1}, {2, 1, 1}};
  Trace trace = program.run(round_machine(1, 3), 1, 1);
  const CriticalPath path = find_critical_path(trace);
  const std::vector<Expected> expected{{2, "work2", PathWork::compute, PathCause::stream, 9},
                                       {1, "dispatch", PathWork::communication, PathCause::peer, 6}};
  expect_path(path, trace, expected);
  for (std::size_t e = 0; e < trace.size(); ++e)
    if (trace.op_of(e).name == "dispatch") {
      EXPECT_EQ(trace.last_peer[e], std::vector<std::int32_t>({1, 2, 1})[static_cast<std::size_t>(trace.rank[e])]);
    } else {
      EXPECT_EQ(trace.last_peer[e], -1);
    }
  // A trace that does not know takes the side that was posted last: here the same.
  trace.last_peer.clear();
  expect_path(find_critical_path(trace), trace, expected);
}

// Rank 0 has 20 rows for rank 1 and both are there at 1 us: until 26 us at least. Rank 2 comes at 9 us with one row for
// rank 1, which shares rank 1's link and ends first. So rank 2, though last to come, is not what rank 1 waits for. An
// all_gather at the end of a step keeps rank 2 from running ahead.
TEST(CriticalPath, TheLastToComeNeedNotBeTheLastToEnd) {
  TinyProgram program(3);
  const GroupId group = program.group(3);
  const CommunicationId dispatch = program.communication(OpKind::dispatch, group);
  const CommunicationId gather = program.communication(OpKind::all_gather, group);
  for (const std::int32_t rank : {0, 1, 2}) {
    const std::size_t role = program.role({rank});
    program.compute(role, "work" + std::to_string(rank), rank == 2 ? 9 : 1);
    program.exchange(role, "dispatch", dispatch);
    program.collective(role, "gather", gather, 1000);
    program.step_end(role);
  }
  program.pairs = {{0, 1, 20}, {2, 1, 1}};
  Trace trace = program.run(round_machine(1, 3), 1, 2);
  const CriticalPath path = find_critical_path(trace);
  expect_tiling(path, trace);
  for (const PathSegment& segment : path.segments) EXPECT_NE(trace.rank[segment.event], 2);
  // Who does not know which message was the last has to take the last to come.
  trace.last_peer.clear();
  const auto ranks = shares_of(find_critical_path(trace), trace, PathBy::rank);
  EXPECT_TRUE(std::any_of(ranks.begin(), ranks.end(), [](const PathShare& share) { return share.name == "rank 2"; }));
}

// Two blocks of 2 us run as they become ready: the second after 3 us, the first after 4. So the second runs from 3 to 5
// and the first from 5 to 7, because its stream was busy.
TEST(CriticalPath, BlocksOfAnArrivalSetFollowEachOtherAsTheyRan) {
  TinyProgram program(1);
  const std::size_t role = program.role({0});
  const OpId end(std::int32_t{4});
  const OpId late = program.compute(role, "late", 4, {{{end, 1}}, plan::Stream{4}});
  const OpId early = program.compute(role, "early", 3, {{{end, 1}}, plan::Stream{5}});
  program.block(role, "block0", 2, 0, {{{late, 0}}});
  program.block(role, "block1", 2, 1, {{{early, 0}}});
  ASSERT_EQ(program.step_end(role), end);
  const Trace trace = program.run(round_machine(1, 1), 1, 1);
  const CriticalPath path = find_critical_path(trace);
  expect_path(path, trace,
              {{0, "early", PathWork::compute, PathCause::dependency, 3},
               {0, "block1", PathWork::compute, PathCause::dependency, 2},
               {0, "block0", PathWork::compute, PathCause::stream, 2}});
  expect_tiling(path, trace);
}

// A trace of one rank as a live run might have it: 40 ns of gemm, 5 ns until the all_reduce begins and 25 ns of it, 20
// ns of norm, 10 ns until the step ends. An all_reduce among one has nobody to wait for: all 30 ns are its own.
TEST(CriticalPath, WhatNobodyIsWaitedForIsAGap) {
  Trace trace = test::steady({}).trace;
  auto& ops = trace.roles[0];
  ops[1].after = {{0, 0}};
  ops[1].meets = TraceMeeting{};
  ops[2].after = {{1, 0}};
  ASSERT_TRUE(says_who_waits(trace));
  const CriticalPath path = find_critical_path(trace);
  const std::vector<Expected> step{{0, "l0.qkv", PathWork::compute, PathCause::stream, 0.040},
                                   {0, "l0.reduce", PathWork::communication, PathCause::dependency, 0.030},
                                   {0, "l1.norm", PathWork::compute, PathCause::dependency, 0.020},
                                   {0, "end", PathWork::gap, PathCause::stream, 0.010}};
  std::vector<Expected> both = step;
  both.insert(both.end(), step.begin(), step.end());
  expect_path(path, trace, both);
  expect_tiling(path, trace);
  const auto layers = shares_of(path, trace, PathBy::layer);
  ASSERT_EQ(layers.size(), 3U);
  EXPECT_EQ(layers[0].name, "layer 0");
  EXPECT_EQ(layers[0].time, SimTime(140'000));
  EXPECT_EQ(layers[2].name, "no layer");
}

// Events in any order are found all the same.
TEST(CriticalPath, TheOrderOfEventsDoesNotMatter) {
  Trace trace = test::steady({}).trace;
  trace.roles[0][1].meets = TraceMeeting{};
  const CriticalPath path = find_critical_path(trace);
  Trace turned = trace;
  for (auto* column : {&turned.rank, &turned.op, &turned.step}) std::reverse(column->begin(), column->end());
  for (auto* column : {&turned.posted, &turned.begun, &turned.ended}) std::reverse(column->begin(), column->end());
  const CriticalPath same = find_critical_path(turned);
  ASSERT_EQ(same.segments.size(), path.segments.size());
  for (std::size_t s = 0; s < path.segments.size(); ++s) {
    EXPECT_EQ(same.segments[s].begin, path.segments[s].begin);
    EXPECT_EQ(trace.size() - 1 - same.segments[s].event, path.segments[s].event);
  }
}

// All ops at one instant, and the first one needs the last: nobody could have run that.
TEST(CriticalPath, ACircleIsAnError) {
  Trace trace = test::steady({0, 0, 0, 0, 10'000}).trace;
  trace.roles[0][1].meets = TraceMeeting{};
  trace.roles[0][0].after = {{2, 0}};
  try {
    find_critical_path(trace);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("wait for one another in a circle"));
  }
}

TEST(CriticalPath, NeedsATraceThatSaysWhoWaits) {
  const Trace trace = test::steady({}).trace;
  EXPECT_FALSE(says_who_waits(trace));
  EXPECT_THROW(find_critical_path(trace), Error);
}

// In simulated time nothing happens without a cause: there are no gaps, and nothing but the first segment has none.
TEST(CriticalPath, RandomProgramsAreTiledExactly) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const TinyProgram program = test::random_program(seed, {});
    const Trace trace = program.run(round_machine(1, program.program().ranks), 1, 3);
    if (break_down(trace).window() == SimTime(0)) continue;
    const CriticalPath path = find_critical_path(trace);
    expect_tiling(path, trace);
    for (std::size_t s = 0; s < path.segments.size(); ++s) {
      EXPECT_NE(path.segments[s].work, PathWork::gap) << "segment " << s;
      EXPECT_TRUE(s == 0 || path.segments[s].cause != PathCause::start) << "segment " << s;
    }
  }
}

class PaperScenario : public ::testing::TestWithParam<const char*> {};

TEST_P(PaperScenario, IsTiledByItsCriticalPath) {
  const JsonDocument document = JsonDocument::from_file(std::string("scenarios/paper/") + GetParam());
  const plan::Scenario scenario = plan::parse_scenario(document);
  const plan::Topology topology = plan::read_topology(scenario.cluster.topology);
  const plan::Machine machine = plan::build_machine(topology);
  const Trace trace =
      sim::simulate(plan::make_plan(scenario, machine), machine, read_calibration(topology.calibration));
  const CriticalPath path = find_critical_path(trace);
  expect_tiling(path, trace);
  for (const PathSegment& segment : path.segments) EXPECT_NE(segment.work, PathWork::gap);
}

INSTANTIATE_TEST_SUITE_P(All, PaperScenario,
                         ::testing::Values("baseline-tp8-pp2.json", "large-ep64.json", "scaling-ep16.json"));

}  // namespace
}  // namespace foretoken::explain
