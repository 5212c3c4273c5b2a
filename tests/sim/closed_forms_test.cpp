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
#include "tests/sim/cost/invented_compute.hpp"
#include "tests/sim/cost/invented_network.hpp"

namespace foretoken::sim {
namespace {

constexpr const char* kClosedForm = R"({
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

// Kernels share nothing but links unless `interference` says so: sums of the times that they take alone.
StepRun run(const std::vector<std::string>& changes, bool interference = false) {
  JsonDocument document = JsonDocument::from_text(kClosedForm, "closed form");
  for (const std::string& change : changes) document.set(change);
  const plan::Scenario scenario = plan::parse_scenario(document);
  const plan::Topology topology = plan::read_topology(scenario.cluster.topology);
  const plan::Machine machine = plan::build_machine(topology);
  Calibration calibration = read_calibration(topology.calibration);
  calibration.network = foretoken::test::invented_network();
  SimulateOptions options;
  options.interference = interference;
  StepRun result{simulate(plan::make_plan(scenario, machine), machine, calibration, options), {}};
  result.step = compute_metrics(result.trace).step.mean;
  return result;
}

constexpr double kRounding = 1e-6;  // in us; sums of rounded picoseconds

// One rank, one batch: nothing overlaps, so a step is the sum of its kernels.
TEST(ClosedForm, OneBatchStepIsTheSumOfItsKernels) {
  const StepRun one = run({});
  EXPECT_GT(one.compute_us(), 100);
  EXPECT_NEAR(microseconds(one.step), one.compute_us(), 10 * kRounding);
}

// TP 2: the sum of the kernels and two all-reduces a layer. The ring's LL at 1 GB/s and LL128 at 10 GB/s lose to Simple
// for 384 x 2048 x 2 B = 1,572,864 B: base 10 + 2 steps x 1 + 100 us; wire 2 (n-1)/n B = B at 100 GB/s, B/2 at 1000
// GB/s.
TEST(ClosedForm, TensorParallelStepAddsItsAllReduces) {
  const StepRun two = run({"deployment.attention.tp=2", "deployment.collectives.all_reduce=ring"});
  const double bytes = 384.0 * 2048 * 2;
  const double all_reduce = 10 + 2 * 1 + 100 + bytes / 100e3 + bytes / 2 / 1000e3;
  // Two hosts of one expert each get the same rows, because every token goes to both.
  EXPECT_NEAR(microseconds(two.step), two.compute_us() + 2 * 2 * all_reduce, 100 * kRounding);
}

// Two equal stages of t per micro-batch, M micro-batches, x to the next stage, y for the tokens' way back. The second
// stage starts at t + x and is then busy for M t without a gap; the first starts the next step y after that.
TEST(ClosedForm, PipelineThatFlushesTakesItsBubble) {
  for (const int micro_batches : {1, 2, 3, 4}) {
    const StepRun flush = run({"deployment.pipeline={\"stages\":2,\"schedule\":\"flush\"}",
                               "deployment.micro_batches=" + std::to_string(micro_batches)});
    const double t = flush.compute_us(0) / micro_batches;
    EXPECT_NEAR(flush.compute_us(1) / micro_batches, t, 10 * kRounding) << "the stages are equal";
    // Messages in a node: 5 us and 100 GB/s. Rows of 2048 x 2 bytes; 4 bytes per token.
    const double rows = 384.0 / micro_batches;
    const double x = 5 + rows * 2048 * 2 / 100e3;
    const double y = 5 + rows * 4 / 100e3;
    EXPECT_NEAR(microseconds(flush.step), (micro_batches + 1) * t + x + y, 100 * kRounding) << micro_batches;
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
    EXPECT_NEAR(microseconds(flow.step), std::max(micro_batches * t, way), 100 * kRounding) << micro_batches;
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
  EXPECT_NEAR(microseconds(none.step), none.compute_us() + 2 * (crossing_us(8, 192) + crossing_us(12, 192)),
              100 * kRounding);
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
  EXPECT_NEAR(microseconds(two.step), two.compute_us() + c - tail, 100 * kRounding);
}

// 16 ranks on 2 nodes and every token to all 16 experts, one per rank: each rank sends its 24 tokens to the 15 others.
// Over NVLink 7 x 24 x 4096 B at 200 GB/s, hidden behind 8 x 24 x 4096 B to the NIC over PCIe: 63 GB/s, half of which
// is payload here, less than the kernels' 40 GB/s. Dispatch and combine 16 us across nodes, and 16 experts x 0.25 us
// each.
TEST(ClosedForm, PairwiseExchangeAcrossNodes) {
  const StepRun pairs = run({"model.experts=16", "model.top_k=16", "deployment.attention={\"tp\":1,\"dp\":16}",
                             "deployment.experts={\"placement\":\"colocated\",\"exchange\":\"dispatch\",\"ep\":16}"});
  const double exchange = 16 + 16 * 0.25 + 8 * 24 * 4096 / 31.5e3;
  EXPECT_NEAR(microseconds(pairs.step), pairs.compute_us() + 2 * 2 * exchange, 100 * kRounding);
}

// Gathering and scattering over a ring of 4 in a node, sequence parallel: B = 384 x 2048 x 2 bytes, chunks of B/4. Base
// 10 us and 3 steps of 1 us; of the protocols Simple is the fastest: 100 us, 3 B/4 at 100 GB/s and B/4 at 1000 GB/s.
// LL128 would take 20 us and 4 B/4 at 10 GB/s, 157 us in all. Rows stay in the group of 4, as it is the experts'.
TEST(ClosedForm, RingsGatherAndScatterAroundAttention) {
  const StepRun ring = run({"model.experts=4", "model.top_k=4", "deployment.attention={\"tp\":4,\"dp\":1}",
                            "deployment.experts={\"placement\":\"colocated\",\"exchange\":\"dispatch\",\"ep\":4}",
                            "deployment.collectives={\"all_gather\":\"ring\",\"reduce_scatter\":\"ring\"}"});
  const double bytes = 384.0 * 2048 * 2;
  const double once = 10 + 3 * 1 + 100 + 3 * bytes / 4 / 100e3 + bytes / 4 / 1000e3;
  EXPECT_NEAR(ring.us([](const TraceOp& op) { return op.kind == "all_gather"; }) / 2, once, 10 * kRounding);
  EXPECT_NEAR(ring.us([](const TraceOp& op) { return op.kind == "reduce_scatter"; }) / 2, once, 10 * kRounding);
}

// With interference on, two batches whose exchanges take no SMs are slowed by the memory that the rows pass through at
// most: 200 GB/s out and 200 GB/s in of the 2,514.5 GB/s that a copy moves. And what takes turns is not slowed at all.
TEST(ClosedForm, InterferenceCostsTwoBatchesLessThanTheMemoryThatRowsTake) {
  std::vector<std::string> changes = kExpertParallel;
  EXPECT_EQ(run(changes, true).trace.ended, run(changes, false).trace.ended);
  changes.insert(changes.end(), {"deployment.overlap=two_batch", "deployment.micro_batches=2"});
  const StepRun with = run(changes, true);
  const StepRun without = run(changes, false);
  EXPECT_GT(microseconds(with.step), microseconds(without.step));
  EXPECT_LT(with.compute_us(), without.compute_us() * 2514.5 / (2514.5 - 400));
}

// In a pipeline in one node a message's kernel holds 32 of 132 SMs: nothing is slowed by more than 132 / 100.
TEST(ClosedForm, InterferenceOfPipelineTransfersIsBoundedByTheirSms) {
  const std::vector<std::string> changes{"deployment.pipeline={\"stages\":2,\"schedule\":\"flow\"}",
                                         "deployment.micro_batches=4"};
  const StepRun with = run(changes, true);
  const StepRun without = run(changes, false);
  EXPECT_GT(with.compute_us(), without.compute_us());
  EXPECT_LT(with.compute_us(), without.compute_us() * 132 / 100);
  EXPECT_LT(microseconds(with.step), microseconds(without.step) * 132 / 100);
}

// One rank, one batch, every kernel launched by itself: a step of K kernels takes K launches where these are slower
// than the kernels (1 ms each), and what the kernels take where they are faster (0.1 us).
TEST(ClosedForm, EagerStepIsItsLaunchesOrItsKernels) {
  const StepRun plain = run({});
  std::int64_t kernels = 0;
  for (const TraceOp& op : plain.trace.roles.front()) kernels += op.kind == "input" || op.kind == "step_end" ? 0 : 1;
  const StepRun slow = run({"execution={\"mode\":\"eager\",\"launch\":\"1 ms\"}"});
  EXPECT_NEAR(microseconds(slow.step), 1000.0 * static_cast<double>(kernels), 10 * kRounding);
  const StepRun fast = run({"execution={\"mode\":\"eager\",\"launch\":\"0.1 us\"}"});
  EXPECT_NEAR(microseconds(fast.step), microseconds(plain.step), 10 * kRounding);
  const StepRun gaps = run({"execution={\"mode\":\"graph\",\"gap\":\"1 us\"}"});
  EXPECT_NEAR(microseconds(gaps.step), microseconds(plain.step) + static_cast<double>(kernels), 10 * kRounding);
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

// To the picosecond, on an invented GPU of 1 TB/s without floors: both experts' two matrices, 4 x 2048 x 8192 x 2
// bytes, are 134 MB a layer: 134.2 us for M = 1 and M times that for M micro-batches, whatever their rows. What the
// rows add is small: their math, 4 x 2 x 8 x 2048 x 8192 FLOPs at 1 PFLOP/s, is 1 us against 134, of which a rounded
// corner shows 0.004; and their activations pass through L2 at 4 TB/s, read once for both experts side by side and
// written for each: 8 rows x 3 x (2048 + 8192) x 2 B, 0.12 us.
TEST(ClosedForm, MicroBatchesReadTheWeightsAgainOnAnInventedGpu) {
  const auto expert_us = [](int micro_batches) {
    JsonDocument document = JsonDocument::from_text(kClosedForm, "closed form");
    document.set("workload.sequences=8");
    document.set("deployment.micro_batches=" + std::to_string(micro_batches));
    const plan::Scenario scenario = plan::parse_scenario(document);
    plan::Topology topology = plan::read_topology(scenario.cluster.topology);
    Calibration calibration = read_calibration(topology.calibration);
    topology.device = invented_device();
    calibration.device.name = topology.device.name;
    calibration.network = foretoken::test::invented_network();
    calibration.compute = invented_calibration();
    for (GemmFit& fit : calibration.compute.gemm) fit.floor = Seconds(0);
    const plan::Machine machine = plan::build_machine(topology);
    const StepRun some{simulate(plan::make_plan(scenario, machine), machine, calibration), {}};
    return some.us([](const TraceOp& op) { return op.kind == "grouped_gemm"; }) / 2;
  };
  const double weights = 4 * 2048.0 * 8192 * 2 / 1e6;
  const double activations = 8 * 3 * (2048.0 + 8192) * 2 / 4e6;
  for (const int micro_batches : {1, 2, 4})
    EXPECT_NEAR(expert_us(micro_batches), micro_batches * weights + activations, 0.005) << micro_batches;
}

}  // namespace
}  // namespace foretoken::sim
