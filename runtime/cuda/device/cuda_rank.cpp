#include "runtime/cuda/device/cuda_rank.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <utility>

#include "core/error.hpp"
#include "runtime/cuda/device/cuda_executor.hpp"
#include "runtime/cuda/device/gpu.hpp"
#include "runtime/cuda/device/nvml.hpp"
#include "runtime/cuda/device/watchdog.hpp"
#include "runtime/cuda/launch_check.hpp"
#include "runtime/cuda/limits.hpp"
#include "runtime/cuda/model_index.hpp"
#include "runtime/machine_identity.hpp"
#include "runtime/record_bytes.hpp"

namespace foretoken::runtime::cuda {
namespace {

std::int64_t nanoseconds_of(std::chrono::steady_clock::time_point time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

std::vector<Activations> activations_of(const plan::Plan& plan, RankId rank, const CudaCompute& compute) {
  std::vector<Activations> all;
  for (const plan::Op& op : plan.program.role_of(rank).ops) {
    if (op.kind != plan::OpKind::step_end) continue;
    all.push_back({rank, op.micro_batch, own_sequences(plan, op.micro_batch, rank), compute.read(op.inputs.front())});
  }
  return all;
}

// A call that waits for another rank may never come back, and then no exception can end the process.
[[noreturn]] void end_blocked(const plan::Plan& plan, RankId rank, const RankProgress& progress) {
  const std::string line =
      fmt::format("foretoken: rank {} on {} failed: a call of CUDA or NCCL has not come back ({})\n", rank.value(),
                  this_machine().host, told_by(plan, rank, progress.load(std::memory_order_relaxed)));
  static_cast<void>(!::write(STDERR_FILENO, line.data(), line.size()));
  _exit(static_cast<int>(ErrorCode::rank_failed));
}

// Everything that can be refused is found out by every rank for itself and told to all, before the first communicator.
struct Prepared {
  GpuRecord gpu;
  std::unique_ptr<NcclLibrary> nccl;
  DeviceLayout layout;
  ExpertProducts experts = ExpertProducts::each;
};

Prepared prepare(const plan::Plan& plan, Bootstrap& bootstrap, const RunOptions& options,
                 const std::optional<RowTables>& tables, const NcclLowering& lowering) {
  Prepared prepared;
  prepared.experts = expert_products(plan, options.experts);
  LaunchClaim claim;
  claim.build = options.build;
  // The plan is the same whatever number of steps is made of it; a run is not.
  claim.plan =
      fmt::format("{}, {} + {} steps", plan.plan_hash, plan.scenario.measure.warmup_steps, plan.scenario.measure.steps);
  claim.host = this_machine().host;
  const bool shared = gpus_may_be_shared();
  try {
    require_cuda_can_run(plan);
    prepared.gpu = take_gpu(bootstrap.rank_on_node(), shared);
    claim.gpu = prepared.gpu.uuid;
    require_fp8_on_device(plan);
    if (tables) {
      const RankId rank(static_cast<std::int32_t>(bootstrap.rank()));
      prepared.layout = device_layout(plan, rank, *tables, prepared.gpu.multiprocessors, prepared.experts);
      prepared.gpu.tensors_bytes = prepared.layout.bytes;
      std::int64_t joined = 0;
      for (const NcclFamily& family : lowering.families()) joined += family.color_of_rank[rank.index()] >= 0 ? 1 : 0;
      require_device_memory(fmt::format("GPU {} ({})", prepared.gpu.pci, prepared.gpu.name), prepared.layout, joined,
                            device_memory());
    }
    if (plan.program.ranks > 1) {
      NcclLibrary::force(nccl_algorithms(plan));
      prepared.nccl = std::make_unique<NcclLibrary>();
    }
  } catch (const Error& error) {
    claim.error = error.what();
    claim.error_code = static_cast<std::int64_t>(error.code());
  }
  std::vector<LaunchClaim> claims;
  for (const Bootstrap::Bytes& bytes : bootstrap.all_gather(claim.to_bytes()))
    claims.push_back(LaunchClaim::from_bytes(bytes));
  require_agreement(plan, claims, shared);
  return prepared;
}

}  // namespace

CudaRankRecord run_cuda_rank(const plan::Plan& plan, Bootstrap& bootstrap, const RunOptions& options,
                             RankProgress& progress, StopVote& vote) {
  const RankId rank(static_cast<std::int32_t>(bootstrap.rank()));
  std::optional<RowTables> tables;  // of a rank that the plan has; a launch of other ranks is refused below
  if (bootstrap.rank() < plan.program.ranks) tables.emplace(plan, rank);
  const NcclLowering lowering(plan);
  Watchdog watchdog([&] { end_blocked(plan, rank, progress); });
  const auto setting_up = [&] { watchdog.feed(options.setup_deadline); };
  setting_up();
  Prepared prepared = prepare(plan, bootstrap, options, tables, lowering);

  CudaRankRecord result;
  result.record.machine = this_machine();
  result.gpu = prepared.gpu;
  result.experts = prepared.experts;
  result.driver = driver_version();
  CudaCompute compute(plan, rank, *tables, prepared.layout, prepared.gpu.multiprocessors, prepared.experts);
  result.blas = compute.blas_version();
  std::unique_ptr<NcclCommunicator> nccl;
  if (prepared.nccl) {
    result.nccl = prepared.nccl->version();
    nccl = std::make_unique<NcclCommunicator>(*prepared.nccl, lowering.families(), bootstrap);
  }
  try {
    ExecutorOptions how;
    how.step_deadline = options.step_deadline;
    how.progress = &progress;
    if (steps_meet(plan)) how.vote = &vote;
    if (options.before_op)
      how.before_op = [&](std::int64_t step, const plan::Op& op) { options.before_op(rank, step, op); };
    CudaExecutor executor(plan, rank, *tables, lowering, compute, nccl.get(), std::move(how));
    const std::int64_t steps = plan.scenario.measure.warmup_steps + plan.scenario.measure.steps;
    // The watchdog is for calls that block; a step that does not end is the executor's to tell, and earlier.
    const auto alive = [&] {
      watchdog.feed(2 * options.step_deadline);
      vote.move();
    };
    const auto whole = [&](const std::vector<std::int64_t>& ends) {
      return ends.size() == static_cast<std::size_t>(steps) * plan.program.role_of(rank).ops.size();
    };
    executor.warm_up();
    if (nccl) result.estimates = nccl->estimates();
    setting_up();
    // Whoever does not answer is named before the watchdog ends the process.
    const auto verdict_deadline = options.setup_deadline / 2;
    result.record.interrupted = vote.stops(verdict_deadline);
    if (result.record.interrupted) return result;
    bootstrap.all_gather({});
    ConditionSampler sampler(prepared.gpu.pci);
    executor.run(steps, result.record.ends, nullptr, [&] {
      alive();
      sampler.sample();
    });
    setting_up();
    result.gpu.conditions = sampler.conditions();
    result.record.began = nanoseconds_of(executor.began());
    result.record.activations = activations_of(plan, rank, compute);
    result.record.interrupted = !whole(result.record.ends);
    if (!plan.routing.known()) {
      if (decided_all(plan, rank, result.record.ends)) {
        compute.routed_rows().learn_routes();
        result.record.routes = routes_of(plan, rank, *tables);
      }
    } else if (plan.scenario.deployment.dispatch_mode == plan::DispatchMode::capacity) {
      compute.routed_rows().require_planned_arrivals();
    }
    if (options.instrumented && !vote.stops(verdict_deadline)) {
      bootstrap.all_gather({});
      executor.run(steps, result.record.instrumented_ends, &result.record.events, alive);
      result.record.instrumented_began = nanoseconds_of(executor.began());
      setting_up();
    }
    if (options.instrumented && !whole(result.record.instrumented_ends)) result.record.interrupted = true;
    vote.finish(verdict_deadline);
    bootstrap.all_gather({});
  } catch (...) {
    if (nccl) nccl->abort();
    throw;
  }
  return result;
}

CudaRunResult put_together(const plan::Plan& plan, std::vector<CudaRankRecord> records) {
  CudaRunResult result;
  result.driver = records.front().driver;
  result.blas = records.front().blas;
  result.nccl = records.front().nccl;
  result.nccl_algorithms = plan.program.ranks > 1 ? nccl_algorithms(plan) : "";
  result.graphs = captures_steps(plan);
  result.experts = records.front().experts;
  std::vector<RankRecord> of_ranks;
  for (CudaRankRecord& one : records) {
    of_ranks.push_back(std::move(one.record));
    result.gpus.push_back(std::move(one.gpu));
  }
  result.run = runtime::put_together(plan, "nccl", std::move(of_ranks));
  return result;
}

std::vector<char> to_bytes(const CudaRankRecord& record) {
  ByteWriter writer;
  write(writer, record.record);
  const GpuRecord& gpu = record.gpu;
  for (const std::string* text : {&gpu.name, &gpu.uuid, &gpu.pci, &record.driver, &record.blas, &record.nccl})
    writer.text(*text);
  const GpuConditions& c = gpu.conditions;
  for (const std::int64_t number :
       {gpu.multiprocessors, gpu.memory_bytes, gpu.tensors_bytes, c.samples, c.sm_clock_mhz_min, c.sm_clock_mhz_max,
        c.temperature_celsius_max, static_cast<std::int64_t>(record.experts),
        static_cast<std::int64_t>(c.throttled.size())})
    writer.number(number);
  for (const std::string& reason : c.throttled) writer.text(reason);
  writer.numbers(std::vector<double>{c.power_watts_mean});
  return writer.bytes();
}

CudaRankRecord from_bytes(std::span<const char> bytes) {
  ByteReader reader(bytes);
  CudaRankRecord record;
  record.record = read_record(reader);
  GpuRecord& gpu = record.gpu;
  for (std::string* text : {&gpu.name, &gpu.uuid, &gpu.pci, &record.driver, &record.blas, &record.nccl})
    *text = reader.text();
  GpuConditions& c = gpu.conditions;
  std::int64_t experts = 0;
  std::int64_t reasons = 0;
  for (std::int64_t* number :
       {&gpu.multiprocessors, &gpu.memory_bytes, &gpu.tensors_bytes, &c.samples, &c.sm_clock_mhz_min,
        &c.sm_clock_mhz_max, &c.temperature_celsius_max, &experts, &reasons})
    *number = reader.number();
  record.experts = static_cast<ExpertProducts>(experts);
  for (std::int64_t i = 0; i < reasons; ++i) c.throttled.push_back(reader.text());
  c.power_watts_mean = reader.numbers<double>().front();
  return record;
}

}  // namespace foretoken::runtime::cuda
