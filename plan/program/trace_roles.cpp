#include "plan/program/trace_roles.hpp"

#include <string>

namespace foretoken::plan {
namespace {

TraceMeeting meeting_in(const Program& program, CommunicationId communication) {
  const GroupFamily& group = program.groups[program.communications[communication.index()].group.index()];
  return {communication.value(), group.size, group.stride, 0};
}

std::optional<TraceMeeting> meeting_of(const Program& program, const Op& op) {
  if (const auto* collective = std::get_if<CollectiveOpDetail>(&op.detail))
    return meeting_in(program, collective->communication);
  if (const auto* exchange = std::get_if<ExchangeOp>(&op.detail)) return meeting_in(program, exchange->communication);
  if (const auto* transfer = std::get_if<TransferOp>(&op.detail))
    return TraceMeeting{transfer->communication.value(), 1, 1, transfer->peer_offset};
  return std::nullopt;
}

}  // namespace

std::vector<std::vector<TraceOp>> trace_roles(const Program& program) {
  std::vector<std::vector<TraceOp>> roles;
  for (const Role& role : program.roles) {
    auto& ops = roles.emplace_back();
    for (const Op& op : role.ops) {
      TraceOp described{
          op.name,       std::string(name_of(op.kind)), name_of(op.stream), is_communication(op.kind), op.layer,
          op.micro_batch};
      for (const Dependency& dependency : op.dependencies)
        described.after.push_back({dependency.op.value(), dependency.distance});
      described.meets = meeting_of(program, op);
      described.arrival_set = op.arrival_set;
      described.chunk = op.chunk;
      ops.push_back(std::move(described));
    }
  }
  return roles;
}

}  // namespace foretoken::plan
