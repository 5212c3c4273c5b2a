// Probes: what is measured, and that it runs.
#include "calibrate/measure/probes.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "calibrate/measure/cache_curve.hpp"
#include "calibrate/measure/communication_probe.hpp"
#include "calibrate/measure/communications_only.hpp"
#include "calibrate/measure/compute_probe.hpp"
#include "calibrate/measure/probe_plan.hpp"
#include "core/error.hpp"
#include "plan/program/validate.hpp"
#include "runtime/run.hpp"

namespace foretoken::calibrate {
namespace {

using ::testing::HasSubstr;
using Settings = std::vector<std::string>;

std::optional<runtime::RunResult> by_threads(const plan::Plan& plan) { return runtime::run_threads(plan); }

// Every way of deploying that has communication of its own.
std::vector<Settings> deployments() {
  const std::string dispatch = "deployment.experts.exchange=dispatch";
  return {{"deployment.attention.tp=2", "deployment.experts.ep=2"},
          {"deployment.attention.tp=2", "deployment.experts.ep=2", dispatch},
          {"deployment.attention.dp=4", "deployment.experts.ep=4", dispatch},
          {"deployment.attention.dp=4", "deployment.experts.ep=4", dispatch, "deployment.overlap=two_batch",
           "deployment.micro_batches=2"},
          {"deployment.attention.dp=4", "deployment.experts.ep=4", dispatch, "deployment.overlap=micro_stages",
           "deployment.chunks=2"},
          {"deployment.attention.tp=2", "deployment.experts.ep=2", "deployment.pipeline.stages=2",
           "deployment.micro_batches=2"}};
}

std::size_t communications(const plan::Plan& plan) {
  std::size_t count = 0;
  for (const plan::Role& role : plan.program.roles)
    for (const plan::Op& op : role.ops) count += is_communication(op.kind) ? 1 : 0;
  return count;
}

TEST(CommunicationsOnly, AreValidPlansThatRun) {
  for (const Settings& settings : deployments()) {
    SCOPED_TRACE(settings.back());
    const plan::Plan plan = probe_plan("test", settings);
    const plan::Plan stripped = communications_only(plan, 4);
    EXPECT_NO_THROW(plan::validate(stripped.program, stripped.placement));
    EXPECT_EQ(communications(stripped), communications(plan));
    EXPECT_NE(stripped.plan_hash, plan.plan_hash);
    const runtime::RunResult result = runtime::run_threads(stripped);
    ASSERT_TRUE(result.trace.has_value());
    EXPECT_EQ(result.trace->steps, 4);
  }
}

TEST(CommunicationsOnly, KeepWhatOneMessageWaitsForInAnother) {
  // With a layer on each of two stages the first stage's send waits, through all of that layer's ops, for its
  // all-reduces; and those of the next step for the step's end.
  const plan::Plan stripped = communications_only(
      probe_plan("test", {"deployment.attention.tp=2", "deployment.experts.ep=2", "deployment.pipeline.stages=2"}), 2);
  const plan::Role& first = stripped.program.role_of(RankId(0));
  bool sends = false;
  for (const plan::Op& op : first.ops) {
    if (op.kind != plan::OpKind::send) continue;
    sends = true;
    bool waits = false;
    for (const plan::Dependency& dependency : op.dependencies)
      waits = waits || first.ops[dependency.op.index()].kind == plan::OpKind::all_reduce;
    EXPECT_TRUE(waits);
  }
  EXPECT_TRUE(sends);
}

TEST(CommunicationProbe, GivesASamplePerCommunicationAndRoutedStep) {
  const plan::Plan plan = probe_plan("test", {"deployment.attention.tp=2", "deployment.experts.ep=2"});
  const std::vector<HostSample> samples = measure_communication("test", plan, 4, HostLoad::alone, by_threads);
  // Two layers of two all-reduces, two routed steps.
  ASSERT_EQ(samples.size(), 2U * 2 * 2);
  for (const HostSample& sample : samples) {
    EXPECT_EQ(sample.communicator, "threads");
    EXPECT_EQ(sample.kind, "all_reduce");
    EXPECT_EQ(sample.count, 2 * 2) << "two ranks, two counted steps of each routed one";
    EXPECT_EQ(sample.amounts[HostTerm::communication_ops], 1);
    EXPECT_EQ(sample.amounts[HostTerm::communication_rounds], 2);
    EXPECT_GT(sample.cpu, Seconds(0));
  }
  EXPECT_EQ(communication_steps(plan, Seconds(0)), 3 * 2) << "three of each routed step at least";
  EXPECT_EQ(communication_steps(plan, Seconds(0.01)) % 2, 0);
}

TEST(ComputeProbe, GivesASamplePerOpRoutedStepAndLoad) {
  const ComputeProbe probe{"small", probe_plan("small", {"model.hidden=64", "model.expert_hidden=32"}), RankId(0)};
  HostCalibration caches;
  for (auto& curve : caches.cache) curve = {{Bytes(1024), Seconds(1e-10)}};
  const std::vector<HostSample> samples = measure_compute(probe, caches, {2, Seconds(1), Seconds(1), Seconds(1)});
  const std::size_t ops = probe.plan.program.role_of(RankId(0)).ops.size();
  EXPECT_EQ(samples.size(), ops * 2 * 2);
  for (const HostSample& sample : samples) {
    EXPECT_GE(sample.count, 3);
    EXPECT_GT(sample.cpu, Seconds(0));
    EXPECT_LE(sample.cpu_q10, sample.cpu_q90);
  }
}

TEST(ComputeProbe, SaysHowMuchTimeIsEnough) {
  const ComputeProbe probe{"small", probe_plan("small", {}), RankId(0)};
  HostCalibration caches;
  for (auto& curve : caches.cache) curve = {{Bytes(1024), Seconds(1e-10)}};
  try {
    (void)measure_compute(probe, caches, {1, Seconds(1e-9), Seconds(1e-9), Seconds(1)});
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unhealthy);
    EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("small"), HasSubstr("--budget")));
  }
}

TEST(CacheCurve, HasPointsOfGrowingFootprintThatNeverGetFaster) {
  const std::vector<Bytes> footprints = cache_footprints(Bytes(1 << 16), Bytes(1 << 19));
  EXPECT_EQ(footprints, (std::vector{Bytes(1 << 16), Bytes(1 << 17), Bytes(1 << 18), Bytes(1 << 19)}));
  for (const HostLoad load : {HostLoad::alone, HostLoad::crowded})
    EXPECT_GT(measure_cache(load, footprints.front(), 2, Seconds(0.002)), Seconds(0));
  // 3, 2 and 4 ns: the middle one was disturbed less than the first, and cannot be nearer to the core.
  std::vector<HostCachePoint> curve;
  for (const double seconds : {3e-9, 2e-9, 4e-9}) add_cache_point(curve, footprints[curve.size()], Seconds(seconds));
  ASSERT_EQ(curve.size(), 3U);
  EXPECT_EQ(curve[1].footprint, footprints[1]);
  EXPECT_EQ(curve[1].per_byte, Seconds(3e-9));
  EXPECT_EQ(curve[2].per_byte, Seconds(4e-9));
}

TEST(Probes, BuiltInOnesFeelEveryFamily) {
  std::set<plan::OpKind> kinds;
  std::set<std::string> names;
  bool grouped = false;
  for (const ComputeProbe& probe : built_in_compute_probes()) {
    EXPECT_TRUE(names.insert(probe.name).second);
    for (const plan::Op& op : probe.plan.program.role_of(probe.rank).ops) {
      kinds.insert(op.kind);
      if (const auto* a = std::get_if<plan::AttentionOp>(&op.detail)) grouped = grouped || a->heads > a->kv_heads;
    }
  }
  EXPECT_GE(names.size(), 16U);
  EXPECT_TRUE(grouped);
  for (const plan::OpKind kind :
       {plan::OpKind::input, plan::OpKind::norm, plan::OpKind::gemm, plan::OpKind::rope_kv, plan::OpKind::attention,
        plan::OpKind::route, plan::OpKind::permute, plan::OpKind::grouped_gemm, plan::OpKind::activation,
        plan::OpKind::unpermute, plan::OpKind::add, plan::OpKind::step_end})
    EXPECT_TRUE(kinds.contains(kind)) << name_of(kind);
  kinds.clear();
  for (const CommunicationProbe& probe : built_in_communication_probes(2)) {
    EXPECT_EQ(probe.plan.program.ranks, 2);
    for (const plan::Role& role : probe.plan.program.roles)
      for (const plan::Op& op : role.ops) kinds.insert(op.kind);
  }
  for (const plan::OpKind kind :
       {plan::OpKind::all_reduce, plan::OpKind::all_gather, plan::OpKind::reduce_scatter, plan::OpKind::dispatch,
        plan::OpKind::combine, plan::OpKind::send, plan::OpKind::recv})
    EXPECT_TRUE(kinds.contains(kind)) << name_of(kind);
}

}  // namespace
}  // namespace foretoken::calibrate
