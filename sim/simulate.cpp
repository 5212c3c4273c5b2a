#include "sim/simulate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "plan/host_limits.hpp"
#include "plan/program/resolve.hpp"
#include "plan/program/wire_rows.hpp"
#include "sim/communication/fabric.hpp"
#include "sim/communication/fault_timeline.hpp"
#include "sim/communication/host_transport.hpp"
#include "sim/communication/memory_fabric.hpp"
#include "sim/communication/scaled_transport.hpp"
#include "sim/cost/compute_cost.hpp"
#include "sim/cost/host_cost.hpp"
#include "sim/cost/network_cost.hpp"
#include "sim/engine/engine.hpp"
#include "sim/gpu_interference.hpp"
#include "sim/host_durations.hpp"
#include "sim/network/sharing_time.hpp"
#include "sim/op_duration.hpp"
#include "sim/program_index.hpp"

namespace foretoken::sim {
namespace {

void check_size(const plan::Plan& plan, const plan::Machine& machine, const SimulateOptions& options) {
  const plan::Program& program = plan.program;
  if (program.ranks > machine.gpus()) {
    throw Error(ErrorCode::invalid_input,
                fmt::format("the plan has {} ranks and {} has {} GPUs; make the plan for this machine, or raise "
                            "cluster.nodes",
                            program.ranks, machine.name(), machine.gpus()));
  }
  const plan::MeasureSpec& measure = plan.scenario.measure;
  const std::int64_t ops = ProgramIndex(program).ops();
  const std::int64_t steps = measure.warmup_steps + measure.steps;
  if (steps > options.executions_max / std::max<std::int64_t>(ops, 1)) {
    throw Error(ErrorCode::invalid_input,
                fmt::format("{} ops over {} ranks in {} steps are more than {} op executions; lower measure.steps, "
                            "measure.warmup_steps, deployment.micro_batches, or the number of ranks or layers",
                            ops, program.ranks, steps, options.executions_max));
  }
}

// What the executions do not show: drawing experts, and sharing links among the messages of an exchange.
void check_routing_work(const plan::Plan& plan, const SimulateOptions& options) {
  const plan::Scenario& scenario = plan.scenario;
  const plan::DeploymentSpec& deployment = scenario.deployment;
  const auto choices = static_cast<double>(scenario.workload.sequences) * static_cast<double>(scenario.model.top_k);
  const auto layers = static_cast<double>(std::count_if(
      plan.layers.begin(), plan.layers.end(), [&](std::int64_t layer) { return !scenario.model.dense(layer); }));
  const double draws = choices * layers * static_cast<double>(scenario.routing.routed_steps);
  if (draws > options.draws_max)
    throw Error(
        ErrorCode::invalid_input,
        fmt::format("{:.3g} expert draws (sequences x top_k x layers x routed_steps) are more than {:.3g}; lower "
                    "routing.routed_steps or workload.sequences",
                    draws, options.draws_max));
  if (deployment.exchange != plan::ExpertExchange::dispatch) return;
  // A message needs a token: there are at most as many as choices, and as pairs of ranks.
  const auto ep = static_cast<double>(deployment.ep);
  const double groups = static_cast<double>(deployment.ranks_per_stage()) / ep;
  const double parts = static_cast<double>(deployment.micro_batches) * static_cast<double>(deployment.chunks);
  const double hosts = std::min(ep, static_cast<double>(scenario.model.experts));
  const double messages = std::min(ep * hosts / static_cast<double>(deployment.chunks), choices / groups / parts);
  const auto steps = static_cast<double>(scenario.measure.warmup_steps + scenario.measure.steps);
  const double exchanges = 2 * layers * parts * groups * steps;
  require_time(exchanges * sharing_seconds(messages, options.accuracy), options.exchange_seconds_max, options.accuracy,
               fmt::format("{:.3g} expert exchanges of up to {:.3g} messages", exchanges, messages),
               "lower measure.steps, deployment.experts.ep or workload.sequences");
}

// Trace events are ordered by (rank, step, op), as ProgramIndex numbers them.
std::vector<TokenOutput> outputs_of(const plan::Plan& plan, const Trace& trace) {
  const plan::Program& program = plan.program;
  const plan::DeploymentSpec& deployment = plan.scenario.deployment;
  const ProgramIndex index(program);
  const std::int64_t steps = trace.warmup_steps + trace.steps;
  const std::int64_t batches = deployment.dp * deployment.micro_batches;

  std::vector<TokenOutput> outputs;
  for (std::int64_t step = 0; step < steps; ++step) {
    for (std::int64_t batch = 0; batch < batches; ++batch) {
      const std::int64_t sequences =
          plan.placement.sequences(batch / deployment.micro_batches, batch % deployment.micro_batches).size();
      outputs.push_back({step, batch, sequences, SimTime(-1)});
    }
  }
  for (std::int64_t r = 0; r < program.ranks; ++r) {
    const RankId rank(static_cast<std::int32_t>(r));
    if (plan.placement.stage_of(rank) != deployment.stages - 1) continue;
    const auto& ops = program.role_of(rank).ops;
    for (std::size_t o = 0; o < ops.size(); ++o) {
      if (ops[o].kind != plan::OpKind::step_end) continue;
      const std::int64_t batch = plan.placement.replica_of(rank) * deployment.micro_batches + ops[o].micro_batch;
      for (std::int64_t step = 0; step < steps; ++step) {
        const SimTime ended = trace.ended[index.event({rank, OpId(o), static_cast<std::int32_t>(step)}, steps)];
        SimTime& time = outputs[static_cast<std::size_t>(step * batches + batch)].time;
        time = std::max(time, ended);
      }
    }
  }
  std::erase_if(outputs, [](const TokenOutput& output) { return output.sequences == 0; });
  for (const TokenOutput& output : outputs) {
    FORETOKEN_CHECK(output.time >= SimTime(0), "a micro-batch without a step_end");
  }
  return outputs;
}

// What a run on GPUs has beside a transport and durations.
struct GpuRun {
  const KernelInterference* interference = nullptr;
  std::optional<LaunchModel> launches;
  FaultTimeline* faults = nullptr;
};

Trace run(const plan::Plan& plan, const Transport& machine, plan::RowCounter& counter, const SimulateOptions& options,
          const DurationOf& predicted, plan::NodeRows::Legs legs, const GpuRun& gpu = {}) {
  const ScaledTransport scaled(machine, options.time_factor);
  const DurationOf longer = [&](RankId rank, OpId op, std::int64_t routed_step) {
    Estimate estimate = predicted(rank, op, routed_step);
    const plan::OpKind kind = plan.program.role_of(rank).ops[op.index()].kind;
    estimate.time = estimate.time * options.time_factor(name_of(kind), estimate.provenance);
    return estimate;
  };
  const Transport& transport = options.time_factor ? static_cast<const Transport&>(scaled) : machine;
  const DurationOf& duration = options.time_factor ? longer : predicted;
  plan::WireRows rows(plan, counter, legs);
  const std::int64_t routed_steps = plan.routing.routed_steps();
  return run_engine({plan.program, transport, duration,
                     [&](const plan::Communication& communication, std::int64_t instance, std::int64_t routed_step)
                         -> const plan::RoutedRows& { return rows.rows(communication, instance, routed_step); },
                     plan.scenario.measure.warmup_steps, plan.scenario.measure.steps, routed_steps, gpu.interference,
                     gpu.launches, gpu.faults, options.accuracy, options.link_samples, options.every_step});
}

std::optional<LaunchModel> launches_of(const plan::Scenario& scenario, const LaunchCalibration& calibration) {
  if (!scenario.execution) return std::nullopt;
  const plan::ExecutionSpec& execution = *scenario.execution;
  const bool eager = execution.mode == plan::LaunchMode::eager;
  LaunchCosts costs = eager ? calibration.eager : calibration.graph;
  costs.launch = execution.launch.value_or(costs.launch);
  costs.gap = execution.gap.value_or(costs.gap);
  return LaunchModel{costs, eager, execution.host_waits};
}

// What the trace rests on, for want of measurements, beside durations of ops.
std::vector<std::string> assumed_of(const plan::Scenario& scenario, const Calibration& calibration, bool overlap) {
  std::vector<std::string> assumed;
  const bool numbers_given = scenario.execution && scenario.execution->launch && scenario.execution->gap;
  if (scenario.execution && !numbers_given && calibration.launch.provenance == Provenance::assumed)
    assumed.emplace_back("launching of kernels");
  if (overlap && calibration.interference.provenance == Provenance::assumed)
    assumed.emplace_back("SMs and memory bandwidth that communication takes from compute");
  return assumed;
}

Trace simulate_gpus(const plan::Plan& plan, const plan::Machine& machine, const Calibration& calibration,
                    const SimulateOptions& options, plan::RowCounter& rows) {
  if (!options.communicator.empty())
    throw input_error("--communicator " + options.communicator, "", "is of hosts, and the topology has GPUs",
                      "leave it out");
  const ComputeCost compute(calibration.compute, machine.device(), options.framework);
  const NetworkCost network(plan::sends_once_per_node(plan)
                                ? with_hierarchical_exchange(calibration.network, kHierarchicalSms)
                                : calibration.network);
  Fabric fabric(machine, network, plan.program.ranks);
  FaultTimeline faults(plan.faults, fabric);
  OpDurations durations(plan.program, compute, rows);
  const DurationOf duration = [&](RankId rank, OpId op, std::int64_t routed_step) {
    Estimate estimate = durations.of(rank, op, routed_step);
    estimate.time = estimate.time / faults.speed(rank);
    return estimate;
  };
  GpuRun gpu{nullptr, launches_of(plan.scenario, calibration.launch), &faults};
  const auto legs = plan::NodeRows::Legs::together;
  const bool overlap = options.interference && overlaps(plan.program);
  Trace trace;
  if (overlap) {
    GpuInterference interference(plan, machine, calibration, options.framework, rows);
    const KernelInterference kernels = interference.kernels();
    gpu.interference = &kernels;
    const MemoryFabric shared(fabric, calibration.interference, calibration.compute.memory.bandwidth,
                              plan.program.ranks);
    trace = run(plan, shared, rows, options, duration, legs, gpu);
  } else {
    trace = run(plan, fabric, rows, options, duration, legs, gpu);
  }
  trace.assumed = assumed_of(plan.scenario, calibration, overlap);
  return trace;
}

Trace simulate_host(const plan::Plan& plan, const plan::Machine& machine, const Calibration& calibration,
                    const SimulateOptions& options, plan::RowCounter& rows) {
  if (!options.framework.empty())
    throw input_error("--framework " + options.framework, "", "is of GPUs, and the topology is a host", "leave it out");
  if (calibration.host->cores != machine.cores_per_node())
    throw input_error(calibration.file, "/host/cores",
                      fmt::format("{} cores are calibrated here, but the topology has {}", calibration.host->cores,
                                  machine.cores_per_node()),
                      "calibrate on the computer of the topology");
  plan::require_host_can_run(plan);
  const HostCost cost(*calibration.host, options.communicator, ranks_on_computer(machine, plan.program.ranks));
  const HostTransport transport(machine, cost, plan.program.ranks, calibration.host->network);
  HostDurations durations(plan, cost, rows);
  return run(
      plan, transport, rows, options,
      [&](RankId rank, OpId op, std::int64_t routed_step) { return durations.of(rank, op, routed_step); },
      plan::NodeRows::Legs::apart);
}

// A machine and a calibration of one kind. Their names are compared too, but what a file lacks must not be used.
void check_kind(const plan::Machine& machine, const Calibration& calibration) {
  if (machine.is_host() == calibration.host.has_value()) return;
  throw input_error(calibration.file, "",
                    machine.is_host() ? "is a calibration of GPUs, and the topology is a host"
                                      : "is a calibration of a host, and the topology has GPUs",
                    "choose a calibration of the topology's own kind");
}

}  // namespace

Trace simulate(const plan::Plan& plan, const plan::Machine& machine, const Calibration& calibration,
               const SimulateOptions& options) {
  require_calibration_for(calibration, machine.device());
  check_kind(machine, calibration);
  check_size(plan, machine, options);
  check_routing_work(plan, options);

  plan::RowCounter rows(plan.placement, plan.routing, plan.scenario.model.experts);
  Trace trace = machine.is_host() ? simulate_host(plan, machine, calibration, options, rows)
                                  : simulate_gpus(plan, machine, calibration, options, rows);
  trace.outputs = outputs_of(plan, trace);
  return trace;
}

}  // namespace foretoken::sim
