// From a run of some layers to what all would take, beside runs of all.
#include "tools/explain/layer_sampling.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/json_reader.hpp"
#include "plan/machine/topology.hpp"
#include "sim/simulate.hpp"

namespace foretoken::explain {
namespace {

// 24 layers of 32 experts over 8 GPUs of one node, 32 tokens each.
nlohmann::json base() {
  return nlohmann::json::parse(R"({
    "kind": "scenario", "schema_version": 1, "name": "sampled",
    "model": {"name": "m", "layers": 24, "hidden": 1024, "heads": 8, "head_dim": 128, "experts": 32, "top_k": 4,
              "expert_hidden": 1024, "gated": true,
              "dtype": {"weights": "bf16", "activations": "bf16", "kv_cache": "bf16"}},
    "workload": {"kind": "decode", "sequences": 256, "context": 256},
    "routing": {"kind": "zipf", "exponent": 0.8, "seed": 1, "routed_steps": 1},
    "deployment": {"attention": {"tp": 1, "dp": 8},
                   "experts": {"placement": "colocated", "exchange": "dispatch", "ep": 8}},
    "cluster": {"topology": "topologies/hgx-h100-2nodes-ndr400.json"},
    "measure": {"warmup_steps": 1, "steps": 1}})");
}

struct SampledCase {
  plan::Machine machine;
  Calibration calibration;
  plan::Plan whole;

  [[nodiscard]] Trace all() const { return sim::simulate(whole, machine, calibration); }
  [[nodiscard]] SampledRun sampled(std::int64_t count) const {
    const plan::LayerSample sample = plan::sample_layers(whole.scenario, count);
    const plan::Plan part = plan::with_layers(whole, machine, sample);
    return scale_to_all_layers(sim::simulate(part, machine, calibration), part, sample);
  }
};

SampledCase case_of(const std::vector<std::string>& overrides) {
  JsonDocument document = JsonDocument::from_text(base().dump(), "sampled.json");
  for (const std::string& change : overrides) document.set(change);
  const plan::Scenario scenario = plan::parse_scenario(document);
  const plan::Topology topology = plan::read_topology(scenario.cluster.topology, {});
  plan::Machine machine = plan::build_machine(topology);
  plan::Plan whole = plan::make_plan(scenario, machine);
  return {std::move(machine), read_calibration(topology.calibration), std::move(whole)};
}

void expect_consistent(const SampledCase& each, const SampledRun& run) {
  // Little's law, and the tiling of the slowest rank's step, which is its batch's.
  EXPECT_NEAR(run.metrics.tps * run.metrics.tpot.mean.value() / run.metrics.sequences, 1.0, 1e-9);
  EXPECT_EQ(run.metrics.sequences, static_cast<double>(each.whole.scenario.workload.sequences));
  const Breakdown& b = run.breakdown;
  EXPECT_EQ(total(b.compute) + total(b.exposed) + total(b.waiting) + b.idle, b.window());
  EXPECT_LE(run.tpot().first, run.metrics.tpot.mean);
  EXPECT_NEAR(run.tps().first * run.tpot().second.value(), run.metrics.sequences, 1e-6);
  EXPECT_NEAR(run.tps().second * run.tpot().first.value(), run.metrics.sequences, 1e-6);
}

struct Kind {
  const char* name;
  std::vector<std::string> overrides;
  std::int64_t count;
};

class Coverage : public ::testing::TestWithParam<Kind> {};

// An interval of 90 % that is one holds the truth in 16 of 20 cases or more with a probability of 96 %.
TEST_P(Coverage, IntervalsHoldTheRunOfAllLayers) {
  const Kind& kind = GetParam();
  int held = 0;
  double bias = 0;
  for (int seed = 1; seed <= 20; ++seed) {
    std::vector<std::string> overrides = kind.overrides;
    overrides.push_back(fmt::format("routing.seed={}", seed));
    const SampledCase each = case_of(overrides);
    const SampledRun run = each.sampled(kind.count);
    expect_consistent(each, run);
    EXPECT_GT(run.error, Seconds(0));
    const Seconds truth = compute_metrics(each.all()).tpot.mean;
    if (run.tpot().first <= truth && truth <= run.tpot().second) ++held;
    bias += (ratio(run.metrics.tpot.mean, truth) - 1) / 20;
  }
  EXPECT_GE(held, 16) << "mean error " << bias;
  EXPECT_NEAR(bias, 0, 0.01);
}

INSTANTIATE_TEST_SUITE_P(LayerSampling, Coverage,
                         ::testing::Values(Kind{"zipf", {}, 4},
                                           Kind{"uniform", {R"(routing={"kind":"uniform","routed_steps":1})"}, 4},
                                           Kind{"zipf_8_of_24", {}, 8},
                                           Kind{"two_groups", {"deployment.experts.ep=4"}, 4},
                                           Kind{"dense", {"model.dense_layers=3", "model.dense_hidden=4096"}, 5}),
                         [](const ::testing::TestParamInfo<Kind>& kind) { return std::string(kind.param.name); });

// Which micro-batch a stage waits for may be another one with more layers, and that no spread of layers tells.
TEST(LayerSampling, OfAPipelineComesWithinHalfAPercent) {
  for (int seed = 1; seed <= 5; ++seed) {
    const SampledCase each =
        case_of({fmt::format("routing.seed={}", seed),
                 R"(deployment={"attention":{"tp":4,"dp":1},"pipeline":{"stages":2},"micro_batches":2,)"
                 R"("experts":{"placement":"colocated","exchange":"all_reduce"}})"});
    const SampledRun run = each.sampled(4);
    expect_consistent(each, run);
    EXPECT_EQ(run.strata.size(), 2U);
    EXPECT_NEAR(ratio(run.metrics.tpot.mean, compute_metrics(each.all()).tpot.mean), 1.0, 0.005) << "seed " << seed;
  }
}

// Layers without experts do the same work, but for the first one's norm. A step's picoseconds are rounded per op.
TEST(LayerSampling, OfLayersThatAreAlikeIsExact) {
  const SampledCase each = case_of({"model.dense_layers=24", "model.dense_hidden=4096",
                                    R"(deployment={"attention":{"tp":8,"dp":1},"experts":{"placement":"colocated",)"
                                    R"("exchange":"all_reduce"}})"});
  const SampledRun run = each.sampled(2);
  expect_consistent(each, run);
  EXPECT_EQ(run.error, Seconds(0));
  const Trace all = each.all();
  EXPECT_NEAR(ratio(run.metrics.tpot.mean, compute_metrics(all).tpot.mean), 1.0, 1e-9);
  const Breakdown truth = break_down(all);
  ASSERT_EQ(run.breakdown.compute.size(), truth.compute.size());
  for (std::size_t i = 0; i < truth.compute.size(); ++i)
    EXPECT_NEAR(ratio(run.breakdown.compute[i].time, truth.compute[i].time), 1.0, 1e-9) << truth.compute[i].kind;
}

// With as many experts per token as there are, routing decides nothing.
TEST(LayerSampling, WithoutAChoiceOfExpertsIsExact) {
  const SampledCase each =
      case_of({"model.top_k=32", R"(deployment={"attention":{"tp":8,"dp":1},"experts":{"placement":"colocated",)"
                                 R"("exchange":"all_reduce"}})"});
  const SampledRun run = each.sampled(2);
  EXPECT_NEAR(run.error.value() / run.metrics.tpot.mean.value(), 0, 1e-6);
  EXPECT_NEAR(ratio(run.metrics.tpot.mean, compute_metrics(each.all()).tpot.mean), 1.0, 1e-9);
}

TEST(LayerSampling, OfAllLayersIsTheRunItself) {
  const SampledCase each = case_of({"measure.warmup_steps=2", "measure.steps=3"});
  const SampledRun run = each.sampled(24);
  const Trace all = each.all();
  const Metrics metrics = compute_metrics(all);
  const Breakdown breakdown = break_down(all);
  EXPECT_EQ(run.error, Seconds(0));
  EXPECT_EQ(run.metrics.tps, metrics.tps);
  EXPECT_EQ(run.metrics.tpot.mean, metrics.tpot.mean);
  EXPECT_EQ(run.metrics.tpot.p99, metrics.tpot.p99);
  EXPECT_EQ(run.breakdown.begin, breakdown.begin);
  EXPECT_EQ(run.breakdown.end, breakdown.end);
  EXPECT_EQ(total(run.breakdown.waiting), total(breakdown.waiting));
}

// One rank, whose layers take 2 us (dense) and 5, 7 us (experts), and whose step_end takes 1 us, outside of layers.
//
//   4 dense, 1 sampled; 10 with experts, 2 sampled       TPOT = 1 + 4 x 2 + 10 x 6 = 69 us
//   s^2 = 2 us^2, variance = 10^2 x 2 / 2 x (1 - 2/10) = 80 us^2; t(95 %, 1 degree of freedom) = 6.3138
TEST(LayerSampling, AddsUpAsDerived) {
  Trace trace;
  trace.clock = "simulated";
  trace.ranks = 1;
  trace.warmup_steps = trace.steps = 1;
  trace.role_of_rank = {0};
  const std::vector<std::int64_t> us{2, 5, 7, 1};
  trace.roles = {{{"l1", "gemm", "compute", false, 1},
                  {"l6", "gemm", "compute", false, 6},
                  {"l11", "gemm", "compute", false, 11},
                  {"end", "step_end", "compute", false, -1}}};
  SimTime now(0);
  for (std::int32_t step = 0; step < 2; ++step) {
    for (std::int32_t op = 0; op < 4; ++op) {
      trace.rank.push_back(0);
      trace.op.push_back(op);
      trace.step.push_back(step);
      trace.posted.push_back(now);
      trace.begun.push_back(now);
      now += SimTime(us[static_cast<std::size_t>(op)] * 1'000'000);
      trace.ended.push_back(now);
      trace.provenance.push_back(Provenance::measured);
    }
    trace.outputs.push_back({step, 0, 8, now});
  }
  const plan::LayerSample sample{14, {{0, true, {0, 4}, {1}}, {0, false, {4, 14}, {6, 11}}}, {1, 6, 11}};
  SampledCase any = case_of({});  // one replica, one micro-batch
  any.whole.scenario.deployment = {};
  const SampledRun run = scale_to_all_layers(trace, any.whole, sample);
  EXPECT_NEAR(run.metrics.tpot.mean.value(), 69e-6, 1e-12);
  EXPECT_NEAR(run.metrics.tps, 8 / 69e-6, 1e-3);
  EXPECT_EQ(run.breakdown.window(), SimTime(69'000'000));
  EXPECT_NEAR(run.outside.value(), 1e-6, 1e-12);
  EXPECT_NEAR(run.strata[1].mean.value(), 6e-6, 1e-12);
  EXPECT_NEAR(run.strata[1].deviation.value(), std::sqrt(2) * 1e-6, 1e-12);
  EXPECT_NEAR(run.error.value(), 6.3138 * std::sqrt(80) * 1e-6, 1e-9);
  EXPECT_NEAR(run.tpot().second.value(), 69e-6 + run.error.value(), 1e-12);
  EXPECT_NEAR(run.tpot().first.value(), 69e-6 - run.error.value(), 1e-12);
}

}  // namespace
}  // namespace foretoken::explain
