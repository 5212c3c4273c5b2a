#include "sim/simulate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "core/error.hpp"
#include "plan/program/resolve.hpp"
#include "sim/communication/fabric.hpp"
#include "sim/cost/compute_cost.hpp"
#include "sim/cost/network_cost.hpp"
#include "sim/engine/engine.hpp"
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

}  // namespace

Trace simulate(const plan::Plan& plan, const plan::Machine& machine, const Calibration& calibration,
               const SimulateOptions& options) {
  require_calibration_for(calibration, machine.device());
  check_size(plan, machine, options);

  const ComputeCost compute(calibration.compute, machine.device(), options.framework);
  const NetworkCost network(calibration.network);
  const Fabric fabric(machine, network, plan.program.ranks);
  plan::RowCounter rows(plan.placement, plan.routing, plan.scenario.model.experts);
  OpDurations durations(plan.program, compute, rows);
  const std::int64_t routed_steps = plan.routing.routed_steps();

  const EngineInput input{
      plan.program,
      fabric,
      [&](RankId rank, OpId op, std::int64_t step) { return durations.of(rank, op, step % routed_steps); },
      [&](const plan::Communication& communication, std::int64_t instance,
          std::int64_t routed_step) -> const plan::RoutedRows& {
        return rows.rows(routed_step, communication.layer, communication.micro_batch, communication.chunk, instance);
      },
      plan.scenario.measure.warmup_steps,
      plan.scenario.measure.steps,
      routed_steps};
  Trace trace = run_engine(input);
  trace.outputs = outputs_of(plan, trace);
  return trace;
}

}  // namespace foretoken::sim
