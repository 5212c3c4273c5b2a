#include "tests/sim/tiny_program.hpp"

#include <stdexcept>
#include <utility>

#include "plan/machine/topology.hpp"
#include "sim/communication/fabric.hpp"
#include "sim/communication/memory_fabric.hpp"
#include "sim/engine/engine.hpp"

namespace foretoken::test {

using namespace literals;

plan::Machine round_machine(std::int64_t nodes, std::int64_t gpus) {
  plan::Topology topology;
  topology.name = "round";
  topology.device.name = "round-gpu";
  topology.nodes = nodes;
  topology.gpus_per_node = gpus;
  topology.nvlink_bandwidth = 1_GBps;
  topology.pcie_bandwidth = 10_GBps;
  topology.nic_bandwidth = 1_GBps;
  topology.nvls = true;
  return plan::build_machine(topology);
}

NetworkCalibration round_network() {
  NetworkCalibration network;
  network.nvlink = {1_GBps, 1.0, Provenance::measured, "invented"};
  network.pcie = {10_GBps, 1.0, Provenance::assumed, "invented"};
  network.infiniband = {1_GBps, 1.0, Provenance::measured, "invented"};
  network.ring.step_latency = 1_us;
  network.ring.network_step_latency = 1_us;
  network.ring.ll_rate = 1_GBps;
  // LL is the fastest at every size: the others come too late.
  network.ring.ll128_latency = Seconds(1000.0);
  network.ring.simple_latency = Seconds(1000.0);
  network.ring.ll128_rate = network.ring.simple_wire_rate = network.ring.simple_local_rate = 1_GBps;
  network.nvls.latency = 3_us;
  network.nvls.wire_rate = 1_GBps;
  network.direct.peer_latency = 1_us;
  network.direct.one_shot_rate = network.direct.two_shot_rate = 1_GBps;
  network.direct.second_shot_latency = Seconds(1000.0);
  network.message_in_node = {1_us, 1_GBps, {}, "invented"};
  network.message_across_nodes = {2_us, 1_GBps, {}, "invented"};
  network.dispatch.latency_one_node = 5_us;
  network.dispatch.latency_across_nodes = 10_us;
  network.dispatch.rate_in_node = network.dispatch.rate_across_nodes = 1_GBps;
  network.combine = network.dispatch;
  return network;
}

TinyProgram::TinyProgram(std::int64_t ranks) {
  program_.ranks = ranks;
  program_.role_of_rank.assign(static_cast<std::size_t>(ranks), 0);
}

std::size_t TinyProgram::role(std::vector<std::int32_t> ranks) {
  plan::Role role;
  role.name = "role" + std::to_string(program_.roles.size());
  for (const std::int32_t rank : ranks) {
    role.ranks.emplace_back(rank);
    program_.role_of_rank[static_cast<std::size_t>(rank)] = static_cast<std::int32_t>(program_.roles.size());
  }
  program_.roles.push_back(std::move(role));
  return program_.roles.size() - 1;
}

GroupId TinyProgram::group(std::int64_t size, std::int64_t stride) {
  program_.groups.push_back({"group", size, stride});
  return GroupId(program_.groups.size() - 1);
}

CommunicationId TinyProgram::communication(plan::OpKind kind, GroupId group, CollectiveAlgorithm algorithm) {
  plan::Communication communication;
  communication.name = "communication" + std::to_string(program_.communications.size());
  communication.kind = kind;
  communication.group = group;
  communication.algorithm = algorithm;
  communication.dtype = DType::fp8;  // one byte per element
  program_.communications.push_back(communication);
  return CommunicationId(program_.communications.size() - 1);
}

OpId TinyProgram::add(std::size_t role, const std::string& name, plan::OpKind kind, plan::OpDetail detail,
                      Place place) {
  plan::Op op;
  op.name = name;
  op.kind = kind;
  op.stream = place.stream;
  op.dtype = DType::fp8;
  op.detail = detail;
  op.dependencies = std::move(place.after);
  auto& ops = program_.roles[role].ops;
  ops.push_back(std::move(op));
  return OpId(ops.size() - 1);
}

OpId TinyProgram::compute(std::size_t role, const std::string& name, double us, Place place) {
  durations_us_[name] = us;
  return add(role, name, plan::OpKind::gemm, plan::GemmOp{}, std::move(place));
}

OpId TinyProgram::block(std::size_t role, const std::string& name, double us, std::int16_t chunk, Place place) {
  const OpId op = compute(role, name, us, std::move(place));
  program_.roles[role].ops[op.index()].arrival_set = 0;
  program_.roles[role].ops[op.index()].chunk = chunk;
  return op;
}

OpId TinyProgram::step_end(std::size_t role, Place place) {
  durations_us_["end"] = 0;
  return add(role, "end", plan::OpKind::step_end, plan::RowwiseOp{}, std::move(place));
}

OpId TinyProgram::collective(std::size_t role, const std::string& name, CommunicationId communication,
                             std::int64_t bytes, Place place) {
  return add(role, name, program_.communications[communication.index()].kind,
             plan::CollectiveOpDetail{communication, 1, bytes}, std::move(place));
}

OpId TinyProgram::send(std::size_t role, const std::string& name, CommunicationId communication,
                       std::int64_t peer_offset, std::int64_t bytes, Place place) {
  return add(role, name, plan::OpKind::send, plan::TransferOp{communication, peer_offset, 1, bytes}, std::move(place));
}

OpId TinyProgram::recv(std::size_t role, const std::string& name, CommunicationId communication,
                       std::int64_t peer_offset, std::int64_t bytes, Place place) {
  return add(role, name, plan::OpKind::recv, plan::TransferOp{communication, peer_offset, 1, bytes}, std::move(place));
}

OpId TinyProgram::exchange(std::size_t role, const std::string& name, CommunicationId communication, Place place) {
  plan::ExchangeOp detail;
  detail.communication = communication;
  detail.source = detail.host = true;
  detail.cols = 1000;
  return add(role, name, program_.communications[communication.index()].kind, detail, std::move(place));
}

Trace TinyProgram::run(const plan::Machine& machine, std::int64_t warmup_steps, std::int64_t steps) const {
  const sim::NetworkCost cost(round_network());
  const sim::Fabric fabric(machine, cost, program_.ranks);
  return run(fabric, warmup_steps, steps, 0);
}

Trace TinyProgram::run(const plan::Machine& machine, std::vector<plan::Fault> faults) const {
  const sim::NetworkCost cost(round_network());
  sim::Fabric fabric(machine, cost, program_.ranks);
  sim::FaultTimeline timeline(std::move(faults), fabric);
  return run(fabric, 0, 1, 0, nullptr, std::nullopt, &timeline);
}

Trace TinyProgram::run_shared(const plan::Machine& machine, std::int64_t steps, BytesPerSecond memory,
                              const sim::KernelInterference* interference) const {
  const sim::NetworkCost cost(round_network());
  const sim::Fabric fabric(machine, cost, program_.ranks);
  const InterferenceCalibration bytes;
  const sim::MemoryFabric shared(fabric, bytes, memory, program_.ranks);
  return run(shared, 0, steps, 0, interference, std::nullopt, nullptr);
}

Trace TinyProgram::run_launched(const plan::Machine& machine, std::int64_t warmup_steps, std::int64_t steps,
                                const sim::LaunchModel& launches) const {
  const sim::NetworkCost cost(round_network());
  const sim::Fabric fabric(machine, cost, program_.ranks);
  return run(fabric, warmup_steps, steps, 0, nullptr, launches, nullptr);
}

Trace TinyProgram::run(const sim::Transport& transport, std::int64_t warmup_steps, std::int64_t steps,
                       double crowding) const {
  return run(transport, warmup_steps, steps, crowding, nullptr, std::nullopt, nullptr);
}

Trace TinyProgram::run(const sim::Transport& transport, std::int64_t warmup_steps, std::int64_t steps, double crowding,
                       const sim::KernelInterference* interference, const std::optional<sim::LaunchModel>& launches,
                       sim::FaultTimeline* faults) const {
  plan::RoutedRows rows;
  rows.rows_of_expert.assign(1, 0);
  rows.pairs = pairs;
  const sim::EngineInput input{
      program_,
      transport,
      [&](RankId rank, OpId op, std::int64_t) {
        ++durations_asked;
        const std::string& name = program_.role_of(rank).ops[op.index()].name;
        const auto traffic = traffic_.find(name);
        const double speed = faults == nullptr ? 1.0 : faults->speed(rank);
        return sim::Estimate{Seconds(durations_us_.at(name) * 1e-6 / speed), Provenance::measured, crowding,
                             traffic == traffic_.end() ? Bytes(0) : traffic->second};
      },
      [&](const plan::Communication&, std::int64_t, std::int64_t) -> const plan::RoutedRows& { return rows; },
      warmup_steps,
      steps,
      1,
      interference,
      launches,
      faults,
      0,
      link_samples,
      every_step};
  return sim::run_engine(input);
}

Times times_of(const Trace& trace, std::int32_t rank, const std::string& op, std::int32_t step) {
  const auto us = [](SimTime time) { return static_cast<double>(time.value()) * 1e-6; };
  for (std::size_t event = 0; event < trace.size(); ++event) {
    if (trace.rank[event] == rank && trace.step[event] == step && trace.op_of(event).name == op) {
      return {us(trace.posted[event]), us(trace.begun[event]), us(trace.ended[event])};
    }
  }
  throw std::out_of_range("no op " + op + " on rank " + std::to_string(rank));
}

}  // namespace foretoken::test
