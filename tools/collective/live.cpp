#include "tools/collective/live.hpp"

#include <fmt/format.h>

#include <utility>

#include "calibrate/measure/probe_plan.hpp"
#include "core/error.hpp"
#include "plan/program/text.hpp"

namespace foretoken::collective {
namespace {

using plan::OpKind;

constexpr std::int64_t kWarmupSteps = 2;
constexpr std::int64_t kElementBytes = 4;

// One role of the program being made. Matrices have one column, so that any number of elements will do.
class RoleMaker {
 public:
  explicit RoleMaker(std::string name) { role_.name = std::move(name); }

  TensorId tensor(const std::string& name, std::int64_t elements) {
    plan::Tensor tensor;
    tensor.name = name;
    tensor.dtype = DType::fp32;
    tensor.rows = plan::Extent::fixed(elements);
    tensor.cols = 1;
    role_.tensors.push_back(tensor);
    return TensorId(role_.tensors.size() - 1);
  }
  OpId op(const std::string& name, OpKind kind, plan::Stream stream, plan::OpDetail detail,
          std::vector<TensorId> inputs, std::vector<TensorId> outputs) {
    plan::Op op;
    op.name = name;
    op.kind = kind;
    op.stream = stream;
    op.dtype = DType::fp32;
    op.micro_batch = 0;
    op.detail = detail;
    op.inputs = std::move(inputs);
    op.outputs = std::move(outputs);
    role_.ops.push_back(std::move(op));
    return OpId(role_.ops.size() - 1);
  }
  // All ops of a step before its end, and none of the next before it.
  plan::Role finish() {
    const TensorId hidden = tensor("hidden", 1);
    const TensorId token = tensor("token", 1);
    plan::RowwiseOp detail;
    detail.rows = plan::Extent::fixed(1);
    detail.cols = 1;
    detail.out_rows = 1;
    const OpId end = op("end", OpKind::step_end, plan::kCompute, detail, {hidden}, {token});
    for (std::size_t o = 0; o < end.index(); ++o) {
      role_.ops[end.index()].dependencies.push_back({OpId(o), 0});
      role_.ops[o].dependencies.push_back({end, 1});
    }
    return std::move(role_);
  }
  plan::Role& role() { return role_; }

 private:
  plan::Role role_;
};

void add_collective(plan::Program& program, const Query& query, std::int64_t elements) {
  const OpKind kind = query.op == Operation::all_reduce   ? OpKind::all_reduce
                      : query.op == Operation::all_gather ? OpKind::all_gather
                                                          : OpKind::reduce_scatter;
  program.groups = {{"all", query.ranks, 1}};
  plan::Communication communication;
  communication.name = name_of(query.op);
  communication.kind = kind;
  communication.group = GroupId(std::size_t{0});
  communication.algorithm = collective_algorithm(query, 1, Bytes(0), false);
  communication.dtype = DType::fp32;
  program.communications = {communication};

  const std::int64_t part = elements / query.ranks;
  RoleMaker maker("rank");
  const TensorId in = maker.tensor("in", kind == OpKind::all_gather ? part : elements);
  const TensorId out = maker.tensor("out", kind == OpKind::reduce_scatter ? part : elements);
  maker.op(communication.name, kind, plan::kCommunication,
           plan::CollectiveOpDetail{CommunicationId(std::size_t{0}), elements, 1}, {in}, {out});
  plan::Role role = maker.finish();
  for (std::int32_t rank = 0; rank < query.ranks; ++rank) role.ranks.emplace_back(rank);
  program.roles = {std::move(role)};
  program.role_of_rank.assign(static_cast<std::size_t>(query.ranks), 0);
}

// Messages by (sender, receiver), every rank a role of its own since its peers are.
class MessageProgram {
 public:
  MessageProgram(plan::Program& program, std::int32_t ranks) : program_(program), ranks_(ranks) {
    program_.groups.clear();
    program_.communications.clear();
    program_.roles.clear();
    program_.role_of_rank.clear();
    for (std::int32_t rank = 0; rank < ranks; ++rank) {
      makers_.emplace_back(fmt::format("rank{}", rank));
      makers_.back().role().ranks = {RankId(rank)};
      program_.role_of_rank.push_back(rank);
    }
  }
  void add(std::int32_t from, std::int32_t to, std::int64_t elements, plan::Stream send, plan::Stream receive) {
    plan::Communication communication;
    communication.name = fmt::format("from{}.to{}", from, to);
    communication.kind = OpKind::send;
    communication.dtype = DType::fp32;
    program_.communications.push_back(communication);
    const CommunicationId id(program_.communications.size() - 1);
    RoleMaker& sender = makers_[static_cast<std::size_t>(from)];
    RoleMaker& receiver = makers_[static_cast<std::size_t>(to)];
    const auto offset = std::int64_t{to} - from;
    sender.op("send." + communication.name, OpKind::send, send, plan::TransferOp{id, offset, elements, 1},
              {sender.tensor("out." + communication.name, elements)}, {});
    receiver.op("recv." + communication.name, OpKind::recv, receive, plan::TransferOp{id, -offset, elements, 1}, {},
                {receiver.tensor("in." + communication.name, elements)});
  }
  void finish() {
    for (RoleMaker& maker : makers_) program_.roles.push_back(maker.finish());
  }

 private:
  plan::Program& program_;
  std::int32_t ranks_;
  std::vector<RoleMaker> makers_;
};

void add_all_to_all(plan::Program& program, const Query& query, Bytes bytes) {
  const bool pairwise = all_to_all_algorithm(query) == AllToAllAlgorithm::pairwise;
  const sim::TrafficMatrix matrix = traffic_of(query, bytes);
  MessageProgram messages(program, query.ranks);
  for (std::int32_t round = 1; round < query.ranks; ++round) {
    for (std::int32_t from = 0; from < query.ranks; ++from) {
      const std::int32_t to = (from + round) % query.ranks;
      const std::int64_t elements = matrix.at(from, to).value() / kElementBytes;
      if (elements == 0) continue;
      // In order on one stream each way, or all at once on streams of their own.
      const plan::Stream send =
          pairwise ? plan::kPipelineSend : plan::Stream{static_cast<std::int16_t>(plan::kFirstExchange + 2 * round)};
      const plan::Stream receive = pairwise
                                       ? plan::kPipelineRecv
                                       : plan::Stream{static_cast<std::int16_t>(plan::kFirstExchange + 2 * round + 1)};
      messages.add(from, to, elements, send, receive);
    }
  }
  messages.finish();
}

void add_send_recv(plan::Program& program, const Query& query, std::int64_t elements) {
  if (query.algorithm != "auto" && query.algorithm != "direct")
    throw input_error("--algorithm " + query.algorithm, "", "send_recv has no such algorithm", "leave it out");
  MessageProgram messages(program, query.ranks);
  for (std::int32_t from = 0; query.ranks > 1 && from < query.ranks; ++from)
    messages.add(from, (from + 1) % query.ranks, elements, plan::kPipelineSend, plan::kPipelineRecv);
  messages.finish();
}

}  // namespace

plan::Plan live_plan(const Query& query, Bytes bytes, std::int64_t iterations) {
  require_host_has(query);
  // A model of no interest with that many ranks, whose program is then another one.
  plan::Plan plan = calibrate::probe_plan(
      "collective",
      {fmt::format("model.heads={}", query.ranks), "model.head_dim=2", "model.hidden=16",
       fmt::format("model.experts={}", 2 * query.ranks), "model.expert_hidden=16", "workload.context=1",
       fmt::format("workload.sequences={}", query.ranks), "routing.routed_steps=1",
       fmt::format("deployment.attention.tp={}", query.ranks), fmt::format("deployment.experts.ep={}", query.ranks)});
  plan.scenario.measure.warmup_steps = kWarmupSteps;
  plan.scenario.measure.steps = iterations;
  const std::int64_t elements = bytes.value() / kElementBytes;
  if (is_collective(query.op)) add_collective(plan.program, query, elements);
  else if (query.op == Operation::send_recv) add_send_recv(plan.program, query, elements);
  else add_all_to_all(plan.program, query, bytes);
  plan.program_hash = plan::hash_of(plan::to_text(plan.program));
  plan.plan_hash = plan::hash_of(plan.program_hash + plan.routing_hash);
  return plan;
}

std::optional<Table> measure(const Query& query, std::int64_t iterations, const RunPlan& run,
                             const std::function<void(std::size_t, std::size_t)>& progress) {
  Table table;
  table.query = query;
  table.machine = "this computer";
  table.clock = "wall";
  table.iterations = iterations;
  Bytes last(0);
  bool leads = true;
  for (std::size_t i = 0; i < query.sizes.size(); ++i) {
    const Bytes bytes = whole_size(query, Bytes(query.sizes[i]));
    if (bytes == last) continue;
    last = bytes;
    const plan::Plan plan = live_plan(query, bytes, iterations);
    if (progress && leads) progress(i, query.sizes.size());
    const std::optional<runtime::RunResult> result = run(plan);
    leads = result.has_value();
    if (!leads) continue;
    table.communicator = result->communicator;
    Row row;
    row.size = bytes;
    row.count = count_of(query, bytes);
    row.bus_bytes = bus_bytes(query.op, query.ranks, bytes);
    row.time = result->metrics.step.mean;
    row.busy = result->busy;
    if (is_collective(query.op)) {
      row.algorithm = name_of(collective_algorithm(query, 1, bytes, false));
    } else if (query.op == Operation::send_recv) {
      row.algorithm = "direct";
    } else {
      row.algorithm = name_of(all_to_all_algorithm(query));
      const sim::TrafficMatrix matrix = traffic_of(query, bytes);
      row.size = matrix.buffer_max();
      if (query.op == Operation::all_to_all_v) row.bus_bytes = static_cast<double>(matrix.busiest().value());
    }
    table.rows.push_back(std::move(row));
  }
  if (!leads) return std::nullopt;
  return table;
}

}  // namespace foretoken::collective
