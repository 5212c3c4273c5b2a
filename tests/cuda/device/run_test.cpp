// Whole runs on GPUs against the reference, which knows no ops, no plan and no device.
//
// One rank runs in this process; several are started under mpirun, one per GPU, or on one GPU together where there are
// too few (tests of what is sent, never of how fast). CudaRank.DISABLED_Runs is what a rank does.
#include <gmock/gmock.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include "core/error.hpp"
#include "plan/routing/routing_record.hpp"
#include "runtime/cuda/limits.hpp"
#include "runtime/cuda/run_cuda.hpp"
#include "tests/cuda/device/gpu_test.hpp"
#include "tests/runtime/agreement.hpp"
#include "tests/runtime/mpi_launch.hpp"
#include "tests/runtime/small_plan.hpp"

namespace foretoken::test {
namespace {

using runtime::cuda::CudaRunResult;
using runtime::cuda::run_cuda;
using testing::HasSubstr;
using Settings = std::vector<std::string>;

std::string type_setting(const std::string& dtype) { return R"(model.dtype={"weights":")" + dtype + R"("})"; }

// fp32 as on the host; else a few roundings of the hidden state per layer, each of half a unit in the last place.
double tolerance_of(const std::string& dtype) { return dtype == "fp32" ? kTolerance : dtype == "fp16" ? 0.01 : 0.06; }

// The plan with the routing that the run's router decided, which in a narrow type may differ from the reference's own.
plan::Plan as_routed(plan::Plan plan, const runtime::RunResult& run) {
  if (!run.routing) return plan;
  plan::RoutingSpec spec = plan.scenario.routing;
  spec.kind = plan::RoutingKind::recorded;
  spec.record = std::make_shared<const plan::RoutingRecord>(*run.routing);
  const plan::ModelSpec& model = plan.scenario.model;
  plan.routing = plan::Routing(spec, model.layers, model.experts, model.top_k);
  return plan;
}

const char* const kRouter = R"(routing={"kind":"model","seed":5,"routed_steps":2})";

std::string dispatch(const std::string& mode, const std::string& placement = "colocated") {
  return R"(deployment.experts={"placement":")" + placement + R"(","exchange":"dispatch","dispatch_mode":")" + mode +
         "\"}";
}

// A token goes once per node. What else the scenario says of collectives stays.
Settings once_per_node(const std::string& placement = "colocated") {
  return {dispatch("planned", placement), "deployment.collectives.exchange=hierarchical"};
}

Settings operator+(Settings a, const Settings& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// ---- without a GPU -------------------------------------------------------------------------------------------------

TEST(CudaRun, SaysSoWhereThereIsNoGpu) {
  if (runtime::cuda::visible_gpus() > 0) GTEST_SKIP() << "there is a GPU";
  if (gpu_required()) FAIL() << "FORETOKEN_REQUIRE_GPU=1, and no GPU here";
  try {
    run_cuda(small_plan({type_setting("bf16")}));
    FAIL() << "it ran";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("no GPU here"), HasSubstr("--backend host")));
  }
}

TEST(CudaRun, RefusesPlansBeforeItLooksForAGpu) {
  for (const auto& [setting, said] : std::map<std::string, std::string>{
           {R"(model.dtype={"weights":"bf16","activations":"bf16","kv_cache":"fp8"})", "fp8"},
           {R"(deployment.attention={"tp":2,"dp":1})", "2 ranks, one per GPU, and 1 process was started"}}) {
    try {
      run_cuda(small_plan({setting}));
      FAIL() << "it ran";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_input);
      EXPECT_THAT(error.what(), HasSubstr(said));
    }
  }
}

// ---- one rank ------------------------------------------------------------------------------------------------------

struct Case {
  std::string name;
  Settings settings;
};

std::string name_of_case(const testing::TestParamInfo<std::tuple<std::string, Case>>& info) {
  return std::get<1>(info.param).name + "_" + std::get<0>(info.param);
}

// A plan that cannot be made or run is found out where there is no GPU, too.
void expect_plan(const Settings& settings) {
  EXPECT_NO_THROW(runtime::cuda::require_cuda_can_run(small_plan(settings)));
}

class CudaRun1 : public testing::TestWithParam<std::tuple<std::string, Case>> {
 protected:
  void SetUp() override {
    const auto& [dtype, one] = GetParam();
    expect_plan(one.settings + Settings{type_setting(dtype)});
    FORETOKEN_NEED_GPU();
  }
};

TEST_P(CudaRun1, AgreesWithTheReference) {
  const auto& [dtype, one] = GetParam();
  const plan::Plan plan = small_plan(one.settings + Settings{type_setting(dtype)});
  const CudaRunResult result = run_cuda(plan);
  EXPECT_LT(difference(result.run, expected(as_routed(plan, result.run))), tolerance_of(dtype));
  EXPECT_EQ(result.run.routing.has_value(), !plan.routing.known());
  // Twice the same, to the bit.
  EXPECT_EQ(run_cuda(plan).run.activations_hash, result.run.activations_hash);
  // Every op's times, in their order.
  ASSERT_TRUE(result.run.trace.has_value());
  const Trace& trace = *result.run.trace;
  ASSERT_EQ(trace.size(), plan.program.roles.front().ops.size() * 3);
  for (std::size_t i = 0; i < trace.size(); ++i) EXPECT_LE(trace.begun[i], trace.ended[i]);
  EXPECT_GT(result.run.metrics.tps, 0);
}

INSTANTIATE_TEST_SUITE_P(
    All, CudaRun1,
    testing::Combine(
        testing::Values("fp32", "fp16", "bf16"),
        testing::Values(Case{"Plain", {}}, Case{"Eager", {R"(execution={"mode":"eager"})"}},
                        Case{"HostWaits", {R"(execution={"mode":"graph","host_waits":true})"}},
                        Case{"Gated", {"model.gated=true", "model.shared_experts=1"}},
                        Case{"Dense", {"model.dense_layers=1", "model.dense_hidden=48"}},
                        Case{"GroupedQueries", {"model.kv_heads=2"}}, Case{"LongContext", {"workload.context=700"}},
                        Case{"MicroBatches", {"deployment.micro_batches=3", "workload.sequences=11"}},
                        Case{"Dispatch", {R"(deployment.experts={"placement":"colocated","exchange":"dispatch"})"}},
                        Case{"Capacity", {dispatch("capacity")}}, Case{"Exact", {dispatch("exact")}},
                        Case{"OncePerNode", once_per_node()}, Case{"Router", {kRouter}},
                        Case{"RouterEager", {kRouter, R"(execution={"mode":"eager"})"}},
                        Case{"RouterOfManyExperts", {kRouter, "model.experts=40", "model.top_k=5"}},
                        Case{"RouterCapacity", {kRouter, dispatch("capacity"), "model.experts=11"}},
                        Case{"RouterExact", {kRouter, dispatch("exact"), "model.experts=11"}},
                        Case{"TwoBatch",
                             {R"(deployment.experts={"placement":"colocated","exchange":"dispatch"})",
                              "deployment.overlap=two_batch", "deployment.micro_batches=2"}})),
    name_of_case);

TEST(CudaRun, GraphsAndSingleOpsAgreeToTheBit) {
  FORETOKEN_NEED_GPU();
  const Settings settings{type_setting("bf16"), "deployment.micro_batches=2"};
  const CudaRunResult graphs = run_cuda(small_plan(settings));
  const CudaRunResult eager = run_cuda(small_plan(settings + Settings{R"(execution={"mode":"eager"})"}));
  EXPECT_TRUE(graphs.graphs);
  EXPECT_FALSE(eager.graphs);
  EXPECT_EQ(graphs.run.activations_hash, eager.run.activations_hash);
}

// In fp32 the device decides as the host does, and what it wrote down is what it did.
TEST(CudaRun, RecordsWhatTheRouterDecided) {
  FORETOKEN_NEED_GPU();
  for (const char* mode : {"capacity", "exact"}) {
    const Settings settings{type_setting("fp32"), kRouter, dispatch(mode), "model.experts=11"};
    const CudaRunResult live = run_cuda(small_plan(settings));
    const runtime::RunResult host = runtime::run_threads(small_plan(settings));
    ASSERT_TRUE(live.run.routing && host.routing);
    EXPECT_EQ(live.run.routing->choices, host.routing->choices);
    EXPECT_EQ(live.run.plan_hash, host.plan_hash);
    const CudaRunResult replayed = run_cuda(as_routed(small_plan(settings), live.run));
    EXPECT_LT(difference(replayed.run, expected(as_routed(small_plan(settings), live.run))), kTolerance);
  }
}

// Each of the two products behind one another in a block loses 0.037 of its result's root mean square (derived in
// tests/cuda/e4m3_test.cpp), so a block about 0.05 of what it adds. Six such are added to a state of at least their
// size: 0.05 in the root mean square, and the largest of some hundred errors, four times that, over the largest
// element, some three times its root mean square, is 0.07. The same roundings made on the host came to 0.03 to 0.07 for
// 8 seeds of each case. Twice that, with bf16's own roundings.
constexpr double kFp8Tolerance = 0.15;

const Settings kFp8Settings{R"(model.dtype={"weights":"fp8","activations":"bf16","kv_cache":"bf16"})",
                            "model.expert_hidden=48"};
const std::vector<Settings> kFp8Cases{{},
                                      {"model.gated=true", "model.shared_experts=1"},
                                      {dispatch("planned")},
                                      {dispatch("exact")},
                                      {"model.dense_layers=1", "model.dense_hidden=48"}};

TEST(CudaRun, Fp8AgreesWithTheReferenceWithinItsRounding) {
  for (const Settings& more : kFp8Cases) expect_plan(kFp8Settings + more);
  FORETOKEN_NEED_GPU();
  for (const Settings& more : kFp8Cases) {
    const plan::Plan plan = small_plan(kFp8Settings + more);
    const CudaRunResult result = run_cuda(plan);
    const double off = difference(result.run, expected(plan));
    EXPECT_LT(off, kFp8Tolerance);
    EXPECT_GT(off, 0.01) << "that is better than fp8 can be";
    EXPECT_EQ(run_cuda(plan).run.activations_hash, result.run.activations_hash);
  }
}

// Ops of both kinds add up the same products; the order of sums may differ with the number of rows.
TEST(CudaRun, ExpertsAsABatchAgreeWithTheReference) {
  FORETOKEN_NEED_GPU();
  for (const char* dtype : {"fp32", "bf16"}) {
    for (const Settings& settings : {Settings{"model.gated=true"}, Settings{dispatch("capacity")},
                                     Settings{dispatch("exact"), "model.experts=11"}}) {
      const plan::Plan plan = small_plan(settings + Settings{type_setting(dtype)});
      runtime::RunOptions options;
      options.experts = runtime::cuda::ExpertProducts::batch;
      EXPECT_LT(difference(run_cuda(plan, options).run, expected(plan)), tolerance_of(dtype));
    }
  }
}

TEST(CudaRun, CountsOfExactDispatchHaveTimesOfTheirOwn) {
  FORETOKEN_NEED_GPU();
  const CudaRunResult result = run_cuda(small_plan({type_setting("bf16"), dispatch("exact")}));
  EXPECT_FALSE(result.graphs);
  std::size_t exchanges = 0;
  const Trace& trace = *result.run.trace;
  for (std::size_t e = 0; e < trace.size(); ++e) {
    if (trace.op_of(e).kind != "exchange_counts") continue;
    ++exchanges;
    EXPECT_LE(trace.begun[e], trace.ended[e]);
  }
  EXPECT_EQ(exchanges, 3u * 3u);  // 3 layers, a warm-up and 2 counted steps
}

TEST(CudaRun, TellsWhatItRanOn) {
  FORETOKEN_NEED_GPU();
  const CudaRunResult result = run_cuda(small_plan({type_setting("bf16")}));
  ASSERT_EQ(result.gpus.size(), 1u);
  EXPECT_THAT(result.gpus[0].name, HasSubstr("NVIDIA"));
  EXPECT_THAT(result.gpus[0].uuid, testing::StartsWith("GPU-"));
  EXPECT_GT(result.gpus[0].tensors_bytes, 0);
  EXPECT_GT(result.gpus[0].conditions.samples, 0) << "no NVML";
  EXPECT_GT(result.gpus[0].conditions.sm_clock_mhz_min, 0);
  EXPECT_THAT(result.blas, HasSubstr("cuBLASLt 13."));
}

TEST(CudaRun, MemoryIsRefusedBeforeTheFirstAllocation) {
  FORETOKEN_NEED_GPU();
  // 64 sequences x 2 layers of KV cache at a context of a million: 2 x 64 x 10^6 x 2 x 32 heads x 128 x 2 bytes = 2 TB.
  const plan::Plan plan = small_plan({type_setting("bf16"), "workload.sequences=64", "workload.context=1000000",
                                      "model.heads=32", "model.head_dim=128", "model.layers=2"});
  try {
    run_cuda(plan);
    FAIL() << "it ran";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::infeasible);
    EXPECT_THAT(error.what(), HasSubstr("are free"));
  }
}

// ---- several ranks -------------------------------------------------------------------------------------------------

#ifdef FORETOKEN_MPI

TEST(CudaRank, DISABLED_Runs) {
  runtime::MpiProcess mpi;
  // Ranks that share a GPU must look to NCCL like different computers.
  if (environment("FORETOKEN_SHARE_GPUS") == "1")
    setenv("NCCL_HOSTID", ("rank" + std::to_string(mpi.rank())).c_str(), 1);  // NOLINT(concurrency-mt-unsafe)
  try {
    Settings settings;
    std::istringstream lines(environment("FORETOKEN_TEST_SETTINGS"));
    for (std::string line; std::getline(lines, line, '|');) settings.push_back(line);
    const plan::Plan plan = small_plan(settings);
    if (const auto result = runtime::cuda::run_cuda_mpi(mpi, plan)) {
      std::ofstream out(environment("FORETOKEN_TEST_OUT"));
      out << result->run.activations_hash << ' ' << difference(result->run, expected(as_routed(plan, result->run)))
          << ' ' << result->run.trace->size() << ' ' << result->gpus.size();
    }
  } catch (const Error& error) {
    mpi.end_all(error);
  }
}

MpiLaunch launch(int ranks, const Settings& settings) {
  std::string joined;
  for (const std::string& setting : settings) joined += (joined.empty() ? "" : "|") + setting;
  std::map<std::string, std::string> variables{{"FORETOKEN_TEST_SETTINGS", joined}};
  if (runtime::cuda::visible_gpus() > 0 && runtime::cuda::visible_gpus() < ranks)
    variables.insert({{"FORETOKEN_SHARE_GPUS", "1"},
                      {"NCCL_NET", "Socket"},
                      {"NCCL_IB_DISABLE", "1"},
                      {"NCCL_SOCKET_IFNAME", "lo"},
                      {"NCCL_MNNVL_ENABLE", "0"},
                      {"NCCL_NVLS_ENABLE", "0"},
                      {"NCCL_RAS_ENABLE", "0"},
                      {"NCCL_MAX_CTAS", "2"}});
  return launch_mpi(ranks, "CudaRank.DISABLED_Runs", variables);
}

TEST(CudaMpi, SaysOnceThatThereIsNoGpu) {
  if (runtime::cuda::visible_gpus() > 0) GTEST_SKIP() << "there is a GPU";
  if (!have_mpirun()) GTEST_SKIP() << "no mpirun here (apt-get install openmpi-bin)";
  const MpiLaunch result = launch(2, {R"(deployment.attention={"tp":2,"dp":1})", type_setting("bf16"),
                                      R"(deployment.collectives={"all_reduce":"ring"})"});
  EXPECT_EQ(result.exit_code, 2) << result.said;
  EXPECT_THAT(result.said, HasSubstr("foretoken: rank 0 on"));
  const std::string sentence = "no GPU here";
  const std::size_t first = result.said.find(sentence);
  ASSERT_NE(first, std::string::npos) << result.said;
  EXPECT_EQ(result.said.find(sentence, first + 1), std::string::npos) << result.said;
}

const char* const kRings =
    R"(deployment.collectives={"all_reduce":"ring","all_gather":"ring","reduce_scatter":"ring"})";

class CudaMpiRuns : public testing::TestWithParam<std::tuple<std::string, Case>> {
 protected:
  void SetUp() override {
    const auto& [dtype, one] = GetParam();
    expect_plan(Settings{kRings, type_setting(dtype)} + one.settings);
    FORETOKEN_NEED_GPU();
    if (!have_mpirun()) {
      if (gpu_required()) FAIL() << "FORETOKEN_REQUIRE_GPU=1, and no mpirun";
      GTEST_SKIP() << "no mpirun here (apt-get install openmpi-bin)";
    }
  }
};

TEST_P(CudaMpiRuns, AgreesWithTheReference) {
  const auto& [dtype, one] = GetParam();
  const Settings settings = Settings{kRings, type_setting(dtype)} + one.settings;
  const auto ranks = static_cast<int>(small_plan(settings).program.ranks);
  const MpiLaunch result = launch(ranks, settings);
  ASSERT_EQ(result.exit_code, 0) << result.said;
  std::string hash;
  double from_reference = 1;
  std::size_t events = 0;
  int gpus = 0;
  std::istringstream(result.written) >> hash >> from_reference >> events >> gpus;
  EXPECT_LT(from_reference, tolerance_of(dtype));
  EXPECT_EQ(gpus, ranks);
  EXPECT_GT(events, 0u);
}

INSTANTIATE_TEST_SUITE_P(
    All, CudaMpiRuns,
    testing::Combine(
        testing::Values("fp32", "bf16"),
        testing::Values(
            Case{"Tp2", {R"(deployment.attention={"tp":2,"dp":1})"}},
            Case{"Ep4",
                 {R"(deployment.experts={"placement":"round_robin","exchange":"dispatch"})",
                  R"(deployment.attention={"tp":1,"dp":4})"}},
            Case{"CapacityAllToAll",
                 {dispatch("capacity"), R"(deployment.attention={"tp":1,"dp":4})", "model.experts=8"}},
            Case{"CapacityWithARankWithoutExperts",
                 {dispatch("capacity", "round_robin"), R"(deployment.attention={"tp":1,"dp":4})", "model.experts=3"}},
            Case{"Exact",
                 {dispatch("exact", "round_robin"), R"(deployment.attention={"tp":2,"dp":2})", "model.experts=11",
                  "model.top_k=3", "workload.sequences=13"}},
            Case{"OncePerNode", once_per_node() + Settings{R"(deployment.attention={"tp":1,"dp":4})",
                                                           "cluster.nodes=32", "model.experts=8", "model.top_k=4"}},
            Case{"OncePerNodeOnUnequalNodes",
                 once_per_node("round_robin") + Settings{R"(deployment.attention={"tp":1,"dp":5})", "cluster.nodes=21",
                                                         "model.experts=4", "model.top_k=3"}},
            Case{"OncePerNodeTwoBatch",
                 once_per_node() + Settings{R"(deployment.attention={"tp":1,"dp":4})", "cluster.nodes=32",
                                            "model.experts=8", "model.top_k=3", "deployment.overlap=two_batch",
                                            "deployment.micro_batches=2"}},
            Case{"OncePerNodeEager",
                 once_per_node() + Settings{R"(deployment.attention={"tp":2,"dp":2})", "cluster.nodes=32",
                                            "model.experts=8", "model.top_k=3", R"(execution={"mode":"eager"})"}},
            Case{"RouterTp2", {kRouter, R"(deployment.attention={"tp":2,"dp":1})"}},
            Case{"RouterCapacity",
                 {kRouter, dispatch("capacity"), R"(deployment.attention={"tp":1,"dp":4})", "model.experts=8"}},
            Case{"RouterExact",
                 {kRouter, dispatch("exact"), R"(deployment.attention={"tp":1,"dp":4})", "model.experts=8"}},
            Case{"RouterCapacityTwoBatch",
                 {kRouter, dispatch("capacity"), R"(deployment.attention={"tp":1,"dp":2})",
                  "deployment.overlap=two_batch", "deployment.micro_batches=2"}},
            Case{"ExactTwoBatch",
                 {dispatch("exact"), R"(deployment.attention={"tp":1,"dp":2})", "deployment.overlap=two_batch",
                  "deployment.micro_batches=2"}},
            Case{"RouterExactFlow",
                 {kRouter, dispatch("exact"), R"(deployment.attention={"tp":1,"dp":2})",
                  R"(deployment.pipeline={"stages":2,"schedule":"flow"})", "model.layers=4",
                  "deployment.micro_batches=2"}},
            Case{"SlicesOfUnequalSize",
                 {R"(deployment.experts={"placement":"colocated","exchange":"dispatch"})",
                  R"(deployment.attention={"tp":2,"dp":1})", "workload.sequences=7"}},
            Case{"Stages", {R"(deployment.pipeline={"stages":2})", "model.layers=4", "deployment.micro_batches=2"}},
            Case{"Flow", {R"(deployment.pipeline={"stages":3,"schedule":"flow"})", "deployment.micro_batches=3"}},
            Case{"TwoBatch",
                 {R"(deployment.experts={"placement":"colocated","exchange":"dispatch"})",
                  R"(deployment.attention={"tp":1,"dp":2})", "deployment.overlap=two_batch",
                  "deployment.micro_batches=2"}})),
    name_of_case);

#endif

}  // namespace
}  // namespace foretoken::test
