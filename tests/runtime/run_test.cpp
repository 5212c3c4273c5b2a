// Live runs by threads against the plain single-rank reference: every way to deploy the tiny model gives its
// activations.
#include "runtime/run.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "core/error.hpp"
#include "runtime/machine_identity.hpp"
#include "tests/runtime/agreement.hpp"
#include "tests/runtime/small_plan.hpp"

namespace foretoken::test {
namespace {

using runtime::run_threads;
using runtime::RunOptions;
using runtime::RunResult;
using testing::HasSubstr;

struct Deployment {
  std::string name;
  Settings settings;
};

std::string name_of(const testing::TestParamInfo<Deployment>& info) { return info.param.name; }

const Settings kDispatch{R"(deployment.experts={"placement":"round_robin","exchange":"dispatch"})"};

Settings with(Settings settings, const Settings& more) {
  settings.insert(settings.end(), more.begin(), more.end());
  return settings;
}

Settings attention(int tp, int dp) { return {fmt::format("deployment.attention={{\"tp\":{},\"dp\":{}}}", tp, dp)}; }

std::vector<Deployment> deployments() {
  const Settings pipeline{R"(deployment.pipeline={"stages":2,"schedule":"flush"})"};
  const Settings flow{R"(deployment.pipeline={"stages":2,"schedule":"flow"})"};
  const Settings replicated{R"(deployment.pipeline={"stages":3,"schedule":"flow","transfer":"replicated"})"};
  const Settings sharded{"deployment.experts.placement=sharded"};
  const Settings dense{"model.dense_layers=1", "model.dense_hidden=40"};
  const Settings shared{"model.shared_experts=2"};
  const Settings gated{"model.gated=true"};
  const Settings gqa{"model.kv_heads=2"};
  const Settings zipf{R"(routing={"kind":"zipf","exponent":2.5,"seed":3,"routed_steps":2})"};
  const Settings one{"workload.sequences=1"};
  const Settings colocated{R"(deployment.experts={"placement":"colocated","exchange":"dispatch"})"};
  const auto batches = [](int n) { return Settings{fmt::format("deployment.micro_batches={}", n)}; };
  const Settings two_batch = with(batches(2), {"deployment.overlap=two_batch"});
  const auto stages = [](int chunks) {
    return Settings{"deployment.overlap=micro_stages", fmt::format("deployment.chunks={}", chunks)};
  };
  const auto collectives = [](const std::string& name) {
    return Settings{fmt::format(
        R"(deployment.collectives={{"all_reduce":"{0}","all_gather":"{0}","reduce_scatter":"{0}"}})", name)};
  };
  const Settings many{"model.heads=8", "model.experts=64", "workload.sequences=67"};
  return {
      {"one_rank", {}},
      {"one_rank_everything", with(with(with(dense, shared), gated), with(gqa, zipf))},
      {"one_rank_odd_head", {"model.head_dim=5", "workload.context=0"}},
      {"top1", {"model.top_k=1"}},
      {"top3", {"model.top_k=3"}},
      {"micro_batches", batches(3)},
      {"tp2", attention(2, 1)},
      {"tp2_direct", with(attention(2, 1), collectives("direct"))},
      {"tp4", attention(4, 1)},
      {"tp4_everything", with(with(with(attention(4, 1), dense), with(shared, gated)), with(gqa, zipf))},
      {"tp4_direct", with(attention(4, 1), collectives("direct"))},
      {"tp4_round_robin", with(attention(4, 1), {"deployment.experts.placement=round_robin", "model.experts=3"})},
      {"tp4_one_token", with(attention(4, 1), one)},
      {"tp2_dp2", attention(2, 2)},
      {"sharded_tp4", with(with(attention(4, 1), sharded), with(gated, shared))},
      {"pp2", pipeline},
      {"pp2_flow", with(flow, batches(3))},
      {"tp2_pp2_flush_uneven", with(with(attention(2, 1), pipeline), batches(3))},
      {"tp2_pp2_flow_uneven", with(with(attention(2, 1), flow), batches(3))},
      {"tp4_pp2_uneven_slices",
       with(with(attention(4, 1), flow), {"workload.sequences=7", "deployment.micro_batches=2"})},
      {"tp2_pp3_replicated", with(with(attention(2, 1), replicated), batches(2))},
      {"tp2_two_batch", with(attention(2, 1), two_batch)},
      {"ep4", with(kDispatch, attention(1, 4))},
      {"ep4_colocated", with(with(colocated, attention(1, 4)), {"model.experts=8"})},
      {"ep4_everything",
       with(with(with(kDispatch, attention(1, 4)), with(dense, shared)), with(with(gated, gqa), zipf))},
      {"ep4_one_token", with(with(kDispatch, attention(1, 4)), one)},
      {"ep4_uneven", with(with(kDispatch, attention(1, 4)), {"workload.sequences=7"})},
      {"ep4_few_experts", with(with(kDispatch, attention(1, 4)), {"model.experts=3"})},
      {"ep4_many_experts", with(with(kDispatch, attention(1, 4)), {"model.experts=11", "model.top_k=3"})},
      {"ep4_tp2_dp2", with(kDispatch, attention(2, 2))},
      {"ep4_tp4", with(with(kDispatch, attention(4, 1)), with(gqa, {"workload.sequences=6"}))},
      {"ep4_tp2_dp2_direct", with(with(kDispatch, attention(2, 2)), collectives("direct"))},
      {"ep4_tp2_dp2_dense_uneven", with(with(with(kDispatch, attention(2, 2)), dense), {"workload.sequences=7"})},
      {"ep4_two_batch", with(with(kDispatch, attention(1, 4)), two_batch)},
      {"ep4_tp2_dp2_two_batch", with(with(with(kDispatch, attention(2, 2)), two_batch), shared)},
      {"ep4_micro_stages", with(with(kDispatch, attention(1, 4)), stages(2))},
      {"ep4_micro_stages_4", with(with(with(kDispatch, attention(1, 4)), stages(4)), with(zipf, {"model.experts=9"}))},
      {"ep4_tp2_dp2_micro_stages", with(with(kDispatch, attention(2, 2)), with(stages(2), batches(2)))},
      {"ep2_of_4",
       with(attention(1, 4), {R"(deployment.experts={"placement":"colocated","exchange":"dispatch","ep":2})"})},
      {"ep2_pp2", with(with(kDispatch, attention(1, 2)), with(flow, batches(2)))},
      {"ranks16", with(with(kDispatch, attention(2, 8)), {"model.experts=16", "workload.sequences=33"})},
      {"ranks16_tp4_pp4",
       with(attention(4, 1),
            with({"model.layers=4", R"(deployment.pipeline={"stages":4,"schedule":"flow"})"}, batches(4)))},
      {"ranks64", with(with(kDispatch, attention(8, 8)), many)},
      {"ranks64_micro_stages", with(with(kDispatch, attention(1, 64)), with(many, stages(8)))},
  };
}

class Deployed : public testing::TestWithParam<Deployment> {};

TEST_P(Deployed, GivesTheActivationsOfOneRank) {
  const plan::Plan plan = small_plan(GetParam().settings);
  const RunResult result = run_threads(plan);
  EXPECT_LT(difference(result, expected(plan)), kTolerance);

  // The same to the bit a second time, whatever the threads' interleaving.
  RunOptions again;
  again.instrumented = false;
  EXPECT_EQ(run_threads(plan, again).activations_hash, result.activations_hash);

  // Every op of every rank and step: posted <= begun <= ended.
  ASSERT_TRUE(result.trace);
  const Trace& trace = *result.trace;
  EXPECT_EQ(trace.cpu.size(), trace.size());
  for (std::size_t i = 0; i < trace.size(); ++i) {
    ASSERT_GE(trace.posted[i].value(), 0) << trace.op_of(i).name;
    ASSERT_LE(trace.posted[i], trace.begun[i]) << trace.op_of(i).name;
    ASSERT_LE(trace.begun[i], trace.ended[i]) << trace.op_of(i).name;
  }
}

INSTANTIATE_TEST_SUITE_P(Run, Deployed, testing::ValuesIn(deployments()), name_of);

// The last step of two cycles is routed step 1, of one step more routed step 0: inputs and routes follow the step.
TEST(Run, FollowsTheRoutedStep) {
  const Settings settings = with(kDispatch, attention(1, 2));
  for (const int warmup : {1, 2}) {
    const plan::Plan plan = small_plan(with(settings, {fmt::format("measure.warmup_steps={}", warmup)}));
    EXPECT_LT(difference(run_threads(plan), expected(plan)), kTolerance) << warmup;
  }
}

// ---- the comparison notices ----------------------------------------------------------------------------------------

TEST(Run, OneWeightOfOneExpertMattersToTheComparison) {
  const plan::Plan plan = small_plan(with(kDispatch, attention(1, 4)));
  ReferenceFaults faults;
  faults.expert_up = [](std::int64_t layer, std::int64_t expert, std::int64_t row, std::int64_t col, double value) {
    return layer == 1 && expert == 2 && row == 3 && col == 4 ? value + 0.25 : value;
  };
  EXPECT_GT(difference(run_threads(plan), expected(plan, faults)), 10 * kTolerance);
}

TEST(Run, OneTokenAtAWrongExpertMattersToTheComparison) {
  const plan::Plan plan = small_plan(with(kDispatch, attention(1, 4)));
  ReferenceFaults faults;
  faults.experts = [](std::int64_t layer, std::int64_t token, std::vector<std::int32_t>& experts) {
    if (layer != 2 || token != 5) return;
    for (std::int32_t& expert : experts) expert = (expert + 1) % 4;
  };
  EXPECT_GT(difference(run_threads(plan), expected(plan, faults)), 10 * kTolerance);
}

// ---- metrics and events --------------------------------------------------------------------------------------------

// Little's law: TPS x mean TPOT = sequences, exactly where every batch has the same window, and else up to how far a
// window that is not periodic shifts its ends.
TEST(Run, ThroughputTimesLatencyIsTheSequencesDecoding) {
  for (const Settings& settings : {Settings{}, with(kDispatch, attention(1, 4)), attention(4, 1)}) {
    const RunResult result = run_threads(small_plan(with(settings, {"measure.steps=20"})));
    EXPECT_EQ(result.headline.clock, "wall");
    EXPECT_NEAR(result.metrics.tps * result.metrics.tpot.mean.value(), 8, 8 * 0.2);
    EXPECT_EQ(result.metrics.tokens, 160);
  }
}

// Ranks begin at different times, and share one clock: nothing is received before its sending was posted.
TEST(Run, NothingArrivesBeforeItIsSent) {
  const plan::Plan plan = small_plan(
      {R"(deployment.pipeline={"stages":3,"schedule":"flow"})", "deployment.micro_batches=3", "measure.steps=10"});
  const RunResult result = run_threads(plan);
  const Trace& trace = result.trace.value();
  std::map<std::pair<std::int32_t, std::int32_t>, std::pair<SimTime, SimTime>> messages;  // posted, arrived
  for (std::size_t e = 0; e < trace.size(); ++e) {
    const TraceOp& op = trace.op_of(e);
    if (!op.meets) continue;
    auto& [posted, arrived] = messages[{op.meets->communication, trace.step[e]}];
    if (op.kind == "send") posted = trace.posted[e];
    if (op.kind == "recv") arrived = trace.ended[e];
  }
  EXPECT_GT(messages.size(), 50U);
  for (const auto& [which, times] : messages)
    EXPECT_LE(times.first, times.second) << which.first << " " << which.second;
}

TEST(Run, TellsWhatItRanOn) {
  const plan::Plan plan = small_plan(attention(2, 1));
  const RunResult result = run_threads(plan);
  EXPECT_EQ(result.plan_hash, plan.plan_hash);
  EXPECT_EQ(result.communicator, "threads");
  ASSERT_EQ(result.machines.size(), 1U);
  EXPECT_THAT(result.machines[0].blas, HasSubstr("OpenBLAS"));
  EXPECT_GE(result.machines[0].cores, 1);
  EXPECT_THAT(result.machine_of_rank, testing::ElementsAre(0, 0));
  ASSERT_EQ(result.cpu_per_step.size(), 2U);
  EXPECT_GT(result.cpu_per_step[0].value(), 0);
  ASSERT_TRUE(result.overhead);
  RunOptions headline_only;
  headline_only.instrumented = false;
  EXPECT_FALSE(run_threads(plan, headline_only).trace);
}

// Asked for by many ranks at once, over and over: OpenBLAS' own text is put together in a buffer that threads share.
TEST(Run, RanksOfOneProcessAgreeOnTheirMachine) {
  for (int round = 0; round < 20; ++round) {
    std::vector<runtime::MachineIdentity> found(8);
    {
      std::vector<std::jthread> threads;
      for (runtime::MachineIdentity& one : found) threads.emplace_back([&one] { one = runtime::this_machine(); });
    }
    for (const runtime::MachineIdentity& one : found) EXPECT_EQ(one, found.front());
  }
}

// ---- failures ------------------------------------------------------------------------------------------------------

std::string failure_of(const plan::Plan& plan, const RunOptions& options, ErrorCode code) {
  try {
    static_cast<void>(run_threads(plan, options));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

TEST(RunFailure, OfOneRankEndsAllAndNamesRankStepAndOp) {
  RunOptions options;
  options.before_op = [](RankId rank, std::int64_t step, const plan::Op& op) {
    if (rank.value() == 2 && step == 1 && op.name == "l1.m0.route") throw std::runtime_error("out of smoke");
  };
  const std::string message = failure_of(small_plan(with(kDispatch, attention(1, 4))), options, ErrorCode::rank_failed);
  EXPECT_THAT(message, HasSubstr("rank 2 failed: on "));
  EXPECT_THAT(message, HasSubstr("out of smoke"));
  EXPECT_THAT(message, HasSubstr("step 1 at l1.m0.route"));
}

TEST(RunFailure, OfARankThatStallsIsNoticedByTheOthers) {
  RunOptions options;
  options.step_deadline = std::chrono::milliseconds(400);
  options.before_op = [](RankId rank, std::int64_t step, const plan::Op& op) {
    if (rank.value() == 3 && step == 2 && op.name == "l2.m0.qkv") std::this_thread::sleep_for(std::chrono::seconds(3));
  };
  const std::string message = failure_of(small_plan(attention(4, 1)), options, ErrorCode::rank_failed);
  EXPECT_THAT(message, HasSubstr("nothing has moved for 0.4 s"));
  EXPECT_THAT(message, HasSubstr("rank 3 is furthest behind, in step 2 at l2.m0.qkv"));
}

TEST(RunFailure, OtherDtypesAreRefusedWithTheSettingThatHelps) {
  const std::string message =
      failure_of(small_plan({R"(model.dtype={"weights":"bf16"})"}), {}, ErrorCode::invalid_input);
  EXPECT_THAT(message, HasSubstr(R"(--set 'model.dtype={"weights":"fp32"}')"));
}

TEST(RunFailure, ASwitchThatAddsIsNotHere) {
  const plan::Plan plan = small_plan(with(attention(2, 1), {R"(deployment.collectives={"all_reduce":"nvls"})"}), true);
  const std::string message = failure_of(plan, {}, ErrorCode::invalid_input);
  EXPECT_THAT(message, HasSubstr("--set deployment.collectives.all_reduce=ring"));
}

TEST(RunFailure, TreesAreNotHere) {
  const plan::Plan plan = small_plan(with(attention(2, 1), {R"(deployment.collectives={"all_reduce":"tree"})"}), true);
  const std::string message = failure_of(plan, {}, ErrorCode::invalid_input);
  EXPECT_THAT(message, HasSubstr("along trees of nodes (tree)"));
  EXPECT_THAT(message, HasSubstr("--set deployment.collectives.all_reduce=ring"));
}

// 64 sequences x 16 M positions x 2 x 32 columns x 4 bytes = 275 GB per layer, on every machine that runs tests too
// much.
TEST(RunFailure, MoreMemoryThanThereIsIsRefusedBeforehand) {
  const plan::Plan plan = small_plan({"workload.sequences=64", "workload.context=16000000", "model.layers=16"});
  EXPECT_THAT(failure_of(plan, {}, ErrorCode::infeasible), HasSubstr("the 1 ranks on this machine need"));
}

}  // namespace
}  // namespace foretoken::test
