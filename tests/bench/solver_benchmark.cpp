// The network's solver on the all-to-alls of tests/sim/network/all_to_all.hpp.
//
//   foretoken_benchmark --benchmark_filter=run_flows/nb/U      names: run_flows/<fabric>/<workload>[/1e-3]/<ranks>
#include <benchmark/benchmark.h>

#include <string>

#include "tests/sim/network/all_to_all_classes.hpp"
#include "tests/sim/network/all_to_all_flows.hpp"

namespace foretoken::bench {
namespace {

using ::benchmark::State;

constexpr std::int64_t kNodesPerLeaf = 2;  // of `ft`

sim::AllToAllCase exchange_of(const State& state, bool tree, char workload) {
  return {state.range(0), tree ? kNodesPerLeaf : 0, workload};
}

void run_flows(State& state, bool tree, char workload, double accuracy) {
  const sim::FlowSet set = sim::all_to_all_flows(exchange_of(state, tree, workload));
  sim::FlowTimes times;
  for ([[maybe_unused]] auto _ : state) times = sim::run_flows(set, {.accuracy = accuracy});
  state.counters["flows"] = static_cast<double>(set.flows.size());
  state.counters["classes"] = static_cast<double>(times.classes);
  state.counters["solves"] = static_cast<double>(times.solves);
  state.counters["error"] = times.error;
}

// Emitted as classes: finding them counts.
void run_classes(State& state, bool tree, char workload) {
  const sim::AllToAllCase exchange = exchange_of(state, tree, workload);
  sim::FlowTimes times;
  for ([[maybe_unused]] auto _ : state) times = sim::run_flows(sim::class_set(exchange, sim::flow_classes(exchange)));
  state.counters["flows"] = static_cast<double>(exchange.flows());
  state.counters["classes"] = static_cast<double>(times.classes);
  state.counters["solves"] = static_cast<double>(times.solves);
}

// Exact times of distinct flows cost about as many solves as flows, each over most of them.
constexpr std::int64_t kExactDistinctRanksMax = 256;

int register_all() {
  const auto add = [](const std::string& name, auto function, std::int64_t first, std::int64_t last) {
    ::benchmark::internal::Benchmark* one = ::benchmark::RegisterBenchmark(name.c_str(), function);
    one->RangeMultiplier(4)->Range(first, last)->Unit(::benchmark::kMillisecond)->MeasureProcessCPUTime();
  };
  for (const bool tree : {false, true}) {
    const std::string fabric = tree ? "/ft" : "/nb";
    for (const char workload : {'U', 'K', 'Z'}) {
      const std::string name = fabric + '/' + workload;
      const bool distinct = workload == 'Z';
      add(
          "run_flows" + name, [=](State& state) { run_flows(state, tree, workload, 0); }, 16,
          distinct ? kExactDistinctRanksMax : 1024);
      if (distinct)
        add(
            "run_flows" + name + "/1e-3", [=](State& state) { run_flows(state, tree, workload, 1e-3); }, 16, 1024);
      else
        add(
            "run_classes" + name, [=](State& state) { run_classes(state, tree, workload); }, 64, 16384);
    }
  }
  return 0;
}

[[maybe_unused]] const int registered = register_all();

}  // namespace
}  // namespace foretoken::bench
