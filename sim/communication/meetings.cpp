#include "sim/communication/meetings.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include "core/error.hpp"

namespace foretoken::sim {
namespace {

// The rank that names the instance: the group's first member, or the sender.
RankId anchor_of(const plan::Program& program, const plan::Op& op, RankId rank) {
  if (const auto* transfer = std::get_if<plan::TransferOp>(&op.detail)) {
    if (op.kind == plan::OpKind::send) return rank;
    return RankId(static_cast<std::int32_t>(rank.value() + transfer->peer_offset));
  }
  const plan::Communication& communication = program.communications[communication_of(op).index()];
  return program.groups[communication.group.index()].first_of(rank);
}

}  // namespace

CommunicationId communication_of(const plan::Op& op) {
  if (const auto* collective = std::get_if<plan::CollectiveOpDetail>(&op.detail)) return collective->communication;
  if (const auto* exchange = std::get_if<plan::ExchangeOp>(&op.detail)) return exchange->communication;
  if (const auto* transfer = std::get_if<plan::TransferOp>(&op.detail)) return transfer->communication;
  return {};
}

Meetings::Meetings(const plan::Program& program, const ProgramIndex& index)
    : index_(index), places_(static_cast<std::size_t>(index.ops())) {
  std::map<std::pair<CommunicationId, RankId>, std::int32_t> known;
  for (std::int64_t r = 0; r < program.ranks; ++r) {
    const RankId rank(static_cast<std::int32_t>(r));
    const auto& ops = program.role_of(rank).ops;
    for (std::size_t o = 0; o < ops.size(); ++o) {
      const CommunicationId communication = communication_of(ops[o]);
      if (!communication.valid()) continue;
      const RankId anchor = anchor_of(program, ops[o], rank);
      const auto [entry, is_new] =
          known.try_emplace({communication, anchor}, static_cast<std::int32_t>(meetings_.size()));
      if (is_new) {
        const GroupId group = program.communications[communication.index()].group;
        const auto size = group.valid() ? program.groups[group.index()].size : 1;
        meetings_.push_back({communication, static_cast<std::int32_t>(anchor.value() / size), {}});
      }
      meetings_[static_cast<std::size_t>(entry->second)].participants.push_back({rank, OpId(o)});
      places_[index.slot(rank, OpId(o))].meeting = entry->second;
    }
  }

  for (Meeting& meeting : meetings_) {
    const plan::Communication& communication = program.communications[meeting.communication.index()];
    auto& participants = meeting.participants;
    const auto kind_of = [&](const Participant& p) { return program.role_of(p.rank).ops[p.op.index()].kind; };
    if (communication.kind == plan::OpKind::send) {
      FORETOKEN_CHECK(participants.size() == 2 && kind_of(participants[0]) != kind_of(participants[1]),
                      communication.name + ": a send without its recv");
      if (kind_of(participants[0]) == plan::OpKind::recv) std::swap(participants[0], participants[1]);
    } else if (!is_exchange(communication.kind)) {
      const auto size = static_cast<std::size_t>(program.groups[communication.group.index()].size);
      FORETOKEN_CHECK(participants.size() == size, communication.name + ": a member of the group does not take part");
    }
    for (std::size_t p = 0; p < participants.size(); ++p) {
      places_[index.slot(participants[p].rank, participants[p].op)].participant = static_cast<std::int32_t>(p);
    }
  }
}

CollectiveOp collective_of(plan::OpKind kind) {
  if (kind == plan::OpKind::all_gather) return CollectiveOp::all_gather;
  if (kind == plan::OpKind::reduce_scatter) return CollectiveOp::reduce_scatter;
  FORETOKEN_CHECK(kind == plan::OpKind::all_reduce, "not a collective");
  return CollectiveOp::all_reduce;
}

}  // namespace foretoken::sim
