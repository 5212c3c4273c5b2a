// Whole steps of lowered scenarios against sums that can be written down: one batch, pipelines, expert parallelism.
//
// Kernel times are taken from the trace itself (what a kernel takes is sim/cost's business and tested there); how they
// add up to a step is what stands above each assertion. The network is the invented one of tests/sim/cost.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "core/metrics.hpp"
#include "plan/machine/topology.hpp"
#include "sim/simulate.hpp"
#include "tests/sim/cost/invented_network.hpp"

namespace foretoken::sim {
namespace {

constexpr const char* kScenario = R"({
  "kind": "scenario", "schema_version": 1, "name": "closed form",
  "model": {"name": "small", "layers": 2, "hidden": 2048, "heads": 16, "head_dim": 128, "experts": 2, "top_k": 2,
            "expert_hidden": 8192, "gated": false, "dtype": {"weights": "fp16"}},
  "workload": {"kind": "decode", "sequences": 384, "context": 255},
  "routing": {"kind": "uniform", "seed": 1, "routed_steps": 1},
  "deployment": {"attention": {"tp": 1, "dp": 1},
                 "experts": {"placement": "colocated", "exchange": "all_reduce"}},
  "cluster": {"topology": "topologies/hgx-h100-2nodes-ndr400.json"},
  "measure": {"warmup_steps": 3, "steps": 4}
})";

struct StepRun {
  Trace trace;
  Seconds step;

  // Mean duration of rank 0's (or another's) ops in a step that `wanted` picks by name and kind.
  template <class Wanted>
  [[nodiscard]] double us(Wanted wanted, std::int32_t rank = 0) const {
    double ps = 0;
    for (std::size_t i = 0; i < trace.size(); ++i) {
      const bool counted = trace.step[i] >= trace.warmup_steps && trace.rank[i] == rank;
      if (counted && wanted(trace.op_of(i))) ps += static_cast<double>((trace.ended[i] - trace.begun[i]).value());
    }
    return ps / static_cast<double>(trace.steps) / 1e6;
  }
  [[nodiscard]] double compute_us(std::int32_t rank = 0) const {
    return us([](const TraceOp& op) { return !op.communication; }, rank);
  }
};

StepRun run(const std::vector<std::string>& changes) {
  JsonDocument document = JsonDocument::from_text(kScenario, "closed form");
  for (const std::string& change : changes) document.set(change);
  const plan::Scenario scenario = plan::parse_scenario(document);
  const plan::Topology topology = plan::read_topology(scenario.cluster.topology);
  const plan::Machine machine = plan::build_machine(topology);
  Calibration calibration = read_calibration(topology.calibration);
  calibration.network = foretoken::testing::invented_network();
  StepRun result{simulate(plan::make_plan(scenario, machine), machine, calibration), {}};
  result.step = compute_metrics(result.trace).step.mean;
  return result;
}

double us(Seconds time) { return time.value() * 1e6; }

constexpr double kPicosecond = 1e-6;  // in us; sums of rounded picoseconds

// One rank, one batch: nothing overlaps, so a step is the sum of its kernels.
TEST(ClosedForm, OneBatchStepIsTheSumOfItsKernels) {
  const StepRun one = run({});
  EXPECT_GT(one.compute_us(), 100);
  EXPECT_NEAR(us(one.step), one.compute_us(), 10 * kPicosecond);
}

// TP 2: the sum of the kernels and two all-reduces a layer. The ring's LL at 1 GB/s and LL128 at 10 GB/s lose to Simple
// for 384 x 2048 x 2 B = 1,572,864 B: base 10 + 2 steps x 1 + 100 us; wire 2 (n-1)/n B = B at 100 GB/s, B/2 at 1000
// GB/s.
TEST(ClosedForm, TensorParallelStepAddsItsAllReduces) {
  const StepRun two = run({"deployment.attention.tp=2", "deployment.collectives.all_reduce=ring"});
  const double bytes = 384.0 * 2048 * 2;
  const double all_reduce = 10 + 2 * 1 + 100 + bytes / 100e3 + bytes / 2 / 1000e3;
  // Two hosts of one expert each get the same rows, because every token goes to both.
  EXPECT_NEAR(us(two.step), two.compute_us() + 2 * 2 * all_reduce, 100 * kPicosecond);
}

// Two equal stages of t per micro-batch, M micro-batches, x to the next stage, y for the tokens' way back. The second
// stage starts at t + x and is then busy for M t without a gap; the first starts the next step y after that.
TEST(ClosedForm, PipelineThatFlushesTakesItsBubble) {
  for (const int micro_batches : {1, 2, 3, 4}) {
    const StepRun flush = run({"deployment.pipeline={\"stages\":2,\"schedule\":\"flush\"}",
                               "deployment.micro_batches=" + std::to_string(micro_batches)});
    const double t = flush.compute_us(0) / micro_batches;
    EXPECT_NEAR(flush.compute_us(1) / micro_batches, t, 10 * kPicosecond) << "the stages are equal";
    // Messages in a node: 5 us and 100 GB/s. Rows of 2048 x 2 bytes; 4 bytes per token.
    const double rows = 384.0 / micro_batches;
    const double x = 5 + rows * 2048 * 2 / 100e3;
    const double y = 5 + rows * 4 / 100e3;
    EXPECT_NEAR(us(flush.step), (micro_batches + 1) * t + x + y, 100 * kPicosecond) << micro_batches;
  }
}

// With flow a micro-batch returns to the first stage 2 t + x + y after it started there. With enough others to fill
// that time the stage is always busy: M t. With too few, each waits for its own tokens: 2 t + x + y.
TEST(ClosedForm, PipelineThatFlowsHasNoBubbleWithEnoughMicroBatches) {
  for (const int micro_batches : {2, 3, 4}) {
    const StepRun flow = run({"deployment.pipeline={\"stages\":2,\"schedule\":\"flow\"}",
                              "deployment.micro_batches=" + std::to_string(micro_batches)});
    const double t = flow.compute_us(0) / micro_batches;
    const double rows = 384.0 / micro_batches;
    const double way = 2 * t + 5 + rows * 2048 * 2 / 100e3 + 5 + rows * 4 / 100e3;
    EXPECT_NEAR(us(flow.step), std::max(micro_batches * t, way), 100 * kPicosecond) << micro_batches;
  }
}

const std::vector<std::string> kExpertParallel{
    "deployment.attention={\"tp\":1,\"dp\":2}",
    "deployment.experts={\"placement\":\"colocated\",\"exchange\":\"dispatch\",\"ep\":2}"};

// Every token goes to both experts, one per rank: of a rank's 192 tokens one copy stays and one crosses NVLink.
// dispatch: 8 us + 2 experts x 0.25 us + 192 x 4096 B at 200 GB/s; combine the same from 12 us.
double crossing_us(double latency, double tokens) { return latency + 0.5 + tokens * 4096 / 200e3; }

// Without overlap a step is its kernels, dispatches and combines, one after the other, in each of the 2 layers.
TEST(ClosedForm, ExpertParallelStepWithoutOverlap) {
  const StepRun none = run(kExpertParallel);
  EXPECT_NEAR(us(none.step), none.compute_us() + 2 * (crossing_us(8, 192) + crossing_us(12, 192)), 100 * kPicosecond);
}

// Two batches A and B, each with attention a, experts e, dispatch d, combine c per layer, in order aA aB eA eB:
// dispatch A runs under aB, dispatch B under eA, combine A under eB, combine B under the next layer's aA. If d <= a,
// d <= e, c <= e and c <= a, all of it is hidden but the last combine B, which ends the step: compute + c, less what A
// computes after its own last combine (its sum and residual add), which runs under B's.
TEST(ClosedForm, ExpertParallelStepWithTwoBatchOverlap) {
  std::vector<std::string> changes = kExpertParallel;
  changes.insert(changes.end(), {"deployment.overlap=two_batch", "deployment.micro_batches=2"});
  const StepRun two = run(changes);
  const auto of_batch = [&](int batch, auto wanted) {
    return two.us([&](const TraceOp& op) { return op.micro_batch == batch && !op.communication && wanted(op); });
  };
  const double experts = of_batch(0, [](const TraceOp& op) { return op.kind == "grouped_gemm"; }) / 2;
  const double others = of_batch(0, [](const TraceOp& op) { return op.kind != "grouped_gemm"; }) / 2;
  const double d = crossing_us(8, 96);
  const double c = crossing_us(12, 96);
  ASSERT_LT(std::max(d, c), std::min(experts, others)) << "the case is made for communication that can be hidden";
  const double tail = of_batch(0, [](const TraceOp& op) {
    return op.name == "l1.m0.unpermute" || op.name == "m0.output" || op.name == "m0.step_end";
  });
  ASSERT_LT(tail, c);
  EXPECT_NEAR(us(two.step), two.compute_us() + c - tail, 100 * kPicosecond);
}

// A micro-batch pays for its weights again: with experts that are bound by reading them, M micro-batches without a
// pipeline take nearly M times the expert time of one.
TEST(ClosedForm, MicroBatchesReadTheWeightsAgain) {
  const auto expert_us = [](const StepRun& some) {
    return some.us([](const TraceOp& op) { return op.kind == "grouped_gemm"; });
  };
  const double once = expert_us(run({"workload.sequences=64"}));
  const double four_times = expert_us(run({"workload.sequences=64", "deployment.micro_batches=4"}));
  EXPECT_GT(four_times, 3.5 * once);
  EXPECT_LT(four_times, 4.5 * once);
}

}  // namespace
}  // namespace foretoken::sim
