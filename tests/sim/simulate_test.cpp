// The shipped scenarios, end to end: what must hold whatever the calibration says.
#include "sim/simulate.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <thread>
#include <vector>

#include "core/breakdown.hpp"
#include "core/error.hpp"
#include "core/metrics.hpp"
#include "plan/machine/topology.hpp"

namespace foretoken::sim {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

struct Loaded {
  plan::Plan plan;
  plan::Machine machine;
  Calibration calibration;
};

Loaded load(const std::string& scenario, const std::vector<std::string>& overrides = {}) {
  JsonDocument document = JsonDocument::from_file("scenarios/paper/" + scenario);
  for (const std::string& change : overrides) document.set(change);
  const plan::Scenario parsed = plan::parse_scenario(document);
  const plan::Topology topology =
      plan::read_topology(parsed.cluster.topology, {parsed.cluster.nodes, parsed.cluster.nic});
  const plan::Machine machine = plan::build_machine(topology);
  return {plan::make_plan(parsed, machine), machine, read_calibration(topology.calibration)};
}

class PaperScenario : public ::testing::TestWithParam<const char*> {};

// Little's law, over a window that is a whole number of routing cycles.
TEST_P(PaperScenario, TpsTimesTpotIsTheNumberOfSequences) {
  const Loaded loaded = load(GetParam());
  const Metrics metrics = compute_metrics(simulate(loaded.plan, loaded.machine, loaded.calibration));
  EXPECT_EQ(metrics.sequences, static_cast<double>(loaded.plan.scenario.workload.sequences));
  EXPECT_NEAR(metrics.tps * metrics.tpot.mean.value() / metrics.sequences, 1.0, 1e-9);
}

TEST_P(PaperScenario, SameArgumentsSameTrace) {
  const Loaded loaded = load(GetParam());
  const Trace one = simulate(loaded.plan, loaded.machine, loaded.calibration);
  const Trace two = simulate(loaded.plan, loaded.machine, loaded.calibration);
  EXPECT_EQ(one.posted, two.posted);
  EXPECT_EQ(one.begun, two.begun);
  EXPECT_EQ(one.ended, two.ended);
  EXPECT_EQ(one.provenance, two.provenance);
}

// Nothing is shared but what is read, and the machine's routes, which whoever comes first finds for all.
TEST_P(PaperScenario, ThreadsDoNotDisturbOneAnother) {
  const Loaded loaded = load(GetParam());
  std::array<Trace, 4> traces;
  std::vector<std::thread> threads;
  for (Trace& trace : traces)
    threads.emplace_back([&] { trace = simulate(loaded.plan, loaded.machine, loaded.calibration); });
  for (std::thread& thread : threads) thread.join();
  const Trace alone = simulate(loaded.plan, loaded.machine, loaded.calibration);
  for (const Trace& trace : traces) EXPECT_EQ(trace.ended, alone.ended);
}

TEST_P(PaperScenario, StepsThatRecurAreCopiedToTheBit) {
  const Loaded loaded = load(GetParam());
  SimulateOptions every_step;
  every_step.every_step = true;
  const Trace copied = simulate(loaded.plan, loaded.machine, loaded.calibration);
  const Trace simulated = simulate(loaded.plan, loaded.machine, loaded.calibration, every_step);
  EXPECT_EQ(copied.posted, simulated.posted);
  EXPECT_EQ(copied.begun, simulated.begun);
  EXPECT_EQ(copied.ended, simulated.ended);
  EXPECT_EQ(copied.provenance, simulated.provenance);
  EXPECT_EQ(copied.last_peer, simulated.last_peer);
}

// break_down() checks that its parts add up to the window; no rank can be busy for longer than the window.
TEST_P(PaperScenario, TheTimelineOfTheSlowestRankIsTiled) {
  const Loaded loaded = load(GetParam());
  const Trace trace = simulate(loaded.plan, loaded.machine, loaded.calibration);
  const Breakdown breakdown = break_down(trace);
  EXPECT_GT(breakdown.window(), SimTime(0));
  EXPECT_GT(total(breakdown.compute), SimTime(0));
  double shares = 0;
  for (const auto& [provenance, name] : kProvenanceNames) shares += breakdown.share(provenance);
  EXPECT_NEAR(shares, 1.0, 1e-12);
}

INSTANTIATE_TEST_SUITE_P(All, PaperScenario,
                         ::testing::Values("baseline-tp8-pp2.json", "large-ep64.json", "scaling-ep16.json"));

// An expert's two matrices have to be read once a step: 4 layers x 2 x 8192 x 32768 x 2 bytes at the datasheet's peak.
TEST(Simulate, NoStepIsFasterThanItsWeightsCanBeRead) {
  const Loaded loaded = load("large-ep64.json");
  const Metrics metrics = compute_metrics(simulate(loaded.plan, loaded.machine, loaded.calibration));
  const double bytes = 4.0 * 2 * 8192 * 32768 * 2;
  EXPECT_GT(metrics.tpot.mean.value(), bytes / loaded.machine.device().memory_bandwidth.value());
}

// Completions and timers that fall into one picosecond: the network must not be moved past what is due within it.
TEST(Simulate, CoincidencesWithinAPicosecondAreInOrder) {
  const Loaded loaded =
      load("scaling-ep16.json", {"deployment.attention={\"tp\":4,\"dp\":4}", "deployment.overlap=two_batch",
                                 "deployment.micro_batches=8", "workload.sequences=256"});
  EXPECT_GT(compute_metrics(simulate(loaded.plan, loaded.machine, loaded.calibration)).tps, 0);
}

// Replicas that share nothing but a machine keep their own pace; Little's law holds for their sum all the same.
TEST(Simulate, LittlesLawHoldsForIndependentReplicas) {
  const Loaded loaded =
      load("scaling-ep16.json", {"deployment.attention={\"tp\":4,\"dp\":3}", "workload.sequences=100",
                                 "deployment.experts={\"placement\":\"colocated\",\"exchange\":\"all_reduce\"}",
                                 "deployment.collectives={\"all_reduce\":\"auto\"}"});
  const Metrics metrics = compute_metrics(simulate(loaded.plan, loaded.machine, loaded.calibration));
  EXPECT_NEAR(metrics.tps * metrics.tpot.mean.value() / 100, 1.0, 1e-9);
}

// Another NIC is not what was measured; a faster one helps where the NIC was the limit. By hand: 64 tokens x 2 choices
// x 16 KiB a rank, about half of it to the other node: 1 MB. 16 experts are 16 blocks, 4 tokens for each, which
// take 1.35 us and 16 KiB at 6 GB/s: 16 us. 14 + 16 us + 1 MB at 47, 24.5 and 94 GB/s: 52, 73 and 41 us.
TEST(Simulate, AnotherNicIsExtrapolatedAndFeltBothWays) {
  const auto exchange_us = [](const char* nic, Provenance provenance) {
    const Loaded loaded = load("scaling-ep16.json", {std::string("cluster.nic=") + nic});
    const Trace trace = simulate(loaded.plan, loaded.machine, loaded.calibration);
    double time = 0;
    for (std::size_t i = 0; i < trace.size(); ++i) {
      if (trace.op_of(i).kind != "dispatch") continue;
      EXPECT_EQ(trace.provenance[i], provenance);
      time = std::max(time, to_seconds(trace.ended[i] - trace.begun[i]).value() * 1e6);
    }
    return time;
  };
  const double usual = exchange_us("400 Gb/s", Provenance::interpolated);
  EXPECT_GT(exchange_us("200 Gb/s", Provenance::extrapolated), 1.3 * usual);
  const double faster = exchange_us("800 Gb/s", Provenance::extrapolated);
  EXPECT_LT(faster, 0.98 * usual);
  EXPECT_GT(faster, 0.85 * usual);
}

TEST(Simulate, OverlapVariantsRun) {
  for (const char* overlap : {"two_batch", "micro_stages"}) {
    std::vector<std::string> changes{std::string("deployment.overlap=") + overlap};
    if (std::string(overlap) == "micro_stages") changes.emplace_back("deployment.chunks=4");
    if (std::string(overlap) == "two_batch") changes.emplace_back("deployment.micro_batches=2");
    const Loaded loaded = load("scaling-ep16.json", changes);
    const Metrics metrics = compute_metrics(simulate(loaded.plan, loaded.machine, loaded.calibration));
    EXPECT_GT(metrics.tps, 0) << overlap;
  }
}

std::string message_of(const Loaded& loaded, const SimulateOptions& options = {}) {
  try {
    simulate(loaded.plan, loaded.machine, loaded.calibration, options);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    return error.what();
  }
  return "no error";
}

TEST(Simulate, RefusesACalibrationOfAnotherDevice) {
  Loaded loaded = load("scaling-ep16.json");
  loaded.calibration.device.name = "some-other-gpu";
  EXPECT_THAT(message_of(loaded), AllOf(HasSubstr("some-other-gpu"), HasSubstr(loaded.machine.device().name)));
}

TEST(Simulate, RefusesMoreRanksThanGpus) {
  Loaded loaded = load("large-ep64.json");
  loaded.machine = load("scaling-ep16.json").machine;
  EXPECT_THAT(message_of(loaded), AllOf(HasSubstr("64 ranks"), HasSubstr("16 GPUs")));
}

TEST(Simulate, RefusesMoreThanItsLimitOfExecutions) {
  const Loaded loaded = load("scaling-ep16.json");
  SimulateOptions options;
  options.executions_max = 1000;
  EXPECT_THAT(message_of(loaded, options), AllOf(HasSubstr("1000"), HasSubstr("lower measure.steps")));
}

}  // namespace
}  // namespace foretoken::sim
