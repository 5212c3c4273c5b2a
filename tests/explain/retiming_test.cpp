// A run timed anew: as it was with factors of 1, and as a simulation of the longer ops otherwise.
#include "tools/explain/retiming.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "core/breakdown.hpp"
#include "core/calibration.hpp"
#include "plan/machine/topology.hpp"
#include "plan/plan.hpp"
#include "sim/simulate.hpp"
#include "tests/explain/hand_results.hpp"
#include "tests/explain/random_program.hpp"

namespace foretoken::explain {
namespace {

using foretoken::test::round_machine;
using foretoken::test::TinyProgram;

SimTime microseconds(double us) { return to_sim_time(Seconds(us * 1e-6)); }

/// [event] 1 for compute ops of ranks 0, 2, 4, ..., else 0.
std::vector<std::size_t> compute_of_even_ranks(const Trace& trace) {
  std::vector<std::size_t> group(trace.size());
  for (std::size_t e = 0; e < trace.size(); ++e)
    group[e] = !trace.op_of(e).communication && trace.rank[e] % 2 == 0 ? 1 : 0;
  return group;
}

TEST(Retiming, FactorsOfOneAreTheRunItself) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    const TinyProgram program = test::random_program(seed, {});
    const Trace trace = program.run(round_machine(1, program.program().ranks), 1, 3);
    const Retiming retiming(trace, std::vector<std::size_t>(trace.size(), 0));
    EXPECT_EQ(retiming.window({1.0}), break_down(trace).window()) << "seed " << seed;
  }
}

// Where no two communications share a link, nothing but causes and durations decides a run.
TEST(Retiming, IsWhatASimulationOfLongerOpsGives) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    const TinyProgram program = test::random_program(seed, {false, 1});
    const plan::Machine machine = round_machine(1, program.program().ranks);
    const Trace trace = program.run(machine, 1, 3);
    const Retiming retiming(trace, compute_of_even_ranks(trace));
    for (const double factor : {0.25, 1.75, 4.0}) {
      const Trace longer = test::random_program(seed, {false, factor}).run(machine, 1, 3);
      EXPECT_EQ(retiming.window({1.0, factor}), break_down(longer).window()) << "seed " << seed << " x " << factor;
    }
  }
}

// `side` takes 6 us beside `main` of 4 us, and `join` of 1 us needs both: 7 us. With `side` halved `main` decides: 5
// us.
TEST(Retiming, AnotherPathMayBecomeTheCriticalOne) {
  TinyProgram program(1);
  const std::size_t role = program.role({0});
  const OpId end(std::int32_t{3});
  const OpId side = program.compute(role, "side", 6, {{{end, 1}}, plan::Stream{4}});
  program.compute(role, "main", 4);
  program.compute(role, "join", 1, {{{side, 0}}});
  ASSERT_EQ(program.step_end(role), end);
  const Trace trace = program.run(round_machine(1, 1), 1, 1);
  std::vector<std::size_t> group(trace.size());
  for (std::size_t e = 0; e < trace.size(); ++e) group[e] = trace.op_of(e).name == "side" ? 1 : 0;
  const Retiming retiming(trace, group);
  EXPECT_EQ(retiming.window({1.0, 1.0}), microseconds(7));
  EXPECT_EQ(retiming.window({1.0, 0.5}), microseconds(5));
  EXPECT_EQ(retiming.window({1.0, 2.0}), microseconds(13));
}

// A live trace has gaps, which stay: of 100 ns 40 are gemm, 30 all_reduce among one with 5 of waiting, 20 norm, 10
// idle.
TEST(Retiming, GapsStayAsTheyWere) {
  Trace trace = test::steady({}).trace;
  auto& ops = trace.roles[0];
  ops[1].meets = TraceMeeting{};
  std::vector<std::size_t> group(trace.size());
  for (std::size_t e = 0; e < trace.size(); ++e) group[e] = static_cast<std::size_t>(trace.op[e]);
  const Retiming retiming(trace, group);
  EXPECT_EQ(retiming.window({1, 1, 1, 1}), SimTime(200'000));
  EXPECT_EQ(retiming.window({1.5, 1, 1, 1}), SimTime(240'000));
  EXPECT_EQ(retiming.window({1, 1, 2, 5}), SimTime(240'000));
}

/// All kernels that compute take `factor` times as long, >= 1: none gets faster than its roofline.
void slow_compute_down(ComputeCalibration& compute, double factor) {
  for (GemmFit& fit : compute.gemm)
    for (double& value : fit.log_slowdown.values) value += std::log(factor);
  for (AttentionFit& fit : compute.attention_decode)
    for (double& value : fit.log_slowdown.values) value += std::log(factor);
  compute.memory.floor = compute.memory.floor * factor;
  compute.memory.bandwidth = compute.memory.bandwidth / factor;
}

class RetimedPaperScenario : public ::testing::TestWithParam<const char*> {};

// Links are shared here, and exchanges begin at other times: the two need not agree to the picosecond.
TEST_P(RetimedPaperScenario, RetimedIsCloseToSimulatedAgain) {
  const JsonDocument document = JsonDocument::from_file(std::string("scenarios/paper/") + GetParam());
  const plan::Scenario scenario = plan::parse_scenario(document);
  const plan::Topology topology = plan::read_topology(scenario.cluster.topology);
  const plan::Machine machine = plan::build_machine(topology);
  const plan::Plan plan = plan::make_plan(scenario, machine);
  const Calibration calibration = read_calibration(topology.calibration);
  const Trace trace = sim::simulate(plan, machine, calibration);
  std::vector<std::size_t> group(trace.size());
  for (std::size_t e = 0; e < trace.size(); ++e) group[e] = trace.op_of(e).communication ? 0 : 1;
  const Retiming retiming(trace, group);
  EXPECT_EQ(retiming.window({1, 1}), break_down(trace).window());
  constexpr double factor = 1.4;
  Calibration slower = calibration;
  slow_compute_down(slower.compute, factor);
  const SimTime simulated = break_down(sim::simulate(plan, machine, slower)).window();
  EXPECT_NEAR(ratio(retiming.window({1, factor}), simulated), 1, 0.01);
}

INSTANTIATE_TEST_SUITE_P(All, RetimedPaperScenario,
                         ::testing::Values("baseline-tp8-pp2.json", "large-ep64.json", "scaling-ep16.json"));

}  // namespace
}  // namespace foretoken::explain
