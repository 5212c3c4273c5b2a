// A computer's cores, end to end: from a shipped scenario to a trace, with costs so simple that the step is known.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.hpp"
#include "core/metrics.hpp"
#include "plan/machine/topology.hpp"
#include "plan/program/resolve.hpp"
#include "sim/host_durations.hpp"
#include "sim/simulate.hpp"

namespace foretoken::sim {
namespace {

using ::testing::HasSubstr;

constexpr double kNear = 1e-9;  // seconds: every message that costs nothing still takes a picosecond

plan::Scenario scenario_of(const std::string& name, const std::vector<std::string>& overrides = {}) {
  JsonDocument document = JsonDocument::from_file("scenarios/laptop/" + name);
  for (const std::string& change : overrides) document.set(change);
  return plan::parse_scenario(document);
}

plan::Machine host() { return plan::build_machine(plan::read_topology("topologies/host.json")); }

// Only norms cost anything: 1 ns per element.
Calibration norms_alone() {
  Calibration calibration;
  calibration.file = "invented.json";
  calibration.device.name = "any";
  HostCalibration host;
  host.cores = 2;
  for (HostTerms& costs : host.unit_costs) costs[HostTerm::norm_elements] = 1e-9;
  for (auto& cache : host.cache) cache = {{Bytes(1), Seconds(0)}};
  host.communication.push_back({"threads", "invented", {}, {true, true}, Seconds(0), {}});
  calibration.host = host;
  return calibration;
}

Metrics metrics_of(const plan::Scenario& scenario) {
  const plan::Machine machine = host();
  return compute_metrics(simulate(plan::make_plan(scenario, machine), machine, norms_alone()));
}

std::string refusal(const plan::Machine& machine, const Calibration& calibration, const SimulateOptions& options,
                    const std::vector<std::string>& overrides = {}) {
  try {
    (void)simulate(plan::make_plan(scenario_of("baseline-r1.json", overrides), machine), machine, calibration, options);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    return error.what();
  }
  return "accepted";
}

// Two norms a layer, of sequences x hidden elements each. On one rank they follow one another; two data-parallel ranks
// have half of the sequences each, and two pipeline stages of one micro-batch half of the layers, one after the other.
TEST(SimulateHost, AStepOfNormsAlone) {
  const plan::Scenario one = scenario_of("large-ep-r1.json");
  const auto elements = static_cast<double>(2 * one.model.layers * one.workload.sequences * one.model.hidden);
  EXPECT_NEAR(metrics_of(one).tpot.mean.value(), elements * 1e-9, kNear);
  EXPECT_NEAR(metrics_of(scenario_of("large-ep-r2.json")).tpot.mean.value(), elements / 2 * 1e-9, kNear);
  EXPECT_NEAR(metrics_of(scenario_of("baseline-r2-pp2.json",
                                     {"deployment.micro_batches=1", "deployment.pipeline.schedule=flush"}))
                  .tpot.mean.value(),
              elements * 1e-9, kNear);
}

TEST(SimulateHost, LittlesLawAndCpuTime) {
  const plan::Scenario scenario = scenario_of("baseline-r4-tp2-pp2.json");
  const plan::Machine machine = host();
  const Trace trace = simulate(plan::make_plan(scenario, machine), machine, norms_alone());
  const Metrics metrics = compute_metrics(trace);
  EXPECT_NEAR(metrics.tps * metrics.tpot.mean.value() / metrics.sequences, 1.0, 1e-9);
  // Tensor-parallel ranks norm all tokens each: of every step 2 x the elements, whoever waits for whom.
  const auto elements = static_cast<double>(2 * scenario.model.layers * scenario.workload.sequences *
                                            scenario.model.hidden * scenario.deployment.tp);
  double cpu = 0;
  for (std::size_t i = 0; i < trace.size(); ++i)
    if (trace.step[i] == trace.warmup_steps) cpu += to_seconds(trace.cpu[i]).value();
  EXPECT_NEAR(cpu / (elements * 1e-9), 1.0, 1e-6);
}

TEST(SimulateHost, RefusesWhatDoesNotGoTogether) {
  SimulateOptions framework;
  framework.framework = "vllm";
  SimulateOptions mpi;
  mpi.communicator = "mpi";
  Calibration other_cores = norms_alone();
  other_cores.host->cores = 8;
  Calibration gpus = norms_alone();
  gpus.host.reset();
  EXPECT_THAT(refusal(host(), norms_alone(), framework), HasSubstr("--framework vllm: is of GPUs"));
  EXPECT_THAT(refusal(host(), norms_alone(), mpi), HasSubstr("no messages by \"mpi\""));
  EXPECT_THAT(refusal(host(), other_cores, {}), HasSubstr("8 cores are calibrated here, but the topology has 2"));
  EXPECT_THAT(refusal(host(), gpus, {}), HasSubstr("is a calibration of GPUs"));
  EXPECT_THAT(refusal(host(), norms_alone(), {}, {"model.dtype={\"weights\":\"fp16\"}"}),
              HasSubstr("the host computes in fp32"));
  EXPECT_THAT(refusal(host(), norms_alone(), {}, {"execution={\"mode\":\"eager\"}"}), HasSubstr("/execution"));
}

// A wait takes 1 ms in memory and 10 ms between nodes, and nothing else takes any time. 4 ranks on 2 nodes, 4 layers:
// sent straight to each expert's rank, a dispatch waits once for a message from the other node, and so does a combine.
// Once per node, what comes from there is then handed on in memory, and the sums of a node are waited for before they
// leave it. On one node nothing is handed on.
TEST(SimulateHost, OncePerNodeIsOneRoundAfterTheOther) {
  plan::Topology topology;
  topology.name = "invented";
  topology.device.name = "any";
  topology.device.memory = Bytes(std::int64_t{1} << 40);
  topology.nodes = 2;
  topology.gpus_per_node = 2;
  topology.cores_per_node = 2;
  topology.emulated = true;
  topology.nics_per_node = 1;
  topology.nic_bandwidth = BytesPerSecond(1e18);
  const plan::Machine two = plan::build_machine(topology);
  topology.nodes = 1;
  topology.gpus_per_node = 4;
  const plan::Machine one = plan::build_machine(topology);
  Calibration calibration = norms_alone();
  for (HostTerms& costs : calibration.host->unit_costs) costs[HostTerm::norm_elements] = 0;
  calibration.host->communication.front().wake = Seconds(1e-3);
  calibration.host->network = {"invented", 1, 0, Seconds(10e-3), Bytes(0), {}, {}};
  const auto step = [&](const plan::Machine& machine, const std::string& exchange) {
    const plan::Scenario scenario = scenario_of(
        "large-ep-r4.json",
        {"deployment.attention={\"tp\":1,\"dp\":4}", "deployment.collectives={\"exchange\":\"" + exchange + "\"}"});
    return compute_metrics(simulate(plan::make_plan(scenario, machine), machine, calibration)).tpot.mean.value();
  };
  EXPECT_NEAR(step(two, "low_latency"), 4 * 2 * 10e-3, 1e-6);
  EXPECT_NEAR(step(two, "hierarchical"), 4 * 2 * (10e-3 + 1e-3), 1e-6);
  EXPECT_NEAR(step(one, "low_latency"), 4 * 2 * 1e-3, 1e-6);
  EXPECT_NEAR(step(one, "hierarchical"), 4 * 2 * 1e-3, 1e-6);
}

// A cost of a second per element is legal, and leads past what picoseconds in 64 bits can count.
TEST(SimulateHost, AbsurdCostsAreBadInput) {
  Calibration absurd = norms_alone();
  for (HostTerms& costs : absurd.host->unit_costs) costs[HostTerm::norm_elements] = 1;
  EXPECT_THAT(refusal(host(), absurd, {}, {"workload.sequences=4096", "workload.context=0"}), HasSubstr("106 days"));
}

// Against the rows that routing really gives, on average over ranks and routed steps.
TEST(RoutedRowsExpected, IsTheMeanOfWhatRanksGet) {
  const plan::Machine machine = host();
  for (const char* name : {"baseline-r2-tp2.json", "large-ep-r2.json", "shape-r2-tp2-sharded.json",
                           "baseline-r4-tp2-pp2.json", "large-ep-r16.json", "shape-r2-ep2-micro-stages.json"}) {
    const plan::Plan plan = plan::make_plan(scenario_of(name), machine);
    plan::RowCounter counter(plan.placement, plan.routing, plan.scenario.model.experts);
    double rows = 0;
    double extents = 0;
    for (std::int32_t r = 0; r < plan.program.ranks; ++r) {
      for (const plan::Op& op : plan.program.role_of(RankId(r)).ops) {
        const auto* grouped = std::get_if<plan::GroupedGemmOp>(&op.detail);
        if (grouped == nullptr) continue;
        for (std::int64_t step = 0; step < plan.routing.routed_steps(); ++step) {
          for (const std::int64_t of_expert : counter.local_rows(RankId(r), grouped->rows, step))
            rows += static_cast<double>(of_expert);
          extents += 1;
        }
      }
    }
    EXPECT_NEAR(static_cast<double>(routed_rows_expected(plan)), rows / extents, 1.0) << name;
  }
}

}  // namespace
}  // namespace foretoken::sim
