#include "runtime/cuda/channels.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/error.hpp"

namespace foretoken::runtime::cuda {

Channels::Channels(const plan::Plan& plan, RankId rank) : plan_(plan), rank_(rank) {
  std::set<Key> keys;
  for (const plan::Role& role : plan.program.roles)
    for (const plan::Op& op : role.ops)
      if (is_communication(op.kind)) keys.insert(key_of(op, role.ranks.front()));
  for (const Key& key : keys) {
    if (key.group.valid() && plan.program.groups[key.group.index()].size == 1) continue;
    keys_.push_back(key);
    channels_.push_back(make(key));
  }
}

// Ranks of one role are in one stage, so any of them tells the key.
Channels::Key Channels::key_of(const plan::Op& op, RankId rank) const {
  if (const auto* transfer = std::get_if<plan::TransferOp>(&op.detail)) {
    const RankId peer(static_cast<std::int32_t>(rank.value() + transfer->peer_offset));
    const std::int64_t here = plan_.placement.stage_of(rank);
    const std::int64_t there = plan_.placement.stage_of(peer);
    const bool sends = op.kind == plan::OpKind::send;
    return {GroupId(), plan::Stream{}, sends ? here : there, sends ? there : here};
  }
  const auto* exchange = std::get_if<plan::ExchangeOp>(&op.detail);
  const CommunicationId id =
      exchange != nullptr ? exchange->communication : std::get<plan::CollectiveOpDetail>(op.detail).communication;
  return {plan_.program.communications[id.index()].group, op.stream, -1, -1};
}

Channel Channels::make(const Key& key) const {
  Channel channel;
  if (key.group.valid()) {
    const plan::GroupFamily& family = plan_.program.groups[key.group.index()];
    channel.name = fmt::format("{} on {}", family.name, plan::name_of(key.stream));
    channel.own = family.index_of(rank_);
    for (std::int64_t i = 0; i < family.size; ++i) channel.members.push_back(family.member(rank_, i));
    return channel;
  }
  channel.name = fmt::format("stage {} to {}", key.from, key.to);
  const std::int64_t stage = plan_.placement.stage_of(rank_);
  if (stage != key.from && stage != key.to) return channel;
  const std::int64_t width = plan_.scenario.deployment.ranks_per_stage();
  const std::int64_t within = rank_.value() % width;
  for (const std::int64_t member : {std::min(key.from, key.to), std::max(key.from, key.to)})
    channel.members.emplace_back(static_cast<std::int32_t>(member * width + within));
  channel.own = channel.members.front() == rank_ ? 0 : 1;
  return channel;
}

std::int64_t Channels::of(const plan::Op& op) const {
  const auto found = std::lower_bound(keys_.begin(), keys_.end(), key_of(op, rank_));
  if (found == keys_.end() || *found != key_of(op, rank_)) return -1;
  return found - keys_.begin();
}

}  // namespace foretoken::runtime::cuda
