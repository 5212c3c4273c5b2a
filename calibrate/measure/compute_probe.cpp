#include "calibrate/measure/compute_probe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <bit>
#include <chrono>
#include <cmath>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

#include "calibrate/fit/kernel_fit.hpp"
#include "calibrate/measure/clocks.hpp"
#include "calibrate/measure/stopping.hpp"
#include "core/error.hpp"
#include "plan/host_limits.hpp"
#include "plan/program/work.hpp"
#include "runtime/host/host_compute.hpp"
#include "runtime/host/host_memory.hpp"
#include "runtime/row_tables.hpp"
#include "sim/cost/host_amounts.hpp"
#include "sim/host_durations.hpp"

namespace foretoken::calibrate {
namespace {

using std::chrono::steady_clock;

constexpr std::int64_t kRepetitionsMin = 3;
constexpr std::int64_t kRepetitionsMax = 2000;
constexpr std::uint64_t kRepetitionsLooked = 16;

// Times of one load on one thread: [routed step][op] one entry per repetition, in nanoseconds.
struct Times {
  std::vector<std::vector<std::vector<std::int64_t>>> cpu;
  std::vector<std::vector<std::vector<std::int64_t>>> wall;
  std::int64_t steps = 0;  // kept
};

// Looked at when the number of repetitions has doubled, so that looking takes no time to speak of.
bool narrow_enough(const Times& times) {
  const auto routed_steps = static_cast<std::int64_t>(times.cpu.size());
  if (times.steps % routed_steps != 0) return false;
  const auto repetitions = static_cast<std::uint64_t>(times.steps / routed_steps);
  if (repetitions < kRepetitionsLooked || !std::has_single_bit(repetitions)) return false;
  return std::all_of(times.cpu.begin(), times.cpu.end(), [](const std::vector<std::vector<std::int64_t>>& ops) {
    return std::all_of(ops.begin(), ops.end(), [](const std::vector<std::int64_t>& op) { return often_enough(op); });
  });
}

// One rank's tensors and a thread's walk through its ops.
class ProbeThread {
 public:
  explicit ProbeThread(const ComputeProbe& probe)
      : role_(probe.plan.program.role_of(probe.rank)),
        routed_steps_(probe.plan.routing.routed_steps()),
        tables_(probe.plan, probe.rank),
        compute_(probe.plan, probe.rank, tables_) {
    for (const plan::Op& op : role_.ops)
      if (is_communication(op.kind))
        for (const TensorId output : op.outputs) fill(compute_.buffer(output));
  }

  [[nodiscard]] std::int64_t routed_steps() const { return routed_steps_; }
  [[nodiscard]] const runtime::RowTables& tables() const { return tables_; }

  /// All compute ops of step `step`; times of each op are kept in `now_`.
  void step(std::int64_t step) {
    cpu_.assign(role_.ops.size(), 0);
    wall_.assign(role_.ops.size(), 0);
    ClockReading before = read_clocks();
    for (std::size_t o = 0; o < role_.ops.size(); ++o) {
      if (is_communication(role_.ops[o].kind)) continue;
      compute_.run(OpId(o), step % routed_steps_);
      const ClockReading after = read_clocks();
      cpu_[o] = after.cpu - before.cpu;
      wall_[o] = after.wall - before.wall;
      before = after;
    }
  }

  void keep(std::int64_t step, Times& times) const {
    const auto routed = static_cast<std::size_t>(step % routed_steps_);
    times.cpu.resize(static_cast<std::size_t>(routed_steps_), std::vector<std::vector<std::int64_t>>(role_.ops.size()));
    times.wall.resize(times.cpu.size(), std::vector<std::vector<std::int64_t>>(role_.ops.size()));
    for (std::size_t o = 0; o < role_.ops.size(); ++o) {
      times.cpu[routed][o].push_back(cpu_[o]);
      times.wall[routed][o].push_back(wall_[o]);
    }
    ++times.steps;
  }

 private:
  // Numbers of the size that hidden states have: sums stay finite and nothing is denormal.
  static void fill(const runtime::host::Buffer& buffer) {
    for (std::int64_t i = 0; i < buffer.count(); ++i) buffer.data()[i] = static_cast<float>((i * 37) % 101 - 50) / 64;
  }

  const plan::Role& role_;
  std::int64_t routed_steps_;
  runtime::RowTables tables_;
  runtime::host::HostCompute compute_;
  std::vector<std::int64_t> cpu_;
  std::vector<std::int64_t> wall_;
};

// The same probe on all cores; thread 0 also runs it alone.
class ProbeRun {
 public:
  ProbeRun(const ComputeProbe& probe, const ComputeProbeOptions& options)
      : probe_(probe),
        options_(options),
        threads_(static_cast<std::size_t>(options.cores)),
        crowded_(threads_.size()),
        enough_(threads_.size()),
        gate_(options.cores) {}

  void operator()() {
    {
      std::vector<std::jthread> running;
      for (std::size_t t = 0; t < threads_.size(); ++t) running.emplace_back([this, t] { body(t); });
    }
    if (failure_) std::rethrow_exception(failure_);
  }

  [[nodiscard]] const ProbeThread& thread() const { return *threads_.front(); }
  [[nodiscard]] const Times& alone() const { return alone_; }
  [[nodiscard]] const std::vector<Times>& crowded() const { return crowded_; }

 private:
  void body(std::size_t t) {
    guarded([&] { threads_[t] = std::make_unique<ProbeThread>(probe_); });
    gate_.arrive_and_wait();
    if (t == 0 && !failed_) guarded([&] { run_alone(); });
    gate_.arrive_and_wait();
    if (!failed_) guarded([&] { run_crowded(t); });
  }

  template <class Work>
  void guarded(const Work& work) {
    try {
      work();
    } catch (...) {
      const std::scoped_lock lock(mutex_);
      if (!failed_) failure_ = std::current_exception();
      failed_ = true;
    }
  }

  [[nodiscard]] Seconds share() const { return options_.time * 0.5; }
  static Seconds since(steady_clock::time_point begin) {
    return Seconds(std::chrono::duration<double>(steady_clock::now() - begin).count());
  }
  [[nodiscard]] std::int64_t steps_min() const { return kRepetitionsMin * threads_.front()->routed_steps(); }

  void require_time(Seconds step) const {
    // Every thread draws weights and warms up besides.
    const Seconds needed = 2.0 * step * static_cast<double>(steps_min() + 1);
    if (needed <= options_.limit) return;
    const double enough = 1.2 * options_.budget.value() * ratio(needed, options_.limit);
    throw Error(
        ErrorCode::unhealthy,
        fmt::format("{}: three repetitions take {:.2g} s, and the budget allows for {:.2g} s; give --budget {:.0f}",
                    probe_.name, needed.value(), options_.limit.value(), std::ceil(enough)));
  }

  void run_alone() {
    ProbeThread& thread = *threads_.front();
    const auto begin = steady_clock::now();
    thread.step(0);
    require_time(since(begin));
    const std::int64_t most = kRepetitionsMax * thread.routed_steps();
    for (std::int64_t step = 0; step < steps_min() || (step < most && since(begin) < share()); ++step) {
      thread.step(step);
      thread.keep(step, alone_);
      if (narrow_enough(alone_)) break;
    }
  }

  // Until time is over and all have enough: a step that another thread may have missed is not kept.
  void run_crowded(std::size_t t) {
    ProbeThread& thread = *threads_[t];
    const auto begin = steady_clock::now();
    thread.step(0);
    const std::int64_t most = kRepetitionsMax * thread.routed_steps();
    bool narrow = false;
    for (std::int64_t step = 0; !stop_ && !failed_; ++step) {
      thread.step(step);
      if (!stop_ && step < most) {
        thread.keep(step, crowded_[t]);
        narrow = narrow || narrow_enough(crowded_[t]);
      }
      if (step + 1 < steps_min() || (step + 1 < most && !narrow && since(begin) < share())) continue;
      enough_[t] = true;
      if (std::all_of(enough_.begin(), enough_.end(), [](const std::atomic<bool>& one) { return one.load(); }))
        stop_ = true;
    }
  }

  const ComputeProbe& probe_;
  const ComputeProbeOptions& options_;
  std::vector<std::unique_ptr<ProbeThread>> threads_;
  Times alone_;
  std::vector<Times> crowded_;
  std::vector<std::atomic<bool>> enough_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> failed_{false};
  std::barrier<> gate_;
  std::mutex mutex_;
  std::exception_ptr failure_;
};

// Rows of each local expert, where the op's rows are routed.
std::vector<std::int64_t> rows_per_expert(const plan::Op& op, const runtime::RowTables& tables,
                                          std::int64_t routed_step) {
  const plan::Extent extent = std::visit(
      [](const auto& detail) {
        if constexpr (requires { detail.rows.kind; }) return detail.rows;
        else return plan::Extent{};
      },
      op.detail);
  if (extent.kind != plan::Extent::Kind::routed) return {};
  return tables.hosted(routed_step, extent.layer, extent.micro_batch, extent.chunk).rows_of_expert;
}

std::int64_t total(const std::vector<std::int64_t>& rows) {
  std::int64_t sum = 0;
  for (const std::int64_t r : rows) sum += r;
  return sum;
}

struct ShapeOf {
  const plan::Op& op;
  const std::vector<std::int64_t>& rows;
  [[nodiscard]] std::int64_t count(const plan::Extent& extent) const {
    return extent.kind == plan::Extent::Kind::fixed ? extent.count : total(rows);
  }
  std::string operator()(const plan::GemmOp& s) const { return fmt::format("m={} n={} k={}", count(s.rows), s.n, s.k); }
  std::string operator()(const plan::GroupedGemmOp& s) const {
    const auto active = std::count_if(rows.begin(), rows.end(), [](std::int64_t r) { return r > 0; });
    const auto single = std::count(rows.begin(), rows.end(), 1);
    return fmt::format("m={} n={} k={} active={} single={}", total(rows), s.n, s.k, active, single);
  }
  std::string operator()(const plan::AttentionOp& s) const {
    return fmt::format("sequences={} context={} heads={} kv_heads={} head_dim={}", s.sequences, s.context, s.heads,
                       s.kv_heads, s.head_dim);
  }
  std::string operator()(const plan::RouteOp& s) const {
    return fmt::format("m={} n={} k={} top_k={}", s.rows, s.experts, s.hidden, s.top_k);
  }
  std::string operator()(const plan::RowwiseOp& s) const {
    return fmt::format("rows={} cols={}{}{}", count(s.rows), s.cols, s.residual ? " residual" : "",
                       s.gated ? " gated" : "");
  }
  template <class Communication>
  std::string operator()(const Communication&) const {
    return {};
  }
};

Seconds nanoseconds(double value) { return Seconds(value * 1e-9); }

class Sampler {
 public:
  Sampler(const ComputeProbe& probe, const ProbeRun& run, const HostCalibration& caches, std::int64_t cores)
      : probe_(probe),
        role_(probe.plan.program.role_of(probe.rank)),
        tables_(run.thread().tables()),
        caches_(caches),
        cores_(cores),
        distances_(sim::reuse_distances(role_, sim::routed_rows_expected(probe.plan))),
        clocks_(reading_cost()) {}

  void add(HostLoad load, const std::vector<const Times*>& times, std::vector<HostSample>& samples) const {
    for (std::int64_t step = 0; step < probe_.plan.routing.routed_steps(); ++step) {
      for (std::size_t o = 0; o < role_.ops.size(); ++o) {
        if (is_communication(role_.ops[o].kind)) continue;
        std::vector<double> cpu, wall;
        for (const Times* one : times) {
          const auto& cpu_times = one->cpu[static_cast<std::size_t>(step)][o];
          const auto& wall_times = one->wall[static_cast<std::size_t>(step)][o];
          cpu.insert(cpu.end(), cpu_times.begin(), cpu_times.end());
          wall.insert(wall.end(), wall_times.begin(), wall_times.end());
        }
        samples.push_back(sample(load, o, step, cpu, wall));
      }
    }
  }

 private:
  [[nodiscard]] HostSample sample(HostLoad load, std::size_t o, std::int64_t step, const std::vector<double>& cpu,
                                  const std::vector<double>& wall) const {
    const plan::Op& op = role_.ops[o];
    const std::vector<std::int64_t> rows = rows_per_expert(op, tables_, step);
    const Bytes footprint = distances_[o] * (load == HostLoad::alone ? 1 : cores_);
    HostSample s;
    s.probe = probe_.name;
    s.load = load;
    s.kind = name_of(op.kind);
    s.op = op.name;
    s.shape = std::visit(ShapeOf{op, rows}, op.detail);
    s.routed_step = step;
    s.reuse_distance = distances_[o];
    s.amounts = sim::host_amounts(role_, op, rows, caches_.streaming_beyond_cache(load, footprint));
    // No op is free; but one as short as the clock may seem so.
    const auto without_clock = [&](double value) { return std::max(nanoseconds(value) - clocks_, nanoseconds(1)); };
    s.cpu = without_clock(quantile_of(cpu, 0.5));
    s.cpu_q10 = without_clock(quantile_of(cpu, 0.1));
    s.cpu_q90 = without_clock(quantile_of(cpu, 0.9));
    s.wall = without_clock(quantile_of(wall, 0.5));
    s.count = static_cast<std::int64_t>(cpu.size());
    return s;
  }

  const ComputeProbe& probe_;
  const plan::Role& role_;
  const runtime::RowTables& tables_;
  const HostCalibration& caches_;
  std::int64_t cores_;
  std::vector<Bytes> distances_;
  Seconds clocks_;
};

}  // namespace

std::vector<HostSample> measure_compute(const ComputeProbe& probe, const HostCalibration& caches,
                                        const ComputeProbeOptions& options) {
  plan::require_host_can_run(probe.plan);
  runtime::host::check_host_memory(probe.plan,
                                   std::vector<RankId>(static_cast<std::size_t>(options.cores), probe.rank));
  runtime::host::use_one_blas_thread();
  ProbeRun run(probe, options);
  run();
  std::vector<HostSample> samples;
  const Sampler sampler(probe, run, caches, options.cores);
  sampler.add(HostLoad::alone, {&run.alone()}, samples);
  std::vector<const Times*> crowded;
  for (const Times& times : run.crowded()) crowded.push_back(&times);
  sampler.add(HostLoad::crowded, crowded, samples);
  return samples;
}

Seconds expected_step(const ComputeProbe& probe) {
  constexpr FlopsPerSecond flops_per_second(30e9);
  constexpr BytesPerSecond bytes_per_second(8e9);
  const plan::Scenario& scenario = probe.plan.scenario;
  const std::int64_t rows = scenario.workload.sequences * scenario.model.top_k / scenario.deployment.ep + 1;
  const std::int64_t active = std::min(rows, scenario.model.experts / scenario.deployment.ep + 1);
  Seconds step{};
  for (const plan::Op& op : probe.plan.program.role_of(probe.rank).ops) {
    if (is_communication(op.kind)) continue;
    const plan::Work work = plan::work_of(op, rows, active);
    step += work.flops / flops_per_second + work.traffic / bytes_per_second;
  }
  return step;
}

}  // namespace foretoken::calibrate
