#include "runtime/rank_run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <utility>

#include "core/error.hpp"
#include "plan/program/text.hpp"
#include "plan/program/trace_roles.hpp"
#include "runtime/machine_identity.hpp"

namespace foretoken::runtime {
namespace {

std::int64_t steps_of(const plan::Plan& plan) {
  return plan.scenario.measure.warmup_steps + plan.scenario.measure.steps;
}

ExecutorOptions executor_options(const plan::Plan& plan, const RunOptions& options, RankId rank, RankProgress& progress,
                                 StopVote& vote) {
  ExecutorOptions result;
  if (steps_meet(plan)) result.vote = &vote;
  result.step_deadline = options.step_deadline;
  result.progress = &progress;
  if (options.before_op)
    result.before_op = [rank, hook = options.before_op](std::int64_t step, const plan::Op& op) {
      hook(rank, step, op);
    };
  return result;
}

std::int64_t nanoseconds_of(std::chrono::steady_clock::time_point time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

void shift(std::vector<std::int64_t>& times, std::int64_t by) {
  for (std::int64_t& time : times)
    if (time >= 0) time += by;
}

// Nanoseconds that the clock of a record's computer shows more than rank 0's, where that is known: its own shows none.
std::optional<std::int64_t> ahead_of(const RankRecord& record, const RankRecord& leader) {
  if (record.machine.host == leader.machine.host) return 0;
  for (const ClockReading& clock : leader.clocks)
    if (clock.host == record.machine.host) return std::llround(clock.ahead().value() * 1e9);
  return std::nullopt;
}

// Ranks do not begin at one instant, more of them than cores least of all. All times become those since the first rank
// began, by rank 0's clock. Of a computer whose clock was not compared with it, since its own first rank began: then
// the meeting before the run has to do.
void align_clocks(std::vector<RankRecord>& records) {
  std::vector<std::optional<std::int64_t>> ahead;
  for (const RankRecord& record : records) ahead.push_back(ahead_of(record, records.front()));
  const auto late = [&](std::size_t r, std::int64_t RankRecord::*began) {
    const auto on_known_clock = [&](std::size_t i) { return records[i].*began - ahead[i].value_or(0); };
    std::int64_t earliest = on_known_clock(r);
    for (std::size_t i = 0; i < records.size(); ++i)
      if (ahead[r] ? ahead[i].has_value() : records[i].machine == records[r].machine)
        earliest = std::min(earliest, on_known_clock(i));
    return on_known_clock(r) - earliest;
  };
  std::vector<std::pair<std::int64_t, std::int64_t>> all;
  for (std::size_t r = 0; r < records.size(); ++r)
    all.emplace_back(late(r, &RankRecord::began), late(r, &RankRecord::instrumented_began));
  for (std::size_t r = 0; r < records.size(); ++r) {
    shift(records[r].ends, all[r].first * 1'000);
    for (auto* times :
         {&records[r].instrumented_ends, &records[r].events.posted, &records[r].events.begun, &records[r].events.ended})
      shift(*times, all[r].second * 1'000);
  }
}

// Counted steps that every rank has run: fewer than the plan has where the run was interrupted.
std::int64_t counted_steps(const plan::Plan& plan, const std::vector<RankRecord>& records,
                           std::vector<std::int64_t> RankRecord::*ends) {
  const auto ops = static_cast<std::int64_t>(plan.program.role_of(RankId(0)).ops.size());
  const std::int64_t run = static_cast<std::int64_t>((records.front().*ends).size()) / ops;
  for (std::size_t r = 0; r < records.size(); ++r)
    FORETOKEN_CHECK(static_cast<std::int64_t>((records[r].*ends).size()) ==
                        run * static_cast<std::int64_t>(plan.program.role_of(RankId(r)).ops.size()),
                    "all ranks run as many steps");
  return std::max<std::int64_t>(0, run - plan.scenario.measure.warmup_steps);
}

// Trace without events; its roles describe the ops.
Trace empty_trace(const plan::Plan& plan, std::int64_t steps) {
  Trace trace;
  trace.clock = "wall";
  trace.ranks = plan.program.ranks;
  trace.warmup_steps = plan.scenario.measure.warmup_steps;
  trace.steps = steps;
  trace.role_of_rank = plan.program.role_of_rank;
  trace.roles = plan::trace_roles(plan.program);
  return trace;
}

// A micro-batch of a replica is out when the last of its ranks has it: all hold it, or a slice of it.
void add_outputs(const plan::Plan& plan, const std::vector<RankRecord>& records,
                 std::vector<std::int64_t> RankRecord::*ends, Trace& trace) {
  const std::int64_t batches = plan.scenario.deployment.micro_batches;
  std::map<std::pair<std::int64_t, std::int64_t>, TokenOutput> outputs;  // by step, batch
  for (std::size_t r = 0; r < records.size(); ++r) {
    const RankId rank(r);
    const plan::Role& role = plan.program.role_of(rank);
    const std::int64_t replica = plan.placement.replica_of(rank);
    for (std::size_t o = 0; o < role.ops.size(); ++o) {
      const plan::Op& op = role.ops[o];
      if (op.kind != plan::OpKind::step_end) continue;
      const std::int64_t sequences = plan.placement.sequences(replica, op.micro_batch).size();
      if (sequences == 0) continue;
      for (std::int64_t step = 0; step < trace.warmup_steps + trace.steps; ++step) {
        const SimTime time((records[r].*ends)[static_cast<std::size_t>(step) * role.ops.size() + o]);
        TokenOutput& output = outputs[{step, replica * batches + op.micro_batch}];
        output.step = step;
        output.batch = replica * batches + op.micro_batch;
        output.sequences = sequences;
        output.time = std::max(output.time, time);
      }
    }
  }
  for (const auto& entry : outputs) trace.outputs.push_back(entry.second);
}

// Events in the order of rank, step, op, as the simulator has them.
void add_events(const plan::Plan& plan, const std::vector<RankRecord>& records, RunResult& result) {
  Trace& trace = *result.trace;
  const std::int64_t warmup = trace.warmup_steps;
  const std::int64_t steps = warmup + trace.steps;
  for (std::size_t r = 0; r < records.size(); ++r) {
    const RankEvents& events = records[r].events;
    const auto ops = static_cast<std::int32_t>(plan.program.role_of(RankId(r)).ops.size());
    std::int64_t counted_cpu = 0;
    for (std::int32_t step = 0; step < steps; ++step) {
      for (std::int32_t op = 0; op < ops; ++op) {
        const std::size_t i =
            static_cast<std::size_t>(step) * static_cast<std::size_t>(ops) + static_cast<std::size_t>(op);
        trace.rank.push_back(static_cast<std::int32_t>(r));
        trace.step.push_back(step);
        trace.op.push_back(op);
        trace.posted.emplace_back(events.posted[i]);
        trace.begun.emplace_back(events.begun[i]);
        trace.ended.emplace_back(events.ended[i]);
        trace.provenance.push_back(Provenance::measured);
        trace.cpu.emplace_back(events.cpu[i]);
        if (step >= warmup) counted_cpu += events.cpu[i];
      }
    }
    result.cpu_per_step.push_back(to_seconds(SimTime(counted_cpu)) / static_cast<double>(trace.steps));
  }
}

// Layers on a rank whose tokens have experts.
plan::Range routed_layers(const plan::Plan& plan, RankId rank) {
  const plan::Range layers = plan.placement.layers_of_stage(plan.placement.stage_of(rank));
  return {std::max(layers.begin, plan.scenario.model.dense_layers), layers.end};
}

// What the ranks' routers decided, as one record, and the hashes of the plan that replays it.
void add_routing(const plan::Plan& plan, const std::vector<RankRecord>& records, RunResult& result) {
  const plan::ModelSpec& model = plan.scenario.model;
  plan::RoutingRecord record{.seed = plan.scenario.routing.seed,
                             .routed_steps = plan.routing.routed_steps(),
                             .layers = model.layers,
                             .dense_layers = model.dense_layers,
                             .tokens = plan.scenario.workload.sequences,
                             .experts = model.experts,
                             .top_k = model.top_k,
                             .choices = {},
                             .hash = {}};
  record.choices.assign(record.place(record.routed_steps, model.dense_layers, 0), -1);
  const bool dispatch = plan.scenario.deployment.exchange == plan::ExpertExchange::dispatch;
  for (std::size_t r = 0; r < records.size(); ++r) {
    const RankId rank(r);
    const std::int64_t replica = plan.placement.replica_of(rank);
    const std::int64_t index = plan.placement.tp_index_of(rank);
    const plan::Range layers = routed_layers(plan, rank);
    auto next = records[r].routes.begin();
    if (next == records[r].routes.end()) continue;
    for (std::int64_t step = 0; step < record.routed_steps; ++step)
      for (std::int64_t layer = layers.begin; layer < layers.end; ++layer)
        for (std::int64_t batch = 0; batch < plan.scenario.deployment.micro_batches; ++batch) {
          const plan::Range tokens =
              dispatch ? plan.placement.slice(replica, batch, index) : plan.placement.sequences(replica, batch);
          const auto end = next + tokens.size() * model.top_k;
          std::copy(next, end,
                    record.choices.begin() + static_cast<std::ptrdiff_t>(record.place(step, layer, tokens.begin)));
          next = end;
        }
    FORETOKEN_CHECK(next == records[r].routes.end(), "routes of other tokens");
  }
  record.seal();
  plan::RoutingSpec spec = plan.scenario.routing;
  spec.kind = plan::RoutingKind::recorded;
  spec.record = std::make_shared<const plan::RoutingRecord>(record);
  const plan::Routing replayed(spec, model.layers, model.experts, model.top_k);
  result.routing_hash = plan::hash_of(replayed.canonical_text());
  result.plan_hash = plan::hash_of(plan.program_hash + result.routing_hash);
  result.routing = std::move(record);
}

std::string hash_of_activations(const std::vector<Activations>& all) {
  std::string bytes;
  for (const Activations& one : all)
    bytes.append(reinterpret_cast<const char*>(one.hidden.data()), one.hidden.size() * sizeof(float));
  return plan::hash_of(bytes);
}

}  // namespace

RankRun::RankRun(const plan::Plan& plan, RankId rank, Communicator& communicator, const RunOptions& options,
                 RankProgress& progress, std::vector<RankId> clocks)
    : plan_(plan),
      rank_(rank),
      communicator_(communicator),
      options_(options),
      clocks_(std::move(clocks)),
      tables_(plan, rank),
      compute_(plan, rank, tables_),
      vote_(communicator, CommunicationId(plan.program.communications.size() + 1), rank, plan.program.ranks,
            options.interrupted),
      executor_(plan, rank, tables_, compute_, communicator, executor_options(plan, options, rank, progress, vote_)) {}

RankRecord RankRun::run() {
  RankRecord record;
  record.machine = this_machine();
  record.machine.host = host_of(rank_, options_);
  const std::int64_t steps = steps_of(plan_);
  const auto whole = [&](const std::vector<std::int64_t>& ends) {
    return ends.size() == static_cast<std::size_t>(steps) * plan_.program.role_of(rank_).ops.size();
  };
  record.interrupted = vote_.stops(options_.setup_deadline);
  if (record.interrupted) return record;
  communicator_.meet(options_.setup_deadline);
  const std::vector<ClockOffset> clocks_before = read_clocks();
  if (!clocks_.empty()) communicator_.meet(options_.setup_deadline);
  const CoreTime before = core_time();
  executor_.run(steps, record.ends, nullptr);
  const CoreTime after = core_time();
  if (after.all > before.all)
    record.busy = 1 - static_cast<double>(after.idle - before.idle) / static_cast<double>(after.all - before.all);
  record.began = nanoseconds_of(executor_.began() + clock_ahead());
  record.activations = activations();
  record.interrupted = !whole(record.ends);
  if (!plan_.routing.known() && decided_all(plan_, rank_, record.ends))
    record.routes = routes_of(plan_, rank_, tables_);
  if (options_.instrumented && !vote_.stops(options_.setup_deadline)) {
    communicator_.meet(options_.setup_deadline);
    executor_.run(steps, record.instrumented_ends, &record.events);
    record.instrumented_began = nanoseconds_of(executor_.began() + clock_ahead());
  }
  if (options_.instrumented && !whole(record.instrumented_ends)) record.interrupted = true;
  vote_.finish(options_.setup_deadline);
  communicator_.meet(options_.setup_deadline);
  if (const std::vector<ClockOffset> later = read_clocks(); !later.empty())
    record.clocks = clock_readings(clocks_, clocks_before, later);
  return record;
}

// The plan's communications have the numbers below.
std::vector<ClockOffset> RankRun::read_clocks() const {
  BlockingMessages messages(communicator_, CommunicationId(plan_.program.communications.size()),
                            options_.step_deadline);
  return measure_clock_offsets(messages, rank_, clocks_,
                               [this] { return nanoseconds_of(std::chrono::steady_clock::now() + clock_ahead()); });
}

std::chrono::nanoseconds RankRun::clock_ahead() const {
  return options_.feigned_computer ? options_.feigned_computer(rank_).ahead : std::chrono::nanoseconds(0);
}

std::vector<Activations> RankRun::activations() const {
  std::vector<Activations> all;
  const std::int64_t replica = plan_.placement.replica_of(rank_);
  for (const plan::Op& op : plan_.program.role_of(rank_).ops) {
    if (op.kind != plan::OpKind::step_end) continue;
    Activations one;
    one.rank = rank_;
    one.micro_batch = op.micro_batch;
    one.sequences = plan_.scenario.deployment.exchange == plan::ExpertExchange::dispatch
                        ? plan_.placement.slice(replica, op.micro_batch, plan_.placement.tp_index_of(rank_))
                        : plan_.placement.sequences(replica, op.micro_batch);
    const host::Buffer& hidden = compute_.buffer(op.inputs.front());
    one.hidden.assign(hidden.data(), hidden.data() + hidden.count());
    all.push_back(std::move(one));
  }
  return all;
}

bool steps_meet(const plan::Plan& plan) {
  const plan::DeploymentSpec& deployment = plan.scenario.deployment;
  return deployment.dp == 1 ||
         (deployment.exchange == plan::ExpertExchange::dispatch && deployment.ep == deployment.tp * deployment.dp &&
          plan.scenario.model.expert_layers() > 0);
}

bool decided_all(const plan::Plan& plan, RankId rank, const std::vector<std::int64_t>& ends) {
  return ends.size() >= static_cast<std::size_t>(plan.routing.routed_steps()) * plan.program.role_of(rank).ops.size();
}

std::vector<std::int32_t> routes_of(const plan::Plan& plan, RankId rank, const RowTables& tables) {
  std::vector<std::int32_t> all;
  const bool dispatch = plan.scenario.deployment.exchange == plan::ExpertExchange::dispatch;
  if (!dispatch && plan.placement.tp_index_of(rank) != 0) return all;
  const plan::Range layers = routed_layers(plan, rank);
  for (std::int64_t step = 0; step < plan.routing.routed_steps(); ++step)
    for (std::int64_t layer = layers.begin; layer < layers.end; ++layer)
      for (std::int64_t batch = 0; batch < plan.scenario.deployment.micro_batches; ++batch) {
        const auto& experts = tables.at(step, layer, batch).experts;
        all.insert(all.end(), experts.begin(), experts.end());
      }
  return all;
}

RunResult put_together(const plan::Plan& plan, const std::string& communicator, std::vector<RankRecord> records) {
  FORETOKEN_CHECK(static_cast<std::int64_t>(records.size()) == plan.program.ranks, "a record per rank");
  for (ClockReading& clock : records.front().clocks) clock.host = records[clock.rank.index()].machine.host;
  align_clocks(records);
  RunResult result;
  result.clocks = records.front().clocks;
  result.plan_hash = plan.plan_hash;
  result.routing_hash = plan.routing_hash;
  result.interrupted = records.front().interrupted;
  const auto has_routes = [](const RankRecord& record) { return !record.routes.empty(); };
  if (!plan.routing.known() && std::any_of(records.begin(), records.end(), has_routes))
    add_routing(plan, records, result);
  result.communicator = communicator;
  result.headline = empty_trace(plan, counted_steps(plan, records, &RankRecord::ends));
  if (result.headline.steps > 0) {
    add_outputs(plan, records, &RankRecord::ends, result.headline);
    result.metrics = compute_metrics(result.headline);
  }
  if (const std::int64_t steps = counted_steps(plan, records, &RankRecord::instrumented_ends); steps > 0) {
    result.trace = empty_trace(plan, steps);
    add_outputs(plan, records, &RankRecord::instrumented_ends, *result.trace);
    add_events(plan, records, result);
    result.overhead = ratio(compute_metrics(*result.trace).step.mean, result.metrics.step.mean) - 1;
  }
  for (RankRecord& record : records) {
    for (Activations& one : record.activations) result.activations.push_back(std::move(one));
    const auto known = std::find(result.machines.begin(), result.machines.end(), record.machine);
    result.machine_of_rank.push_back(static_cast<std::int32_t>(known - result.machines.begin()));
    if (known == result.machines.end()) result.machines.push_back(record.machine);
  }
  result.busy = records.front().busy;
  result.activations_hash = hash_of_activations(result.activations);
  return result;
}

std::vector<ClockReading> clock_readings(std::span<const RankId> ranks, std::span<const ClockOffset> before,
                                         std::span<const ClockOffset> after) {
  const auto offset = [](const ClockOffset& one) {
    return ClockReading::Offset{Seconds(static_cast<double>(one.ahead) * 1e-9),
                                Seconds(static_cast<double>(one.bound) * 1e-9)};
  };
  std::vector<ClockReading> readings;
  for (std::size_t c = 0; c < ranks.size(); ++c)
    readings.push_back({"", ranks[c], offset(before[c]), offset(after[c])});
  return readings;
}

std::string host_of(RankId rank, const RunOptions& options) {
  return options.feigned_computer ? options.feigned_computer(rank).host : this_machine().host;
}

std::string told_by(const plan::Plan& plan, RankId rank, std::uint64_t progress) {
  const auto& ops = plan.program.role_of(rank).ops;
  const std::uint64_t op = progress & 0xFFFFFFFFU;
  if (progress == kNoProgress || op >= ops.size()) return "before its first op";
  return fmt::format("in step {} at {}", progress >> 32U, ops[op].name);
}

std::string furthest_behind(const plan::Plan& plan, std::span<const std::uint64_t> progress) {
  const auto first = std::min_element(progress.begin(), progress.end());
  if (first == progress.end() || *first == kNoProgress) return "";
  const RankId rank(static_cast<std::size_t>(first - progress.begin()));
  return fmt::format("rank {} is furthest behind, {}", rank.value(), told_by(plan, rank, *first));
}

}  // namespace foretoken::runtime
