#include "sim/communication/exchange_pattern.hpp"

#include <algorithm>
#include <set>

#include "core/error.hpp"

namespace foretoken::sim {

ExchangePattern::ExchangePattern(const plan::Program& program, const Fabric& fabric, const Meeting& meeting,
                                 const plan::RoutedRows& rows) {
  const plan::Communication& communication = program.communications[meeting.communication.index()];
  const plan::GroupFamily& group = program.groups[communication.group.index()];
  op_ = communication.kind == plan::OpKind::dispatch ? sim::ExchangeOp::dispatch : sim::ExchangeOp::combine;

  const auto& participants = meeting.participants;
  std::vector<std::int32_t> participant_of(static_cast<std::size_t>(group.size), -1);
  std::set<std::int32_t> nodes;
  for (std::size_t p = 0; p < participants.size(); ++p) {
    participant_of[static_cast<std::size_t>(group.index_of(participants[p].rank))] = static_cast<std::int32_t>(p);
    nodes.insert(fabric.machine().node_of(participants[p].rank));
  }
  const Participant& first = participants.front();
  const auto& op = std::get<plan::ExchangeOp>(program.role_of(first.rank).ops[first.op.index()].detail);
  const std::int64_t row_bytes = op.cols * bytes_per_element(communication.dtype);

  std::vector<Bytes> sent(participants.size());
  std::vector<std::int32_t> count(participants.size() + 1, 0);
  for (const plan::PairRows& pair : rows.pairs) {
    const std::int32_t source = participant_of[static_cast<std::size_t>(pair.source)];
    const std::int32_t host = participant_of[static_cast<std::size_t>(pair.host)];
    FORETOKEN_CHECK(source >= 0 && host >= 0, communication.name + ": rows for a rank that does not take part");
    const bool dispatch = op_ == sim::ExchangeOp::dispatch;
    const ExchangeMessage message{dispatch ? source : host, dispatch ? host : source, Bytes(pair.rows * row_bytes)};
    sent[static_cast<std::size_t>(message.from)] += message.bytes;
    if (message.from == message.to || message.bytes == Bytes(0)) continue;
    ++count[static_cast<std::size_t>(source)];
    ++count[static_cast<std::size_t>(host)];
    messages_.push_back(message);
  }

  begin_.assign(participants.size() + 1, 0);
  for (std::size_t p = 0; p < participants.size(); ++p) begin_[p + 1] = begin_[p] + count[p];
  of_participant_.resize(2 * messages_.size());
  std::vector<std::int32_t> next(begin_.begin(), begin_.end() - 1);
  for (std::size_t m = 0; m < messages_.size(); ++m) {
    for (const std::int32_t participant : {messages_[m].from, messages_[m].to}) {
      of_participant_[static_cast<std::size_t>(next[static_cast<std::size_t>(participant)]++)] =
          static_cast<std::int32_t>(m);
    }
  }

  const ExchangeEstimate estimate =
      fabric.cost().exchange(op_, static_cast<int>(participants.size()), static_cast<int>(nodes.size()),
                             static_cast<int>(rows.rows_of_expert.size()), *std::max_element(sent.begin(), sent.end()));
  latency_ = estimate.latency;
  for (const ExchangeMessage& message : messages_)
    latency_ = std::max(latency_, fabric.route_latency(participants[static_cast<std::size_t>(message.from)].rank,
                                                       participants[static_cast<std::size_t>(message.to)].rank));
  provenance_ =
      worst(estimate.provenance, fabric.span_provenance(nodes.size() > 1 ? Span::across_nodes : Span::in_node));
}

std::span<const std::int32_t> ExchangePattern::messages_of(std::int32_t participant) const {
  const auto p = static_cast<std::size_t>(participant);
  return std::span(of_participant_)
      .subspan(static_cast<std::size_t>(begin_[p]), static_cast<std::size_t>(begin_[p + 1] - begin_[p]));
}

}  // namespace foretoken::sim
