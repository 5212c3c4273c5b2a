// What the cuda backend refuses, and whether a launch can run a plan: found out without a GPU.
#include "runtime/cuda/limits.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <iterator>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "runtime/cuda/device_layout.hpp"
#include "runtime/cuda/index_tables.hpp"
#include "runtime/cuda/launch_check.hpp"
#include "tests/runtime/small_plan.hpp"

namespace foretoken::test {
namespace {

using namespace runtime::cuda;  // NOLINT(google-build-using-namespace): all of this file is about it
using testing::AllOf;
using testing::HasSubstr;
using Settings = std::vector<std::string>;

// The error that `body` throws; its text is empty if it throws none.
template <class Body>
Error error_of(const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorCode::internal, "");
}

const Settings kRings{R"(deployment.collectives={"all_reduce":"ring","all_gather":"ring","reduce_scatter":"ring"})"};
const std::string kBf16 = R"(model.dtype={"weights":"bf16"})";

TEST(Limits, TakeThreeElementTypesAndRefuseOthersByName) {
  for (const char* dtype : {"fp32", "fp16", "bf16"}) {
    const plan::Plan plan = small_plan({std::string(R"(model.dtype={"weights":")") + dtype + R"("})"});
    EXPECT_NO_THROW(require_cuda_can_run(plan));
    EXPECT_EQ(name_of(element_type(plan)), dtype);
  }
  const auto refused = [](const std::string& dtypes) {
    return error_of([&] { require_cuda_can_run(small_plan({"model.dtype=" + dtypes})); });
  };
  const Error fp8 = refused(R"({"weights":"bf16","activations":"bf16","kv_cache":"fp8"})");
  EXPECT_EQ(fp8.code(), ErrorCode::invalid_input);
  EXPECT_THAT(fp8.what(), AllOf(HasSubstr("fp8"), HasSubstr("--set")));
  EXPECT_THAT(refused(R"({"weights":"bf16","activations":"bf16","kv_cache":"fp16"})").what(),
              HasSubstr("KV cache in fp16"));
}

TEST(Limits, RefuseMicroStagesAndGraphsOfFlowingSteps) {
  const Settings stages{R"(deployment.experts={"placement":"colocated","exchange":"dispatch"})",
                        R"(deployment.attention={"tp":1,"dp":4})", "deployment.overlap=micro_stages",
                        "deployment.chunks=2"};
  EXPECT_THAT(error_of([&] { require_cuda_can_run(small_plan(stages)); }).what(), HasSubstr("micro-stages"));

  const Settings flow{R"(deployment.pipeline={"stages":2,"schedule":"flow"})", "deployment.micro_batches=2"};
  EXPECT_FALSE(captures_steps(small_plan(flow)));
  EXPECT_NO_THROW(require_cuda_can_run(small_plan(flow)));
  Settings captured = flow;
  captured.emplace_back(R"(execution={"mode":"graph"})");
  EXPECT_THAT(error_of([&] { require_cuda_can_run(small_plan(captured)); }).what(), HasSubstr("execution.mode=eager"));
}

TEST(Limits, TakeEveryDispatchModeAndRefuseGraphsOfExchangedCounts) {
  const Settings dispatch{R"(deployment.experts={"placement":"colocated","exchange":"dispatch"})",
                          R"(deployment.attention={"tp":1,"dp":4})"};
  const auto with = [&](const std::string& mode, const char* execution = nullptr) {
    Settings settings = dispatch;
    settings.push_back("deployment.experts.dispatch_mode=" + mode);
    if (execution != nullptr) settings.push_back(std::string(R"(execution={"mode":")") + execution + "\"}");
    return small_plan(settings);
  };
  for (const char* mode : {"planned", "capacity", "exact"}) {
    EXPECT_NO_THROW(require_cuda_can_run(with(mode)));
    EXPECT_NO_THROW(require_cuda_can_run(with(mode, "eager")));
    EXPECT_FALSE(device_counts(with(mode)));
  }
  EXPECT_TRUE(captures_steps(with("capacity")));
  EXPECT_FALSE(captures_steps(with("exact")));
  EXPECT_TRUE(host_counts(with("exact")));
  EXPECT_FALSE(host_counts(with("capacity")));
  EXPECT_NO_THROW(require_cuda_can_run(with("capacity", "graph")));
  const Error error = error_of([&] { require_cuda_can_run(with("exact", "graph")); });
  EXPECT_EQ(error.code(), ErrorCode::invalid_input);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("dispatch_mode exact"), HasSubstr("execution.mode=eager")));
}

// Whoever does not wait for counts can send a token once per node: the plan knows them, and steps are graphs.
TEST(Limits, TakeTokensThatGoOncePerNode) {
  const Settings settings{R"(deployment.experts={"placement":"colocated","exchange":"dispatch"})",
                          R"(deployment.attention={"tp":1,"dp":4})",
                          R"(deployment.collectives={"exchange":"hierarchical"})"};
  EXPECT_NO_THROW(require_cuda_can_run(small_plan(settings)));
  EXPECT_TRUE(captures_steps(small_plan(settings)));
  Settings chunks = settings;
  chunks.insert(chunks.end(), {"deployment.overlap=micro_stages", "deployment.chunks=2"});
  EXPECT_THAT(error_of([&] { require_cuda_can_run(small_plan(chunks)); }).what(), HasSubstr("micro-stages"));
  // Counts that only a device knows are refused before there is a plan.
  for (const char* mode : {"capacity", "exact"}) {
    Settings counted = settings;
    counted.push_back(std::string("deployment.experts.dispatch_mode=") + mode);
    EXPECT_THAT(error_of([&] { small_plan(counted); }).what(), HasSubstr("hierarchical"));
  }
  Settings router = settings;
  router.emplace_back(R"(routing={"kind":"model","seed":1,"routed_steps":1})");
  EXPECT_EQ(error_of([&] { small_plan(router); }).code(), ErrorCode::invalid_input);
}

// Where the router decides, experts' products are a batch, unless the host is told how many rows each has.
TEST(Limits, TakeTheModelsOwnRouter) {
  const std::string model = R"(routing={"kind":"model","seed":1,"routed_steps":1})";
  const plan::Plan replicated =
      small_plan({R"(deployment.experts={"placement":"colocated","exchange":"all_reduce"})", model});
  EXPECT_NO_THROW(require_cuda_can_run(replicated));
  EXPECT_TRUE(device_counts(replicated));
  EXPECT_TRUE(captures_steps(replicated));
  EXPECT_EQ(expert_products(replicated, ExpertProducts::each), ExpertProducts::batch);
  for (const auto& [mode, counts] : {std::pair("capacity", true), std::pair("exact", false)}) {
    const plan::Plan plan = small_plan(
        {std::string(R"(deployment.experts={"placement":"colocated","exchange":"dispatch","dispatch_mode":")") + mode +
             "\"}",
         R"(deployment.attention={"tp":1,"dp":4})", model});
    EXPECT_NO_THROW(require_cuda_can_run(plan));
    EXPECT_EQ(device_counts(plan), counts);
    EXPECT_EQ(expert_products(plan, ExpertProducts::each), counts ? ExpertProducts::batch : ExpertProducts::each);
  }
}

TEST(Limits, CaptureStepsUnlessTheScenarioSaysOtherwise) {
  EXPECT_TRUE(captures_steps(small_plan()));
  EXPECT_FALSE(captures_steps(small_plan({R"(execution={"mode":"eager"})"})));
}

TEST(Limits, NameNcclsAlgorithms) {
  EXPECT_EQ(nccl_algorithms(small_plan()), "");
  EXPECT_EQ(nccl_algorithms(small_plan({R"(deployment.attention={"tp":2,"dp":1})", kRings.front()})), "allreduce:ring");
  const Settings sliced{R"(deployment.experts={"placement":"colocated","exchange":"dispatch"})",
                        R"(deployment.attention={"tp":2,"dp":1})", kRings.front()};
  EXPECT_EQ(nccl_algorithms(small_plan(sliced)), "reducescatter:ring;allgather:ring");
  const Settings direct{R"(deployment.attention={"tp":2,"dp":1})", R"(deployment.collectives={"all_reduce":"direct"})"};
  EXPECT_THAT(error_of([&] { require_cuda_can_run(small_plan(direct)); }).what(),
              HasSubstr("deployment.collectives.all_reduce=ring"));
}

// ---- launches ------------------------------------------------------------------------------------------------------

std::vector<LaunchClaim> four_claims() {
  std::vector<LaunchClaim> claims;
  for (int r = 0; r < 4; ++r)
    claims.push_back(
        {"0.1 abc", "hash, 1 + 2 steps", r < 2 ? "node0" : "node1", "GPU-" + std::to_string(r % 2), "", 0});
  return claims;
}

const Settings kFour{R"(deployment.attention={"tp":1,"dp":4})", kBf16,
                     R"(deployment.experts={"placement":"colocated","exchange":"dispatch"})"};

TEST(Launch, OfOneProcessPerGpuIsFine) { EXPECT_NO_THROW(require_agreement(small_plan(kFour), four_claims(), false)); }

TEST(Launch, IsRefusedWithOneMessageForEachMistake) {
  const plan::Plan plan = small_plan(kFour);
  const auto refused = [&](const std::vector<LaunchClaim>& claims) {
    return error_of([&] { require_agreement(plan, claims, false); });
  };
  auto claims = four_claims();
  claims[1].gpu = "GPU-0";
  EXPECT_THAT(refused(claims).what(),
              AllOf(HasSubstr("ranks 0 and 1 are both on GPU-0 of node0"), HasSubstr("one process per GPU")));
  EXPECT_EQ(refused(claims).code(), ErrorCode::invalid_input);
  EXPECT_NO_THROW(require_agreement(plan, claims, true));

  claims = four_claims();
  claims.pop_back();
  EXPECT_THAT(refused(claims).what(),
              AllOf(HasSubstr("4 ranks, one per GPU, and 3 processes were started"), HasSubstr("mpirun -n 4")));

  claims = four_claims();
  claims[2].build = "0.1 def";
  EXPECT_THAT(refused(claims).what(), AllOf(HasSubstr("rank 2 on node1"), HasSubstr("0.1 def")));

  claims = four_claims();
  claims[3].plan = "hash, 9 + 2 steps";
  EXPECT_THAT(refused(claims).what(), AllOf(HasSubstr("rank 3 on node1"), HasSubstr("9 + 2 steps")));

  // What went wrong at one rank is everybody's verdict, with that rank's exit code.
  claims = four_claims();
  claims[3].error = "the GPU is full";
  claims[3].error_code = static_cast<std::int64_t>(ErrorCode::infeasible);
  EXPECT_EQ(refused(claims).code(), ErrorCode::infeasible);
  EXPECT_STREQ(refused(claims).what(), "rank 3 on node1: the GPU is full");
}

TEST(Launch, ClaimsSurviveAsBytes) {
  const LaunchClaim claim{"build", "plan", "host", "GPU-1", "no GPU here", 2};
  const LaunchClaim read = LaunchClaim::from_bytes(claim.to_bytes());
  EXPECT_EQ(read.build, claim.build);
  EXPECT_EQ(read.plan, claim.plan);
  EXPECT_EQ(read.host, claim.host);
  EXPECT_EQ(read.gpu, claim.gpu);
  EXPECT_EQ(read.error, claim.error);
  EXPECT_EQ(read.error_code, claim.error_code);
}

TEST(Limits, WeightsInFp8NeedAHopperAndACuBlasLtThatScalesRows) {
  const plan::Plan fp8 = small_plan({R"(model.dtype={"weights":"fp8","activations":"bf16","kv_cache":"bf16"})"});
  EXPECT_NO_THROW(require_fp8_support(fp8, {9, 0, 120'900}));
  EXPECT_NO_THROW(require_fp8_support(fp8, {9, 0, 130'000}));
  const Error newer = error_of([&] { require_fp8_support(fp8, {10, 0, 130'000}); });
  EXPECT_EQ(newer.code(), ErrorCode::invalid_input);
  EXPECT_THAT(newer.what(), AllOf(HasSubstr("10.0"), HasSubstr("H100"), HasSubstr("--set")));
  const Error older = error_of([&] { require_fp8_support(fp8, {9, 0, 120'805}); });
  EXPECT_EQ(older.code(), ErrorCode::invalid_input);
  EXPECT_THAT(older.what(), AllOf(HasSubstr("cuBLASLt here is 12.8.5"), HasSubstr("12.9 or newer")));
  EXPECT_NO_THROW(require_fp8_support(small_plan({kBf16}), {10, 0, 120'805}));
}

TEST(Launch, ChoosesTheGpuOfThePlaceOnTheNode) {
  EXPECT_EQ(choose_gpu(8, 5, false), 5);
  EXPECT_EQ(choose_gpu(1, 5, false), 0);  // srun --gpus-per-task=1 shows every process its own
  EXPECT_EQ(choose_gpu(2, 5, true), 1);
  EXPECT_THAT(error_of([] { choose_gpu(4, 4, false); }).what(), HasSubstr("process 5 of this computer, and 4 GPUs"));
}

// ---- memory --------------------------------------------------------------------------------------------------------

TEST(DeviceLayout, PlacesDoNotOverlapAndAreAligned) {
  const plan::Plan plan = small_plan({kBf16, "workload.context=300"});
  const runtime::RowTables tables(plan, RankId(0));
  const DeviceLayout layout = device_layout(plan, RankId(0), tables, 132, ExpertProducts::batch);
  std::vector<DevicePlace> places = layout.tensors;
  places.insert(places.end(), layout.gemm_workspace.begin(), layout.gemm_workspace.end());
  places.push_back(layout.logits);
  places.push_back(layout.attention);
  for (std::size_t stream = 0; stream < layout.leaving.size(); ++stream) {
    places.push_back(layout.leaving[stream]);
    places.push_back(layout.coming[stream]);
  }
  places.push_back(layout.batch_in);
  places.push_back(layout.batch_out);
  std::int64_t next = 0;
  for (const DevicePlace& place : places) {
    EXPECT_GE(place.offset, next);
    EXPECT_EQ(place.offset % kDeviceAlignment, 0);
    next = place.offset + place.bytes;
  }
  EXPECT_LE(next, layout.bytes);
  // 8 sequences x 4 heads x 5 splits x (8 + 2) numbers: 132 multiprocessors want 9 splits, 301 positions have use
  // for 5.
  EXPECT_EQ(layout.attention.bytes, 8 * 4 * 5 * 10 * 4);
  EXPECT_EQ(layout.logits.bytes, 8 * 4 * 4);
  const plan::Role& role = plan.program.roles.front();
  for (std::size_t t = 0; t < role.tensors.size(); ++t) {
    if (role.tensors[t].name != "l0.w_qkv") continue;
    EXPECT_EQ(layout.tensors[t].bytes, 32 * 3 * 32 * 2);
  }
}

// 4 ranks with 2 sequences and 2 experts each, hidden 32 in bf16, top 2: 4 blocks of 4 slots of 64 bytes, and a row
// before them with 2 counts.
TEST(DeviceLayout, HasRoomForMessagesWithSlots) {
  const Settings settings{
      kBf16, R"(deployment.experts={"placement":"colocated","exchange":"dispatch","dispatch_mode":"capacity"})",
      R"(deployment.attention={"tp":1,"dp":4})", "model.experts=8"};
  const plan::Plan plan = small_plan(settings);
  const DeviceLayout layout =
      device_layout(plan, RankId(1), runtime::RowTables(plan, RankId(1)), 132, ExpertProducts::each);
  ASSERT_EQ(layout.leaving.size(), 1u);
  EXPECT_EQ(layout.leaving.front().bytes, 4 * 5 * 64);
  EXPECT_EQ(layout.coming.front().bytes, 4 * 5 * 64);
  EXPECT_EQ(layout.batch_in.bytes, 0);
}

// Two choices for each of 8 tokens, anyhow: an expert gets at most all tokens, a rank with 4 experts 16 rows.
TEST(DeviceLayout, HasRoomForAnyRoutingWhereTheRouterDecides) {
  const plan::Plan plan = small_plan({kBf16, R"(routing={"kind":"model","seed":1,"routed_steps":1})"});
  const runtime::RowTables tables(plan, RankId(0));
  const DeviceLayout layout = device_layout(plan, RankId(0), tables, 132, ExpertProducts::batch);
  EXPECT_EQ(layout.batch_in.bytes, 4 * 8 * 32 * 2);  // of the product from 32 columns to 24, and of the one back
  EXPECT_EQ(layout.batch_out.bytes, 4 * 8 * 32 * 2);
  const plan::Role& role = plan.program.roles.front();
  for (std::size_t t = 0; t < role.tensors.size(); ++t) {
    if (role.tensors[t].name != "l0.m0.permute") continue;
    EXPECT_EQ(layout.tensors[t].bytes, 16 * 32 * 2);
  }
}

// Whether the plan or the router decides where rows go; of the model's two layers and two routed steps.
TEST(DeviceLayout, CountsTablesOfRows) {
  for (const char* routing : {R"(routing={"kind":"model","seed":1,"routed_steps":2})",
                              R"(routing={"kind":"uniform","seed":1,"routed_steps":2})"})
    for (const char* experts :
         {R"(deployment.experts={"placement":"colocated","exchange":"all_reduce"})",
          R"(deployment.experts={"placement":"round_robin","exchange":"dispatch","dispatch_mode":"capacity"})"}) {
      const plan::Plan plan = small_plan({kBf16, routing, experts});
      for (std::int32_t r = 0; r < plan.program.ranks; ++r) {
        const runtime::RowTables tables(plan, RankId(r));
        const IndexTables indices(plan, RankId(r), tables);
        EXPECT_EQ(IndexTables::count(plan, RankId(r), tables), std::ssize(indices.all()));
        EXPECT_EQ(device_layout(plan, RankId(r), tables, 132, ExpertProducts::batch).table_bytes,
                  4 * std::ssize(indices.all()));
      }
    }
}

TEST(DeviceLayout, IsRefusedBeforeTheFirstAllocation) {
  DeviceLayout layout;
  layout.bytes = 70'000'000'000;
  EXPECT_NO_THROW(require_device_memory("GPU 0", layout, 2, {79'000'000'000, 85'000'000'000}));
  const Error error = error_of([&] { require_device_memory("GPU 0", layout, 2, {70'100'000'000, 85'000'000'000}); });
  EXPECT_EQ(error.code(), ErrorCode::infeasible);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("GPU 0: 70.0 GB"), HasSubstr("70.1 GB of 85.0 GB are free")));
  // 2 channels and what graphs take are 0.54 GB: with them and 9 GB of tables it is 79.54 GB.
  layout.table_bytes = 9'000'000'000;
  EXPECT_NO_THROW(require_device_memory("GPU 0", layout, 2, {79'600'000'000, 85'000'000'000}));
  const Error tables = error_of([&] { require_device_memory("GPU 0", layout, 2, {79'500'000'000, 85'000'000'000}); });
  EXPECT_EQ(tables.code(), ErrorCode::infeasible);
  EXPECT_THAT(tables.what(), AllOf(HasSubstr("9.0 GB for tables"), HasSubstr("routing.routed_steps")));
}

}  // namespace
}  // namespace foretoken::test
