#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>

#include "core/error.hpp"
#include "runtime/cuda/run_cuda.hpp"
#include "runtime/interrupt.hpp"
#include "runtime/run.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/interrupted.hpp"
#include "tools/cli/live_health.hpp"
#include "tools/cli/load.hpp"
#include "tools/cli/mpi_launch.hpp"
#include "tools/cli/nccl_report.hpp"
#include "tools/cli/result.hpp"
#include "tools/cli/version.hpp"
#include "tools/cli/write_file.hpp"
#include "tools/planning/expert_products.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::ordered_json;

Json clocks_json(const runtime::RunResult& run) {
  Json clocks = Json::array();
  for (const runtime::ClockReading& clock : run.clocks)
    clocks.push_back({{"host", clock.host},
                      {"rank", clock.rank.value()},
                      {"ahead_before_us", microseconds(clock.before.ahead)},
                      {"ahead_after_us", microseconds(clock.after.ahead)},
                      {"bound_before_us", microseconds(clock.before.bound)},
                      {"bound_after_us", microseconds(clock.after.bound)},
                      {"bound_us", microseconds(clock.bound())}});
  return clocks;
}

constexpr const char* kNotice = "foretoken: interrupted; ending between two steps (once more: at once)\n";

// What of the plan was measured before Ctrl-C.
Json interrupted_json(const Loaded& loaded, const runtime::RunResult& run) {
  return {{"steps", run.headline.steps},
          {"instrumented_steps", run.trace ? run.trace->steps : 0},
          {"planned_steps", loaded.scenario.measure.steps}};
}

[[noreturn]] void end_interrupted(const Loaded& loaded, const RunOptions& options, const runtime::RunResult& run) {
  const bool routing_lost = !options.routing_out.empty() && !run.routing && !loaded.plan.routing.known();
  const std::int64_t planned = loaded.scenario.measure.steps;
  if (run.headline.steps == 0)
    throw Error(kInterrupted,
                fmt::format("interrupted before any of {} counted steps had ended: nothing was measured", planned));
  throw Error(
      kInterrupted,
      fmt::format("interrupted: {} of {} counted steps were measured, {} of them with per-op times{}",
                  run.headline.steps, planned, run.trace ? run.trace->steps : 0,
                  routing_lost ? "; routers had not decided all routed steps, so --routing-out is not written" : ""));
}

// What only a live run can say.
Json live_json(const Loaded& loaded, const runtime::RunResult& run) {
  Json machines = Json::array();
  for (const runtime::MachineIdentity& m : run.machines)
    machines.push_back(
        {{"host", m.host}, {"cpu", m.cpu}, {"cores", m.cores}, {"kernel", m.kernel}, {"blas", m.blas}, {"mpi", m.mpi}});
  Json cpu = Json::array();
  for (const Seconds time : run.cpu_per_step) cpu.push_back(time.value() * 1e3);
  Json json{{"communicator", run.communicator},
            {"activations_hash", run.activations_hash},
            {"cpu_per_step_ms", std::move(cpu)},
            {"machines", std::move(machines)},
            {"machine_of_rank", run.machine_of_rank}};
  if (run.busy) json["busy"] = *run.busy;
  if (!run.clocks.empty()) json["clocks"] = clocks_json(run);
  if (const auto emulated = runtime::emulated_topology())
    json["emulated_topology"] = Json::parse(JsonDocument::from_file(*emulated).json().dump());
  if (run.overhead) json["instrumentation_overhead"] = *run.overhead;
  if (run.interrupted) json["interrupted"] = interrupted_json(loaded, run);
  return json;
}

std::string live_text(const runtime::RunResult& run) {
  std::string text = fmt::format("  Ran on {} ({}), {} cores, ranks by {}\n", run.machines.front().host,
                                 run.machines.front().cpu, run.machines.front().cores, run.communicator);
  if (run.machines.size() > 1) text += fmt::format("  and {} more machines\n", run.machines.size() - 1);
  if (run.busy)
    text += fmt::format("  {:.0f} % of the core time of {} used\n", 100 * *run.busy, run.machines.front().host);
  if (const auto emulated = runtime::emulated_topology())
    text += fmt::format("  Nodes emulated on one computer: {}\n", emulated->string());
  if (!run.clocks.empty()) {
    Seconds bound{};
    for (const runtime::ClockReading& clock : run.clocks) bound = std::max(bound, clock.bound());
    text += fmt::format("  Clocks of {} other host{} compared with rank 0's: times fit together to {:.1f} us\n",
                        run.clocks.size(), run.clocks.size() == 1 ? "" : "s", microseconds(bound));
  }
  if (run.overhead)
    text += fmt::format("  The breakdown is of a second run with per-op times, whose steps took {:+.1f} %\n",
                        100 * *run.overhead);
  return text + fmt::format("  activations {}\n", run.activations_hash);
}

// What only a run on GPUs can say.
Json gpu_json(const runtime::cuda::CudaRunResult& result, const plan::Topology& topology) {
  Json gpus = Json::array();
  for (const runtime::cuda::GpuRecord& gpu : result.gpus) {
    Json one{{"name", gpu.name},
             {"uuid", gpu.uuid},
             {"pci", gpu.pci},
             {"multiprocessors", gpu.multiprocessors},
             {"memory_bytes", gpu.memory_bytes},
             {"tensors_bytes", gpu.tensors_bytes}};
    if (const auto& c = gpu.conditions; c.samples > 0)
      one["conditions"] = Json{{"samples", c.samples},
                               {"sm_clock_mhz_min", c.sm_clock_mhz_min},
                               {"sm_clock_mhz_max", c.sm_clock_mhz_max},
                               {"power_watts_mean", c.power_watts_mean},
                               {"temperature_celsius_max", c.temperature_celsius_max},
                               {"throttled", c.throttled}};
    gpus.push_back(std::move(one));
  }
  Json json{{"driver", result.driver}, {"blas", result.blas},
            {"nccl", result.nccl},     {"algorithms", result.nccl_algorithms},
            {"graphs", result.graphs}, {"experts", name_of(result.experts)},
            {"gpus", std::move(gpus)}};
  if (result.observed) json["observed"] = nccl_json(*result.observed, topology);
  return json;
}

std::string gpu_text(const runtime::cuda::CudaRunResult& result, const plan::Topology& topology) {
  const runtime::cuda::GpuRecord& first = result.gpus.front();
  std::string text = fmt::format(
      "  {} x {}; {}; {}{}; steps {}, experts' products {}\n", result.gpus.size(), first.name, result.driver,
      result.blas, result.nccl.empty() ? "" : "; NCCL " + result.nccl, result.graphs ? "as graphs" : "op by op",
      result.experts == runtime::cuda::ExpertProducts::batch ? "as a batch" : "one by one");
  for (std::size_t r = 0; r < result.gpus.size(); ++r)
    for (const std::string& reason : result.gpus[r].conditions.throttled)
      text += fmt::format("  GPU of rank {} was slowed down: {}\n", r, reason);
  if (result.observed) text += nccl_text(*result.observed, topology);
  return text;
}

// What a step's exchanges moved where the model's own router decided: the plan does not know it.
std::optional<plan::ExchangeVolume> decided_exchange(const Loaded& loaded, const runtime::RunResult& run) {
  if (!run.routing) return std::nullopt;
  plan::Plan replayed = loaded.plan;
  plan::RoutingSpec spec = loaded.scenario.routing;
  spec.kind = plan::RoutingKind::recorded;
  spec.record = std::make_shared<const plan::RoutingRecord>(*run.routing);
  const plan::ModelSpec& model = loaded.scenario.model;
  replayed.routing = plan::Routing(spec, model.layers, model.experts, model.top_k);
  return plan::summary_volume(replayed);
}

using Gpus = std::optional<runtime::cuda::CudaRunResult>;

void report(const Loaded& loaded, const RunOptions& options, const runtime::RunResult& run, const Gpus& gpus,
            std::ostream& out) {
  if (run.interrupted && run.headline.steps == 0) end_interrupted(loaded, options, run);
  if (!run.interrupted) require_idle_cores(run.busy, options.busy_max);  // else what there is must not be lost
  if (!options.routing_out.empty() && (run.routing || loaded.plan.routing.known())) {
    if (!run.routing) throw input_error("--routing-out", "", "the plan knows the routing beforehand", "leave it out");
    write_file(options.routing_out, plan::text_of(*run.routing));
  }
  Result result;
  if (run.trace) result = make_result(*run.trace, "");
  else result.clock = run.headline.clock;
  result.metrics = run.metrics;
  if (run.interrupted) result.steps = run.headline.steps;
  result.exchange = decided_exchange(loaded, run);
  Json json = result_json(loaded, options.overrides, result);
  // Of the plan that replays what the model's own router decided, where it did.
  json["plan_hash"] = run.plan_hash;
  json["routing_hash"] = run.routing_hash;
  json["live"] = live_json(loaded, run);
  if (gpus) json["live"]["cuda"] = gpu_json(*gpus, loaded.topology);
  if (!options.out.empty()) {
    Json whole = json;
    whole["resolved_scenario"] = Json::parse(loaded.document.json().dump());
    if (run.trace) whole["trace"] = trace_json(*run.trace, result.breakdown);
    write_file(options.out, whole.dump() + "\n");
  }
  if (options.json) out << json.dump(2) << "\n";
  else out << result_text(loaded, result) << live_text(run) << (gpus ? gpu_text(*gpus, loaded.topology) : "");
  out.flush();
  if (run.interrupted) end_interrupted(loaded, options, run);
}

// A result must not claim another network than it had.
void check_emulated(const Loaded& loaded) {
  const auto emulated = runtime::emulated_topology();
  if (!emulated) return;
  const plan::Topology topology = plan::read_topology(*emulated);
  if (topology.name == loaded.topology.name && loaded.topology.emulated) return;
  throw input_error(
      loaded.scenario.cluster.topology.string(), "/name",
      fmt::format("\"{}\" is planned for, and the emulated cluster is \"{}\"", loaded.topology.name, topology.name),
      fmt::format("give --topology {}", emulated->string()));
}

runtime::RunOptions runtime_options(const RunOptions& options, const runtime::InterruptFlag& interrupt) {
  if (!std::isfinite(options.deadline_seconds))
    throw input_error("--deadline", "", "is not a number of seconds", "write for example --deadline 30");
  runtime::RunOptions live;
  live.step_deadline = std::chrono::milliseconds(static_cast<std::int64_t>(options.deadline_seconds * 1e3));
  live.build = fmt::format("{} {}", version(), commit());
  live.interrupted = [&interrupt] { return interrupt.raised(); };
  return live;
}

// As --experts says, or as the topology's calibration finds faster. Where the model's own router decides there is no
// choice, and none either of a calibration that does not know the element type.
[[maybe_unused]] runtime::cuda::ExpertProducts products_of_experts(const Loaded& loaded, const RunOptions& options) {
  for (const auto& [products, name] : runtime::cuda::kExpertProductsNames)
    if (options.experts == name) return products;
  const DType dtype = loaded.scenario.model.expert_format.dtype;
  if (!loaded.plan.routing.known() || dtype == DType::fp32) return runtime::cuda::ExpertProducts::each;
  const Calibration calibration = load_calibration(loaded, {});
  return planning::expert_product_times(loaded.plan, sim::ComputeCost(calibration.compute, loaded.machine.device()))
      .faster();
}

// SIGTERM of ranks of a launch is MpiWatch's. One rank speaks for all.
runtime::InterruptFlag::Options of_rank(std::int64_t rank) { return {false, rank == 0 ? kNotice : nullptr}; }
constexpr runtime::InterruptFlag::Options kAlone{true, kNotice};

void run_on_host(const RunOptions& options, std::ostream& out) {
  const bool launched = run_under_mpi([&](auto& mpi) {
    const runtime::InterruptFlag interrupt(of_rank(mpi.rank()));
    const Loaded loaded = load(options.scenarios.front(), options);
    check_emulated(loaded);
    if (const auto run = run_mpi(mpi, loaded.plan, runtime_options(options, interrupt)))
      report(loaded, options, *run, std::nullopt, out);
  });
  if (launched) return;
  const runtime::InterruptFlag interrupt(kAlone);
  const Loaded loaded = load(options.scenarios.front(), options);
  check_emulated(loaded);
  report(loaded, options, runtime::run_threads(loaded.plan, runtime_options(options, interrupt)), std::nullopt, out);
}

void run_on_gpus([[maybe_unused]] const RunOptions& options, [[maybe_unused]] std::ostream& out) {
#ifdef FORETOKEN_CUDA
  if (options.nccl_chooses) setenv("FORETOKEN_NCCL_CHOOSES", "1", 1);  // NOLINT(concurrency-mt-unsafe): no threads yet
  const auto live_options = [&](const Loaded& loaded, const runtime::InterruptFlag& interrupt) {
    runtime::RunOptions live = runtime_options(options, interrupt);
    live.experts = products_of_experts(loaded, options);
    return live;
  };
  const bool launched = run_under_mpi([&](auto& mpi) {
    const runtime::InterruptFlag interrupt(of_rank(mpi.rank()));
    const Loaded loaded = load(options.scenarios.front(), options);
    if (const auto result = runtime::cuda::run_cuda_mpi(mpi, loaded.plan, live_options(loaded, interrupt)))
      report(loaded, options, result->run, result, out);
  });
  if (launched) return;
  const Loaded loaded = load(options.scenarios.front(), options);
  const runtime::InterruptFlag interrupt(kAlone);
  const auto result = runtime::cuda::run_cuda(loaded.plan, live_options(loaded, interrupt));
  report(loaded, options, result.run, result, out);
#else
  throw Error(ErrorCode::invalid_input,
              "this foretoken was built without CUDA; build it with cmake --preset cuda where nvcc is, or run on the "
              "CPUs with --backend host");
#endif
}

}  // namespace

void run_run(const RunOptions& options, std::ostream& out) {
  check_out(options);
  if (options.scenarios.size() != 1)
    throw input_error("run", "", fmt::format("{} scenarios are given", options.scenarios.size()), "run one at a time");
  if (options.backend == "cuda") run_on_gpus(options, out);
  else run_on_host(options, out);
}

}  // namespace foretoken::cli
