#include "core/breakdown.hpp"

#include <gtest/gtest.h>

#include "core/error.hpp"

namespace foretoken {
namespace {

// A trace of one role, built event by event; times in picoseconds.
struct Timeline {
  Trace trace;
  explicit Timeline(std::int64_t ranks) {
    trace.ranks = ranks;
    trace.warmup_steps = 1;
    trace.steps = 1;
    trace.role_of_rank.assign(static_cast<std::size_t>(ranks), 0);
    trace.roles = {{{"a", "gemm", "compute", false},
                    {"b", "norm", "compute", false},
                    {"c", "all_reduce", "communication", true},
                    {"d", "recv", "pipeline_recv", true},
                    {"end", "step_end", "compute", false}}};
  }
  void add(std::int32_t rank, std::int32_t step, std::int32_t op, std::int64_t posted, std::int64_t begun,
           std::int64_t ended, Provenance provenance = Provenance::measured) {
    trace.rank.push_back(rank);
    trace.step.push_back(step);
    trace.op.push_back(op);
    trace.posted.emplace_back(posted);
    trace.begun.emplace_back(begun);
    trace.ended.emplace_back(ended);
    trace.provenance.push_back(provenance);
  }
};

std::int64_t time_of(const std::vector<BreakdownPart>& parts, const std::string& kind) {
  for (const BreakdownPart& part : parts) {
    if (part.kind == kind) return part.time.value();
  }
  return 0;
}

// Window 100..200 of rank 0:
//   gemm        100..130 (begun at 90: 30 in the window)
//   all_reduce  posted 120, begun 125, ended 150:   125..130 hidden under gemm, 130..150 exposed
//   norm        160..180
//   recv        posted 150, begun 170, ended 190:   150..160 waiting, 170..180 hidden under norm, 180..190 exposed
//   190..200    nothing: idle
TEST(Breakdown, TilesTheWindowByHand) {
  Timeline timeline(1);
  timeline.add(0, 0, 4, 100, 100, 100);
  timeline.add(0, 0, 0, 90, 90, 130, Provenance::interpolated);
  timeline.add(0, 1, 2, 120, 125, 150, Provenance::extrapolated);
  timeline.add(0, 1, 1, 160, 160, 180, Provenance::assumed);
  timeline.add(0, 1, 3, 150, 170, 190, Provenance::extrapolated);
  timeline.add(0, 1, 4, 200, 200, 200);
  const Breakdown breakdown = break_down(timeline.trace);
  EXPECT_EQ(breakdown.window(), SimTime(100));
  EXPECT_EQ(time_of(breakdown.compute, "gemm"), 30);
  EXPECT_EQ(time_of(breakdown.compute, "norm"), 20);
  EXPECT_EQ(time_of(breakdown.exposed, "all_reduce"), 20);
  EXPECT_EQ(time_of(breakdown.exposed, "recv"), 10);
  EXPECT_EQ(time_of(breakdown.waiting, "recv"), 10);
  EXPECT_EQ(time_of(breakdown.waiting, "all_reduce"), 0);  // gemm was running
  EXPECT_EQ(breakdown.idle, SimTime(10));
  EXPECT_EQ(time_of(breakdown.hidden, "all_reduce"), 5);
  EXPECT_EQ(time_of(breakdown.hidden, "recv"), 10);
  // 80 of 100 are busy: gemm 30, norm 20, exposed 30.
  EXPECT_DOUBLE_EQ(breakdown.share(Provenance::interpolated), 30.0 / 80);
  EXPECT_DOUBLE_EQ(breakdown.share(Provenance::assumed), 20.0 / 80);
  EXPECT_DOUBLE_EQ(breakdown.share(Provenance::extrapolated), 30.0 / 80);
}

// Two communications at once: the one that began first has the instant.
TEST(Breakdown, OfTwoThatOverlapTheEarlierHasTheInstant) {
  Timeline timeline(1);
  timeline.add(0, 0, 4, 0, 0, 0);
  timeline.add(0, 1, 3, 10, 10, 30);
  timeline.add(0, 1, 2, 20, 20, 50);
  timeline.add(0, 1, 4, 50, 50, 50);
  const Breakdown breakdown = break_down(timeline.trace);
  EXPECT_EQ(time_of(breakdown.exposed, "recv"), 20);
  EXPECT_EQ(time_of(breakdown.exposed, "all_reduce"), 20);
  EXPECT_EQ(breakdown.idle, SimTime(10));
}

TEST(Breakdown, IsOfTheRankThatEndsLastAndOfTheLowestAmongEquals) {
  for (const std::int64_t last : {50, 40}) {
    Timeline timeline(3);
    for (std::int32_t rank = 0; rank < 3; ++rank) {
      timeline.add(rank, 0, 4, rank, rank, rank);
      const std::int64_t end = rank == 2 ? last : 40;
      timeline.add(rank, 1, 4, end, end, end);
    }
    EXPECT_EQ(break_down(timeline.trace).rank, last == 50 ? 2 : 0);
  }
}

TEST(Breakdown, RefusesATraceWithoutStepEnd) {
  Timeline timeline(1);
  timeline.add(0, 0, 0, 0, 0, 10);
  EXPECT_THROW(break_down(timeline.trace), Error);
  timeline.add(0, 1, 4, 10, 10, 10);  // of the counted step only
  EXPECT_THROW(break_down(timeline.trace), Error);
}

}  // namespace
}  // namespace foretoken
