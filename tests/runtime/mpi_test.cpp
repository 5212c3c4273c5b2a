// The same plans by MPI processes: this program starts itself under mpirun, one rank per process.
//
// MpiRank.DISABLED_Runs is what a rank does; it takes its orders from the environment. The other tests start it and
// look at what comes out. Where there is no mpirun they are skipped.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/run.hpp"

#ifdef FORETOKEN_MPI

#include <chrono>
#include <csignal>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "runtime/interrupt.hpp"
#include "tests/runtime/mpi_launch.hpp"
#include "tests/runtime/small_plan.hpp"

namespace foretoken::test {
namespace {

using runtime::run_mpi;
using runtime::run_threads;
using testing::AllOf;
using testing::HasSubstr;

// ---- a rank --------------------------------------------------------------------------------------------------------

// "kill", "stop" or "throw": what rank 1 does in step 1 at its first attention. "interrupt" or "terminate": which
// signal it sends itself there.
void fail_as_ordered(const std::string& order, RankId rank, std::int64_t step, const plan::Op& op) {
  if (rank.value() != 1 || step != 1 || op.name != "l0.m0.attention") return;
  if (order == "throw") throw std::runtime_error("out of smoke");
  if (order == "kill") raise(SIGKILL);
  if (order == "stop") raise(SIGSTOP);
  if (order == "interrupt") raise(SIGINT);
  if (order == "terminate") raise(SIGTERM);
}

TEST(MpiRank, DISABLED_Runs) {
  runtime::MpiProcess mpi;
  try {
    Settings settings;
    std::istringstream lines(environment("FORETOKEN_TEST_SETTINGS"));
    for (std::string line; std::getline(lines, line, '|');) settings.push_back(line);
    const std::string order = environment("FORETOKEN_TEST_ORDER");
    if (order == "other_plan" && mpi.rank() == 1) settings.push_back("workload.context=6");
    if (order == "other_steps" && mpi.rank() == 1) settings.push_back("measure.warmup_steps=7");
    const plan::Plan plan = small_plan(settings);
    runtime::RunOptions options;
    options.build = order == "other_build" && mpi.rank() == 1 ? "b" : "a";
    options.step_deadline = std::chrono::milliseconds(order.empty() ? 60'000 : 1'500);
    if (!order.empty())
      options.before_op = [order](RankId rank, std::int64_t step, const plan::Op& op) {
        fail_as_ordered(order, rank, step, op);
      };
    const runtime::InterruptFlag interrupt;
    const bool early = order == "interrupt" || order == "terminate";
    if (early) {
      options.interrupted = [&interrupt] { return interrupt.raised(); };
      options.step_deadline = std::chrono::milliseconds(60'000);
    }
    const auto result = run_mpi(mpi, plan, options);
    if (result && early) {
      std::ofstream(environment("FORETOKEN_TEST_OUT")) << result->interrupted << ' ' << result->headline.steps << ' '
                                                       << result->trace.has_value() << ' ' << result->metrics.tps;
    } else if (result) {
      std::ofstream out(environment("FORETOKEN_TEST_OUT"));
      out << result->activations_hash << ' ' << result->trace->size() << ' ' << result->machines.size() << ' '
          << result->metrics.tps * result->metrics.tpot.mean.value();
    }
  } catch (const Error& error) {
    mpi.end_all(error);
  }
}

// ---- what starts it ------------------------------------------------------------------------------------------------

struct Launch : MpiLaunch {
  std::string hash;
  std::size_t events = 0;
  double little = 0;  // TPS x mean TPOT
};

Launch launch(int ranks, const Settings& settings, const std::string& order = "") {
  std::string joined;
  for (const std::string& setting : settings) joined += (joined.empty() ? "" : "|") + setting;
  Launch result{launch_mpi(ranks, "MpiRank.DISABLED_Runs",
                           {{"FORETOKEN_TEST_SETTINGS", joined}, {"FORETOKEN_TEST_ORDER", order}}),
                "", 0, 0};
  std::size_t machines = 0;
  std::istringstream(result.written) >> result.hash >> result.events >> machines >> result.little;
  return result;
}

const Settings kEp4{R"(deployment.experts={"placement":"round_robin","exchange":"dispatch"})",
                    R"(deployment.attention={"tp":1,"dp":4})"};

struct MpiCase {
  std::string name;
  int ranks;
  Settings settings;
};

std::string mpi_case_name(const testing::TestParamInfo<MpiCase>& info) { return info.param.name; }

class Mpi : public testing::TestWithParam<MpiCase> {
 protected:
  void SetUp() override {
    if (!have_mpirun()) GTEST_SKIP() << "no mpirun here (apt-get install openmpi-bin), or a sanitizer build";
  }
};

TEST_P(Mpi, AgreesWithThreadsToTheBit) {
  const runtime::RunResult threads = run_threads(small_plan(GetParam().settings));
  const Launch mpi = launch(GetParam().ranks, GetParam().settings);
  ASSERT_EQ(mpi.exit_code, 0) << mpi.said;
  EXPECT_EQ(mpi.hash, threads.activations_hash);
  EXPECT_EQ(mpi.events, threads.trace->size());
  EXPECT_GT(mpi.little, 0);
}

std::vector<MpiCase> mpi_cases() {
  const Settings tp2{R"(deployment.attention={"tp":2,"dp":1})"};
  const Settings flow{R"(deployment.pipeline={"stages":2,"schedule":"flow"})", "deployment.micro_batches=3"};
  const Settings sequence_parallel{kEp4[0], R"(deployment.attention={"tp":2,"dp":2})"};
  const Settings once_per_node{R"(deployment.collectives={"exchange":"hierarchical"})"};
  const Settings direct{
      R"(deployment.collectives={"all_reduce":"direct","all_gather":"direct","reduce_scatter":"direct"})"};
  return {
      {"one_rank", 1, {}},
      {"tp2", 2, tp2},
      {"tp2_direct", 2, tp2 + direct},
      {"pp2_flow", 2, flow},
      {"tp2_pp2_flow", 4, tp2 + flow},
      {"ep4", 4, kEp4 + Settings{"model.shared_experts=1", "model.gated=true", "model.experts=11"}},
      {"ep4_tp2_dp2_two_batch", 4,
       sequence_parallel + Settings{"deployment.micro_batches=2", "deployment.overlap=two_batch"}},
      {"ep4_micro_stages", 4, kEp4 + Settings{"deployment.overlap=micro_stages", "deployment.chunks=2"}},
      // Two nodes of two; two of four.
      {"ep4_once_per_node", 4,
       kEp4 + once_per_node + Settings{"cluster.nodes=32", "model.experts=11", "model.top_k=3"}},
      {"ranks8_once_per_node_micro_stages", 8,
       Settings{kEp4[0], R"(deployment.attention={"tp":2,"dp":4})", "model.experts=16", "workload.sequences=33",
                "cluster.nodes=16", "deployment.overlap=micro_stages", "deployment.chunks=4"} +
           once_per_node},
      // 256 KiB each way: beyond what MPI sends without asking.
      {"large_messages",
       2,
       {kEp4[0], R"(deployment.attention={"tp":2,"dp":1})", "model.hidden=1024", "workload.sequences=256",
        "model.layers=1", "deployment.micro_batches=2"}},
      {"ranks16",
       16,
       {kEp4[0], R"(deployment.attention={"tp":2,"dp":8})", "model.experts=16", "workload.sequences=33"}},
  };
}

INSTANTIATE_TEST_SUITE_P(Run, Mpi, testing::ValuesIn(mpi_cases()), mpi_case_name);

std::string name_of_signal(const testing::TestParamInfo<std::string>& info) { return info.param; }

class MpiInterrupted : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!have_mpirun()) GTEST_SKIP() << "no mpirun here (apt-get install openmpi-bin), or a sanitizer build";
  }
};

// A signal to one rank ends all at one step, and rank 0 has what was measured.
TEST_P(MpiInterrupted, EndsAllRanksAtOneStep) {
  constexpr std::int64_t planned = 100'000;
  const Launch mpi = launch(4, kEp4 + Settings{R"(measure={"warmup_steps":1,"steps":100000})"}, GetParam());
  ASSERT_EQ(mpi.exit_code, 0) << mpi.said;
  int interrupted = 0;
  std::int64_t steps = 0;
  int traced = 0;
  double tps = 0;
  std::istringstream(mpi.written) >> interrupted >> steps >> traced >> tps;
  EXPECT_EQ(interrupted, 1) << mpi.written << mpi.said;
  EXPECT_GE(steps, 1);
  EXPECT_LT(steps, planned);
  EXPECT_EQ(traced, 0);
  EXPECT_GT(tps, 0);
  EXPECT_EQ(mpi.said.find("foretoken: "), std::string::npos) << mpi.said;
}

INSTANTIATE_TEST_SUITE_P(Run, MpiInterrupted, testing::Values("interrupt", "terminate"), name_of_signal);

class MpiFailure : public testing::Test {
 protected:
  void SetUp() override {
    if (!have_mpirun()) GTEST_SKIP() << "no mpirun here (apt-get install openmpi-bin), or a sanitizer build";
  }
};

// How often one of our own lines stands in what was said.
int lines_of_ours(const std::string& said) {
  int count = 0;
  std::istringstream lines(said);
  for (std::string line; std::getline(lines, line);) count += line.starts_with("foretoken: ") ? 1 : 0;
  return count;
}

// mpirun ends the others itself when it sees a dead child, and gives that child's exit code (128 + 9) as its own.
TEST_F(MpiFailure, KilledRankIsNamed) {
  const Launch mpi = launch(4, kEp4, "kill");
  EXPECT_NE(mpi.exit_code, 0);
  EXPECT_THAT(mpi.said, HasSubstr("rank 1 on "));
  EXPECT_THAT(mpi.said, AllOf(HasSubstr("is dead"), HasSubstr("it was last in step 1 at l0.m0.attention")));
  EXPECT_EQ(lines_of_ours(mpi.said), 1) << mpi.said;
  EXPECT_LT(mpi.seconds, 60);
}

TEST_F(MpiFailure, StoppedRankIsNamedAtTheDeadline) {
  const Launch mpi = launch(4, kEp4, "stop");
  EXPECT_EQ(mpi.exit_code, 6) << mpi.said;
  EXPECT_THAT(mpi.said, HasSubstr("nothing has moved for 1.5 s"));
  EXPECT_THAT(mpi.said, AllOf(HasSubstr("is stopped"), HasSubstr("it was last in step 1 at l0.m0.attention")));
  EXPECT_EQ(lines_of_ours(mpi.said), 1) << mpi.said;
  EXPECT_LT(mpi.seconds, 60);
}

TEST_F(MpiFailure, RankThatThrowsSaysWhy) {
  const Launch mpi = launch(4, kEp4, "throw");
  EXPECT_EQ(mpi.exit_code, 6) << mpi.said;
  EXPECT_THAT(mpi.said, AllOf(HasSubstr("rank 1 on "), HasSubstr("failed: out of smoke"),
                              HasSubstr("step 1 at l0.m0.attention")));
  EXPECT_EQ(lines_of_ours(mpi.said), 1) << mpi.said;
}

TEST_F(MpiFailure, RanksMustAgree) {
  const Launch plan = launch(4, kEp4, "other_plan");
  EXPECT_EQ(plan.exit_code, 2) << plan.said;
  EXPECT_THAT(plan.said, HasSubstr("rank 1 on "));
  EXPECT_THAT(plan.said, HasSubstr("has another plan"));
  const Launch steps = launch(4, kEp4, "other_steps");
  EXPECT_EQ(steps.exit_code, 2) << steps.said;
  EXPECT_THAT(steps.said, AllOf(HasSubstr("has another plan"), HasSubstr("7 + ")));
  const Launch build = launch(4, kEp4, "other_build");
  EXPECT_EQ(build.exit_code, 2) << build.said;
  EXPECT_THAT(build.said, HasSubstr("is another build (b) than rank 0"));
  const Launch processes = launch(3, kEp4);
  EXPECT_EQ(processes.exit_code, 2) << processes.said;
  EXPECT_THAT(processes.said, HasSubstr("the deployment has 4 ranks, and 3 processes were started; use mpirun -n 4"));
}

}  // namespace
}  // namespace foretoken::test

#else

TEST(Mpi, AgreesWithThreadsToTheBit) {
  GTEST_SKIP() << "built without MPI: apt-get install libopenmpi-dev openmpi-bin";
}

#endif
