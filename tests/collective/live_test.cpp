// Live runs on threads: that every operation runs, and what is refused. Times are not asserted.
#include "tools/collective/live.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "core/error.hpp"

namespace foretoken::collective {
namespace {

using ::testing::HasSubstr;

std::optional<runtime::RunResult> by_threads(const plan::Plan& plan) {
  runtime::RunOptions options;
  options.instrumented = false;
  return runtime::run_threads(plan, options);
}

Query live_query(Operation op, std::int32_t ranks, const std::string& algorithm = "auto") {
  Query query;
  query.op = op;
  query.ranks = ranks;
  query.algorithm = algorithm;
  query.sizes = {4, 6000};
  return query;
}

TEST(CollectiveLive, EveryOperationRuns) {
  for (const Operation op : {Operation::all_reduce, Operation::all_gather, Operation::reduce_scatter,
                             Operation::all_to_all, Operation::all_to_all_v, Operation::send_recv}) {
    for (const std::int32_t ranks : {1, 2, 3}) {
      const std::optional<Table> table = measure(live_query(op, ranks), 3, by_threads);
      ASSERT_TRUE(table) << name_of(op);
      ASSERT_EQ(table->rows.size(), 2U) << name_of(op) << " " << ranks;
      EXPECT_EQ(table->communicator, "threads");
      EXPECT_EQ(table->clock, "wall");
      EXPECT_GT(table->rows[1].time, Seconds(0));
      EXPECT_EQ(table->rows[1].size, Bytes(6000));  // 1,500 elements, a multiple of 1, 2 and 3
    }
  }
}

TEST(CollectiveLive, AlgorithmsAreTheHosts) {
  EXPECT_EQ(measure(live_query(Operation::all_reduce, 2), 2, by_threads)->rows[0].algorithm, "ring");
  EXPECT_EQ(measure(live_query(Operation::all_reduce, 2, "direct"), 2, by_threads)->rows[0].algorithm, "direct");
  EXPECT_EQ(measure(live_query(Operation::all_to_all, 3, "pairwise"), 2, by_threads)->rows[0].algorithm, "pairwise");
  const auto message = [](const Query& query) {
    try {
      (void)measure(query, 2, by_threads);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_input);
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_THAT(message(live_query(Operation::all_reduce, 2, "tree")), HasSubstr("a host has none"));
  EXPECT_THAT(message(live_query(Operation::all_reduce, 2, "nvls")), HasSubstr("cannot add up"));
  EXPECT_THAT(message(live_query(Operation::send_recv, 2, "ring")), HasSubstr("no such algorithm"));
  EXPECT_THAT(message(live_query(Operation::dispatch, 2)), HasSubstr("not run by itself"));
  Query half = live_query(Operation::all_reduce, 2);
  half.dtype = DType::fp16;
  EXPECT_THAT(message(half), HasSubstr("fp32 alone"));
}

// 3 ranks, all-to-all: each sends to two others and receives from them; the pairwise ones queue on one stream each way.
TEST(CollectiveLive, PlansHaveTheMessagesOfTheOperation) {
  for (const char* algorithm : {"direct", "pairwise"}) {
    const plan::Plan plan = live_plan(live_query(Operation::all_to_all, 3, algorithm), Bytes(36), 2);
    EXPECT_EQ(plan.program.communications.size(), 6U);
    ASSERT_EQ(plan.program.roles.size(), 3U);
    std::set<plan::Stream> streams;
    for (const plan::Op& op : plan.program.roles[0].ops)
      if (is_communication(op.kind)) streams.insert(op.stream);
    EXPECT_EQ(streams.size(), std::string(algorithm) == "direct" ? 4U : 2U);
  }
  // Plans of other sizes, or of another algorithm, are other plans: MPI ranks compare them.
  EXPECT_NE(live_plan(live_query(Operation::all_to_all, 3), Bytes(36), 2).plan_hash,
            live_plan(live_query(Operation::all_to_all, 3), Bytes(72), 2).plan_hash);
  EXPECT_EQ(live_plan(live_query(Operation::all_reduce, 2), Bytes(64), 2).plan_hash,
            live_plan(live_query(Operation::all_reduce, 2), Bytes(64), 2).plan_hash);
}

}  // namespace
}  // namespace foretoken::collective
