#include "calibrate/measure/communication_probe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "calibrate/fit/kernel_fit.hpp"
#include "calibrate/measure/communications_only.hpp"
#include "core/error.hpp"
#include "plan/program/resolve.hpp"
#include "plan/program/wire_rows.hpp"
#include "sim/communication/host_schedule_amounts.hpp"
#include "sim/communication/meetings.hpp"

namespace foretoken::calibrate {
namespace {

constexpr double kKept = 0.98;
constexpr std::int64_t kStepsPerRoutedMin = 3;
constexpr std::int64_t kStepsPerRoutedMax = 500;

constexpr std::int64_t kElementBytes = 4;

struct AmountsOf {
  const plan::Plan& plan;
  RankId rank;
  const plan::Op& op;
  plan::WireRows& wire;
  std::int64_t routed_step;

  HostTerms operator()(const plan::CollectiveOpDetail& detail) const {
    const plan::Communication& communication = plan.program.communications[detail.communication.index()];
    return sim::host_collective_amounts(sim::collective_of(op.kind), communication.algorithm,
                                        plan.program.groups[communication.group.index()].size,
                                        Bytes(detail.rows * detail.cols * kElementBytes));
  }
  // What the dispatch mode puts on the wire, as the simulator has it.
  HostTerms operator()(const plan::ExchangeOp& detail) const {
    const plan::Communication& communication = plan.program.communications[detail.communication.index()];
    const plan::GroupFamily& group = plan.program.groups[communication.group.index()];
    const std::int64_t own = group.index_of(rank);
    const std::int64_t instance = group.first_of(rank).value() / group.size;
    std::int64_t messages = 0;
    std::int64_t moved = 0;
    std::int64_t copied = 0;
    for (const plan::PairRows& pair : wire.rows(communication, instance, routed_step).pairs) {
      if (pair.source != own && pair.host != own) continue;
      if (pair.source == pair.host) {
        copied += pair.rows;
      } else if (pair.rows > 0) {
        ++messages;
        moved += pair.rows;
      }
    }
    const std::int64_t row = detail.cols * kElementBytes;
    return sim::host_exchange_amounts(messages, Bytes(moved * row), Bytes(copied * row));
  }
  HostTerms operator()(const plan::TransferOp& detail) const {
    return sim::host_transfer_amounts(Bytes(detail.rows * detail.cols * kElementBytes));
  }
  template <class Compute>
  HostTerms operator()(const Compute&) const {
    FORETOKEN_CHECK(false, op.name + " is not a communication");
  }
};

// All executions of one communication in one routed step.
struct Executions {
  const plan::Op* op = nullptr;
  HostTerms amounts;  // sum over ranks
  double ranks = 0;
  std::vector<double> cpu;   // per rank and step
  std::vector<double> wall;  // per step: from when all were there
  std::vector<double> wait;  // per rank and step: wall beyond CPU, per round
};

double kept_mean(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto kept = std::max<std::size_t>(1, static_cast<std::size_t>(kKept * static_cast<double>(values.size())));
  return std::accumulate(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(kept), 0.0) /
         static_cast<double>(kept);
}

// Of the trace's events those of one (communication, step), which stand apart by rank.
using Meeting = std::map<std::pair<CommunicationId, std::int32_t>, std::vector<std::size_t>>;

std::map<std::pair<CommunicationId, std::int64_t>, Executions> executions_of(const plan::Plan& plan,
                                                                             const runtime::RunResult& result) {
  const Trace& trace = *result.trace;
  plan::RowCounter counter(plan.placement, plan.routing, plan.scenario.model.experts);
  plan::WireRows wire(plan, counter);
  const auto op_of = [&](std::size_t event) -> const plan::Op& {
    return plan.program.role_of(RankId(trace.rank[event])).ops[static_cast<std::size_t>(trace.op[event])];
  };
  Meeting meetings;
  for (std::size_t event = 0; event < trace.rank.size(); ++event)
    if (trace.step[event] >= trace.warmup_steps && is_communication(op_of(event).kind))
      meetings[{sim::communication_of(op_of(event)), trace.step[event]}].push_back(event);

  std::map<std::pair<CommunicationId, std::int64_t>, Executions> all;
  for (const auto& [key, events] : meetings) {
    const std::int64_t routed_step = key.second % plan.routing.routed_steps();
    Executions& one = all[{key.first, routed_step}];
    SimTime there{};
    for (const std::size_t event : events) there = std::max(there, trace.posted[event]);
    double wall = 0;
    const bool first = one.cpu.empty();
    for (const std::size_t event : events) {
      const RankId rank(trace.rank[event]);
      const plan::Op& op = op_of(event);
      const HostTerms amounts = std::visit(AmountsOf{plan, rank, op, wire, routed_step}, op.detail);
      if (first) {
        one.op = &op;
        one.amounts += amounts;
        one.ranks += 1;
      }
      const double cpu = to_seconds(trace.cpu[event]).value();
      one.cpu.push_back(cpu);
      const double took = to_seconds(trace.ended[event] - there).value();
      wall = std::max(wall, took);
      const double rounds = amounts[HostTerm::communication_rounds];
      // A message one way is the work of both ends, one after the other: beyond one's own CPU there is the peer's.
      if (rounds > 0 && !std::holds_alternative<plan::TransferOp>(op.detail)) one.wait.push_back((took - cpu) / rounds);
    }
    one.wall.push_back(wall);
  }
  return all;
}

}  // namespace

HostTerms communication_amounts(const plan::Plan& plan, RankId rank, const plan::Op& op, std::int64_t routed_step) {
  plan::RowCounter counter(plan.placement, plan.routing, plan.scenario.model.experts);
  plan::WireRows wire(plan, counter);
  return std::visit(AmountsOf{plan, rank, op, wire, routed_step}, op.detail);
}

std::vector<HostSample> measure_communication(const std::string& name, const plan::Plan& plan, std::int64_t steps,
                                              HostLoad load, const RunPlan& run) {
  const plan::Plan stripped = communications_only(plan, steps);
  const std::optional<runtime::RunResult> result = run(stripped);
  std::vector<HostSample> samples;
  if (!result) return samples;
  FORETOKEN_CHECK(result->trace.has_value(), "probes are run with times of every op");
  for (const auto& [key, executions] : executions_of(stripped, *result)) {
    HostSample s;
    s.probe = name;
    s.communicator = result->communicator;
    s.load = load;
    s.kind = name_of(executions.op->kind);
    s.op = executions.op->name;
    for (std::size_t t = 0; t < kHostTerms.size(); ++t)
      s.amounts[static_cast<HostTerm>(t)] = executions.amounts[static_cast<HostTerm>(t)] / executions.ranks;
    s.shape = fmt::format("ranks={} bytes={:.0f}", executions.ranks, s.amounts[HostTerm::communication_bytes]);
    s.routed_step = key.second;
    s.cpu = std::max(Seconds(kept_mean(executions.cpu)), Seconds(1e-9));
    s.cpu_q10 = Seconds(quantile_of(executions.cpu, 0.1));
    s.cpu_q90 = Seconds(quantile_of(executions.cpu, 0.9));
    s.wall = Seconds(quantile_of(executions.wall, 0.5));
    s.count = static_cast<std::int64_t>(executions.cpu.size());
    if (!executions.wait.empty()) s.wait_per_round = Seconds(std::max(0.0, quantile_of(executions.wait, 0.5)));
    samples.push_back(std::move(s));
  }
  return samples;
}

std::int64_t communication_steps(const plan::Plan& plan, Seconds time) {
  // Twice, because a run with times of every op follows one without. Ranks without cores of their own take turns.
  const double per_round = 2 * 10e-6 * static_cast<double>(plan.program.ranks);
  constexpr double per_byte = 2 * 0.5e-9;
  plan::RowCounter counter(plan.placement, plan.routing, plan.scenario.model.experts);
  plan::WireRows wire(plan, counter);
  double step = 0;
  for (std::int32_t r = 0; r < plan.program.ranks; ++r) {
    const RankId rank(r);
    for (const plan::Op& op : plan.program.role_of(rank).ops) {
      if (!is_communication(op.kind)) continue;
      const HostTerms amounts = std::visit(AmountsOf{plan, rank, op, wire, 0}, op.detail);
      step += per_round * amounts[HostTerm::communication_rounds] +
              per_byte * (amounts[HostTerm::communication_bytes] + amounts[HostTerm::communication_copied]);
    }
  }
  const std::int64_t routed = plan.routing.routed_steps();
  const auto fitting = static_cast<std::int64_t>(time.value() / std::max(step, 1e-6)) / routed;
  return routed * std::clamp(fitting, kStepsPerRoutedMin, kStepsPerRoutedMax);
}

}  // namespace foretoken::calibrate
