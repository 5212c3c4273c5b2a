#include "runtime/nccl_calls.hpp"

#include <fmt/format.h>

#include <iterator>

#include "core/error.hpp"
#include "plan/program/node_rows.hpp"
#include "runtime/node_exchange.hpp"

namespace foretoken::runtime {
namespace {

using plan::OpKind;

CommunicationId communication_of(const plan::Op& op) {
  return std::visit(
      [](const auto& detail) -> CommunicationId {
        if constexpr (requires { detail.communication; }) return detail.communication;
        else return {};
      },
      op.detail);
}

// Several calls stand in a group of their own: NCCL then carries them out as one, in whatever order.
std::vector<NcclCall> grouped(std::vector<NcclCall> calls) {
  if (calls.size() < 2) return calls;
  std::vector<NcclCall> all{{.function = NcclFunction::group_start}};
  all.insert(all.end(), calls.begin(), calls.end());
  all.push_back({.function = NcclFunction::group_end});
  return all;
}

}  // namespace

std::vector<RankId> NcclFamily::members(RankId rank) const {
  std::vector<RankId> found;
  const std::int32_t color = color_of_rank[rank.index()];
  for (std::size_t r = 0; r < color_of_rank.size(); ++r)
    if (color >= 0 && color_of_rank[r] == color) found.emplace_back(r);
  return found;
}

ExchangeRows rows_of(const RowTables& tables, const plan::Op& op, std::int64_t routed_step) {
  if (op.kind != OpKind::dispatch && op.kind != OpKind::combine) return {};
  if (!plan::sends_once_per_node(tables.plan()))
    return {tables.at(routed_step, op.layer, op.micro_batch).rows_to,
            tables.hosted(routed_step, op.layer, op.micro_batch, op.chunk).rows_from,
            {},
            {}};
  const NodeExchange all = node_exchange(tables.plan(), tables.rank(), routed_step, op.layer, op.micro_batch, op.chunk);
  const std::vector<std::int64_t> none(static_cast<std::size_t>(tables.plan().scenario.deployment.ep), 0);
  ExchangeRows rows{none, none, none, none};
  const auto at = [](std::int32_t peer) { return static_cast<std::size_t>(peer); };
  for (const NodeExchange::Lot& lot : all.leaving) rows.to[at(lot.peer)] = std::ssize(lot.rows);
  for (const NodeExchange::Lot& lot : all.passing) rows.passed_to[at(lot.peer)] = std::ssize(lot.rows);
  for (const NodeExchange::Arrival& arrival : all.arriving) {
    rows.from[at(arrival.peer)] = arrival.direct;
    rows.passed_from[at(arrival.peer)] = arrival.forwarded;
  }
  return rows;
}

NcclLowering::NcclLowering(const plan::Plan& plan) : plan_(plan) {
  for (const plan::Role& role : plan.program.roles)
    for (const plan::Op& op : role.ops) {
      const CommunicationId id = communication_of(op);
      if (!id.valid()) continue;
      if (const auto* transfer = std::get_if<plan::TransferOp>(&op.detail)) {
        if (op.kind == OpKind::send)
          for (const RankId rank : role.ranks) add_link(rank, *transfer);
      } else {
        add_group(plan.program.communications[id.index()].group, op.stream);
      }
    }
}

void NcclLowering::add_group(GroupId group, plan::Stream stream) {
  const plan::GroupFamily& family = plan_.program.groups[group.index()];
  if (family.size == 1) return;
  const auto [place, added] =
      family_of_group_.try_emplace({group, stream}, static_cast<std::int32_t>(families_.size()));
  if (!added) return;
  NcclFamily made{fmt::format("{} on {}", family.name, plan::name_of(stream)), {}};
  for (std::int32_t r = 0; r < plan_.program.ranks; ++r)
    made.color_of_rank.push_back(family.first_of(RankId(r)).value());
  families_.push_back(std::move(made));
}

void NcclLowering::add_link(RankId sender, const plan::TransferOp& transfer) {
  const std::int64_t stage = plan_.placement.stage_of(sender);
  const RankId receiver(static_cast<std::int32_t>(sender.value() + transfer.peer_offset));
  const auto [place, added] =
      family_of_link_.try_emplace({stage, transfer.peer_offset}, static_cast<std::int32_t>(families_.size()));
  if (added)
    families_.push_back({fmt::format("stage {} to {}", stage, plan_.placement.stage_of(receiver)),
                         std::vector<std::int32_t>(static_cast<std::size_t>(plan_.program.ranks), -1)});
  NcclFamily& family = families_[static_cast<std::size_t>(place->second)];
  family.color_of_rank[sender.index()] = family.color_of_rank[receiver.index()] = sender.value();
}

NcclOperation NcclLowering::operation(RankId rank, const plan::Op& op, const ExchangeRows& rows) const {
  if (is_exchange(op.kind)) return exchange(rank, op, rows);
  if (op.kind == OpKind::send || op.kind == OpKind::recv) return transfer(rank, op);
  FORETOKEN_CHECK(is_communication(op.kind), op.name + " is not a communication");
  return collective(op);
}

NcclOperation NcclLowering::collective(const plan::Op& op) const {
  const auto& detail = std::get<plan::CollectiveOpDetail>(op.detail);
  const plan::Communication& communication = plan_.program.communications[detail.communication.index()];
  const plan::GroupFamily& group = plan_.program.groups[communication.group.index()];
  const DType dtype = communication.dtype;
  const std::int64_t count = detail.rows * detail.cols;
  if (group.size == 1) return {-1, {{.function = NcclFunction::copy, .dtype = dtype, .count = count}}};
  NcclOperation operation{family_of_group_.at({communication.group, op.stream}), {}};
  if (op.kind == OpKind::all_reduce) {
    if (count > 0) operation.calls.push_back({.function = NcclFunction::all_reduce, .dtype = dtype, .count = count});
    return operation;
  }
  // NCCL's own all-gather and reduce-scatter have equal parts; uneven ones are a group with a root each.
  const bool gathers = op.kind == OpKind::all_gather;
  if (detail.rows % group.size == 0) {
    if (count > 0)
      operation.calls.push_back({.function = gathers ? NcclFunction::all_gather : NcclFunction::reduce_scatter,
                                 .dtype = dtype,
                                 .count = count / group.size});
    return operation;
  }
  for (std::int64_t member = 0; member < group.size; ++member) {
    const plan::Range part = plan::split({0, detail.rows}, group.size, member);
    if (part.size() == 0) continue;
    const std::int64_t offset = part.begin * detail.cols;
    operation.calls.push_back({.function = gathers ? NcclFunction::broadcast : NcclFunction::reduce,
                               .dtype = dtype,
                               .peer = static_cast<std::int32_t>(member),
                               .count = part.size() * detail.cols,
                               .from = gathers ? 0 : offset,
                               .to = gathers ? offset : 0});
  }
  operation.calls = grouped(std::move(operation.calls));
  return operation;
}

// Messages of one size between every two members are one call.
bool NcclLowering::all_to_all(const plan::Communication& communication) const {
  if (communication.slots == 0 || communication.chunk >= 0) return false;
  for (std::int64_t member = 0; member < plan_.scenario.deployment.ep; ++member)
    if (plan_.placement.experts_on(communication.layer, member).empty()) return false;
  return true;
}

NcclOperation NcclLowering::exchange(RankId rank, const plan::Op& op, const ExchangeRows& rows) const {
  const auto& detail = std::get<plan::ExchangeOp>(op.detail);
  const plan::Communication& communication = plan_.program.communications[detail.communication.index()];
  if (communication.exchange == ExchangeAlgorithm::hierarchical) return exchange_once_per_node(rank, op, rows);
  const std::int64_t ep = plan_.scenario.deployment.ep;
  const std::int64_t own = plan_.placement.ep_index_of(rank);
  const bool counts = op.kind == OpKind::exchange_counts;
  const bool returns = op.kind == OpKind::combine;
  const std::int64_t block_rows = communication.slots + (returns ? 0 : communication.header_rows);
  const std::int64_t block = communication.slots > 0 ? block_rows * detail.cols : 0;
  const auto family = family_of_group_.find({communication.group, op.stream});
  NcclOperation operation{family == family_of_group_.end() ? -1 : family->second, {}};
  if (ep > 1 && all_to_all(communication)) {
    operation.calls = {{.function = NcclFunction::all_to_all, .dtype = communication.dtype, .count = block}};
    return operation;
  }

  // What this rank has at its sources' end and at its hosts' end for each peer.
  const plan::Range sources =
      communication.chunk < 0 ? plan::Range{0, ep} : plan_.placement.chunk_sources(communication.chunk);
  const auto experts = [&](std::int64_t member) {
    return static_cast<std::int64_t>(plan_.placement.experts_on(communication.layer, member).size());
  };
  const auto size = [&](const std::vector<std::int64_t>& useful, std::int64_t peer, std::int64_t host) {
    if (counts) return experts(host);
    if (experts(host) == 0) return std::int64_t{0};
    if (block > 0 && peer != own) return block;
    return useful.at(static_cast<std::size_t>(peer)) * detail.cols;
  };
  std::vector<NcclCall> calls;
  NcclCall copy{.function = NcclFunction::copy, .dtype = communication.dtype};
  std::int64_t at_source = 0;
  std::int64_t at_host = 0;
  for (std::int64_t peer = 0; peer < ep; ++peer) {
    const std::int64_t out = detail.source ? size(rows.to, peer, peer) : 0;
    const bool comes = detail.host && peer >= sources.begin && peer < sources.end;
    const std::int64_t in = comes ? size(rows.from, peer, own) : 0;
    if (block > 0) at_source = at_host = peer * block;
    const NcclCall away{.function = returns ? NcclFunction::recv : NcclFunction::send,
                        .dtype = communication.dtype,
                        .peer = static_cast<std::int32_t>(peer),
                        .count = out,
                        .from = returns ? 0 : at_source,
                        .to = returns ? at_source : 0};
    const NcclCall back{.function = returns ? NcclFunction::send : NcclFunction::recv,
                        .dtype = communication.dtype,
                        .peer = static_cast<std::int32_t>(peer),
                        .count = in,
                        .from = returns ? at_host : 0,
                        .to = returns ? 0 : at_host};
    if (peer == own) {
      copy.count = detail.source && detail.host ? in : 0;
      copy.from = returns ? at_host : at_source;
      copy.to = returns ? at_source : at_host;
    } else {
      if (out > 0) calls.push_back(away);
      if (in > 0) calls.push_back(back);
    }
    at_source += out;
    at_host += in;
  }
  operation.calls = grouped(std::move(calls));
  if (operation.calls.empty()) operation.family = -1;
  if (copy.count > 0) operation.calls.push_back(copy);
  return operation;
}

NcclOperation NcclLowering::exchange_once_per_node(RankId rank, const plan::Op& op, const ExchangeRows& rows) const {
  const auto& detail = std::get<plan::ExchangeOp>(op.detail);
  const plan::Communication& communication = plan_.program.communications[detail.communication.index()];
  const std::int64_t ep = plan_.scenario.deployment.ep;
  const auto own = static_cast<std::int32_t>(plan_.placement.ep_index_of(rank));
  const bool returns = op.kind == OpKind::combine;
  plan::NodeWays ways(plan_);
  ways.enter(rank.value() / ep, op.layer);

  std::array<std::vector<NcclCall>, 2> rounds;
  const auto add = [&](std::size_t round, NcclFunction function, std::int32_t peer, std::int64_t count,
                       std::int64_t& offset) {
    const std::int64_t elements = count * detail.cols;
    const bool sends = function == NcclFunction::send;
    if (elements == 0 || peer == own) return;
    rounds[round].push_back({.function = function,
                             .dtype = communication.dtype,
                             .peer = peer,
                             .count = elements,
                             .from = sends ? offset : 0,
                             .to = sends ? 0 : offset});
    offset += elements;
  };
  std::int64_t visitors = 0;
  std::int64_t away = 0;  // and back
  for (std::int32_t peer = 0; peer < static_cast<std::int32_t>(ep); ++peer) {
    const auto p = static_cast<std::size_t>(peer);
    const std::size_t back_round = ways.node_of(peer) == ways.node_of(own) ? 0 : 1;
    if (returns) {
      add(back_round, NcclFunction::send, peer, rows.from[p] + rows.passed_from[p], visitors);
      add(back_round, NcclFunction::recv, peer, rows.to[p] + rows.passed_to[p], away);
    } else {
      add(0, NcclFunction::recv, peer, rows.from[p], visitors);
      add(1, NcclFunction::recv, peer, rows.passed_from[p], visitors);
      add(0, NcclFunction::send, peer, rows.to[p], away);
    }
  }
  for (std::int32_t peer = 0; !returns && peer < static_cast<std::int32_t>(ep); ++peer)
    add(1, NcclFunction::send, peer, rows.passed_to[static_cast<std::size_t>(peer)], away);
  if (rounds[0].empty() && rounds[1].empty()) return {};
  NcclOperation operation{family_of_group_.at({communication.group, op.stream}), {}};
  for (const auto& calls : rounds) {
    operation.calls.push_back({.function = NcclFunction::group_start});
    operation.calls.insert(operation.calls.end(), calls.begin(), calls.end());
    operation.calls.push_back({.function = NcclFunction::group_end});
  }
  return operation;
}

NcclOperation NcclLowering::transfer(RankId rank, const plan::Op& op) const {
  const auto& detail = std::get<plan::TransferOp>(op.detail);
  const plan::Communication& communication = plan_.program.communications[detail.communication.index()];
  const bool sends = op.kind == OpKind::send;
  const RankId peer(static_cast<std::int32_t>(rank.value() + detail.peer_offset));
  const RankId sender = sends ? rank : peer;
  NcclCall call{.function = sends ? NcclFunction::send : NcclFunction::recv,
                .dtype = communication.dtype,
                .peer = peer > rank ? 1 : 0,
                .count = detail.rows * detail.cols};
  if (sends) {
    const plan::Tensor& input = plan_.program.role_of(rank).tensors[op.inputs.front().index()];
    if (input.rows.count > detail.rows)
      call.from =
          plan::split({0, input.rows.count}, plan_.scenario.deployment.tp, plan_.placement.tp_index_of(rank)).begin *
          detail.cols;
  }
  NcclOperation operation{
      family_of_link_.at({plan_.placement.stage_of(sender), sends ? detail.peer_offset : -detail.peer_offset}), {}};
  if (call.count > 0) operation.calls.push_back(call);
  else operation.family = -1;
  return operation;
}

}  // namespace foretoken::runtime
