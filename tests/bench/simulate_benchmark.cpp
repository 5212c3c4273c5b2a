// The whole simulation of the paper's deployments, without process start and without reading files. Run from the
// repository root.
#include <benchmark/benchmark.h>

#include <string>

#include "plan/machine/topology.hpp"
#include "sim/simulate.hpp"

namespace foretoken::bench {
namespace {

void simulate(::benchmark::State& state, const std::string& name) {
  const plan::Scenario scenario = plan::parse_scenario(JsonDocument::from_file("scenarios/paper/" + name + ".json"));
  const plan::Topology topology =
      plan::read_topology(scenario.cluster.topology, {scenario.cluster.nodes, scenario.cluster.nic});
  const plan::Machine machine = plan::build_machine(topology);
  const Calibration calibration = read_calibration(topology.calibration);
  const plan::Plan plan = plan::make_plan(scenario, machine);
  std::size_t executions = 0;
  for ([[maybe_unused]] auto _ : state) executions = sim::simulate(plan, machine, calibration).size();
  state.counters["executions"] = static_cast<double>(executions);
}

int register_all() {
  for (const std::string name : {"baseline-tp8-pp2", "large-ep64", "scaling-ep16", "scaling-ep32", "scaling-ep64"}) {
    ::benchmark::RegisterBenchmark(("simulate/" + name).c_str(),
                                   [=](::benchmark::State& state) { simulate(state, name); })
        ->Unit(::benchmark::kMillisecond)
        ->MeasureProcessCPUTime();
  }
  return 0;
}

[[maybe_unused]] const int registered = register_all();

}  // namespace
}  // namespace foretoken::bench

BENCHMARK_MAIN();
