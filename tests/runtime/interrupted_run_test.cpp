// Runs that are interrupted: what was measured until then is what a run of so many steps measures.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "plan/plan.hpp"
#include "runtime/run.hpp"
#include "tests/runtime/small_plan.hpp"

namespace foretoken::test {
namespace {

using runtime::run_threads;
using runtime::RunOptions;
using runtime::RunResult;

struct InterruptedCase {
  std::string name;
  Settings settings;
};

std::string name_of_interrupted(const testing::TestParamInfo<InterruptedCase>& info) { return info.param.name; }

constexpr std::int64_t kPlanned = 3'000;

Settings planned(Settings settings, std::int64_t steps = kPlanned) {
  settings.push_back(fmt::format(R"(measure={{"warmup_steps":2,"steps":{}}})", steps));
  settings.emplace_back(R"(routing={"kind":"uniform","seed":1,"routed_steps":1})");
  return settings;
}

// The last rank is asked to stop when it begins a step of the headline (run 0) or of the instrumented run (1).
class Interrupter {
 public:
  Interrupter(const plan::Plan& plan, std::int64_t step, int run)
      : rank_(plan.program.ranks - 1), step_(step), run_(run) {}

  RunOptions options() {
    RunOptions options;
    options.interrupted = [this] { return asked_.load(); };
    options.before_op = [this](RankId rank, std::int64_t at, const plan::Op& op) {
      if (rank.value() != rank_) return;
      if (first_ == nullptr) first_ = &op;
      if (&op != first_) return;
      std::this_thread::sleep_for(std::chrono::microseconds(500));  // no step is faster
      if (at == step_ && times_++ == run_) asked_ = true;
    };
    return options;
  }
  [[nodiscard]] bool asked() const { return asked_; }

 private:
  std::int64_t rank_;
  std::int64_t step_;
  int run_;
  int times_ = 0;
  const plan::Op* first_ = nullptr;  // of every step of the rank
  std::atomic<bool> asked_ = false;
};

class InterruptedRun : public testing::TestWithParam<InterruptedCase> {};

TEST_P(InterruptedRun, HoldsTheStepsThatHadEnded) {
  const plan::Plan plan = small_plan(planned(GetParam().settings));
  Interrupter interrupter(plan, 20, 0);
  const RunResult result = run_threads(plan, interrupter.options());
  ASSERT_TRUE(interrupter.asked());
  EXPECT_TRUE(result.interrupted);
  const std::int64_t steps = result.headline.steps;
  EXPECT_GE(steps, 18);
  EXPECT_LT(steps, kPlanned);
  EXPECT_EQ(result.headline.outputs.size() % static_cast<std::size_t>(steps + 2), 0U);
  EXPECT_FALSE(result.trace);
  EXPECT_GT(result.metrics.tps, 0);
  // The hidden states are those after that step.
  const RunResult whole = run_threads(small_plan(planned(GetParam().settings, steps)));
  EXPECT_FALSE(whole.interrupted);
  EXPECT_EQ(result.activations_hash, whole.activations_hash);
  EXPECT_EQ(result.headline.outputs.size(), whole.headline.outputs.size());
}

INSTANTIATE_TEST_SUITE_P(Run, InterruptedRun,
                         testing::Values(InterruptedCase{"one_rank", {}},
                                         InterruptedCase{"tp2", {R"(deployment.attention={"tp":2,"dp":1})"}},
                                         InterruptedCase{"pp2_flow",
                                                         {R"(deployment.pipeline={"stages":2,"schedule":"flow"})",
                                                          "deployment.micro_batches=3"}},
                                         InterruptedCase{
                                             "ep4_two_batch",
                                             {R"(deployment.experts={"placement":"round_robin","exchange":"dispatch"})",
                                              R"(deployment.attention={"tp":1,"dp":4})", "deployment.micro_batches=2",
                                              "deployment.overlap=two_batch"}}),
                         name_of_interrupted);

// Headlines are whole then; times of ops are those of the steps that had ended.
TEST(InterruptedRunOf, TheInstrumentedStepsHasAShorterTrace) {
  const plan::Plan plan = small_plan(planned({R"(deployment.attention={"tp":2,"dp":1})"}, 400));
  Interrupter interrupter(plan, 20, 1);
  const RunResult result = run_threads(plan, interrupter.options());
  EXPECT_TRUE(result.interrupted);
  EXPECT_EQ(result.headline.steps, 400);
  ASSERT_TRUE(result.trace);
  EXPECT_GE(result.trace->steps, 18);
  EXPECT_LT(result.trace->steps, 400);
  std::size_t ops = 0;
  for (const auto role : plan.program.role_of_rank)
    ops += plan.program.roles[static_cast<std::size_t>(role)].ops.size();
  EXPECT_EQ(result.trace->size(), ops * static_cast<std::size_t>(result.trace->steps + 2));
  for (const SimTime ended : result.trace->ended) EXPECT_GE(ended.value(), 0);
}

// So late that the first run ends by itself: the second is not begun.
TEST(InterruptedRunOf, TheLastStepHasNoSecondRun) {
  const plan::Plan plan = small_plan(planned({R"(deployment.attention={"tp":2,"dp":1})"}, 10));
  Interrupter interrupter(plan, 11, 0);
  const RunResult result = run_threads(plan, interrupter.options());
  EXPECT_TRUE(result.interrupted);
  EXPECT_EQ(result.headline.steps, 10);
  EXPECT_FALSE(result.trace);
}

TEST(InterruptedRunOf, ARankThatWasAskedBeforehandMeasuresNothing) {
  RunOptions options;
  options.interrupted = [] { return true; };
  const RunResult result = run_threads(small_plan(planned({R"(deployment.attention={"tp":2,"dp":1})"})), options);
  EXPECT_TRUE(result.interrupted);
  EXPECT_EQ(result.headline.steps, 0);
  EXPECT_TRUE(result.headline.outputs.empty());
  EXPECT_FALSE(result.trace);
}

// Two replicas that never meet: the second sleeps in each step, and the first must not wait for it.
TEST(InterruptedRunOf, ReplicasThatNeverMeetRunAtTheirOwnPace) {
  const plan::Plan plan = small_plan(planned({R"(deployment.attention={"tp":1,"dp":2})"}, 60));
  RunOptions options;
  options.interrupted = [] { return false; };
  const plan::Op* first = nullptr;
  options.before_op = [&first](RankId rank, std::int64_t, const plan::Op& op) {
    if (rank.value() != 1) return;
    if (first == nullptr) first = &op;
    if (&op == first) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  };
  const RunResult result = run_threads(plan, options);
  EXPECT_FALSE(result.interrupted);
  std::vector<SimTime> last(2);
  for (const TokenOutput& output : result.headline.outputs) {
    auto& time = last[static_cast<std::size_t>(output.batch)];
    time = std::max(time, output.time);
  }
  EXPECT_GE(last[1].value(), 62 * 5'000'000'000LL);
  EXPECT_LT(last[0].value(), last[1].value() / 2);
}

// They are whole then: the run ends before its instrumented one.
TEST(InterruptedRunOf, ReplicasThatNeverMeetEndsBehindTheHeadline) {
  const plan::Plan plan = small_plan(planned({R"(deployment.attention={"tp":1,"dp":2})"}, 60));
  Interrupter interrupter(plan, 20, 0);
  const RunResult result = run_threads(plan, interrupter.options());
  EXPECT_TRUE(result.interrupted);
  EXPECT_EQ(result.headline.steps, 60);
  EXPECT_FALSE(result.trace);
}

// A router's decisions are a record only if every routed step was run.
TEST(InterruptedRunOf, AModelsOwnRouterHasARecordWhereAllRoutedStepsWereRun) {
  const Settings router{
      R"(deployment.experts={"placement":"round_robin","exchange":"dispatch","dispatch_mode":"exact"})",
      R"(deployment.attention={"tp":1,"dp":2})"};
  for (const std::int64_t routed_steps : {2, 1'000}) {
    Settings settings = planned(router);
    settings.push_back(fmt::format(R"(routing={{"kind":"model","seed":1,"routed_steps":{}}})", routed_steps));
    const plan::Plan plan = small_plan(settings);
    Interrupter interrupter(plan, 20, 0);
    const RunResult result = run_threads(plan, interrupter.options());
    EXPECT_TRUE(result.interrupted);
    ASSERT_LT(result.headline.steps, 900) << "steps are faster here than this test thinks";
    EXPECT_EQ(result.routing.has_value(), routed_steps == 2);
    EXPECT_EQ(result.plan_hash == plan.plan_hash, routed_steps != 2);
  }
}

}  // namespace
}  // namespace foretoken::test
