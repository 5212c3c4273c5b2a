#include "sim/communication/exchange_pattern.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace foretoken::sim {

namespace {

// How many rows a token becomes. Whoever has tokens has chosen their experts just before.
std::int64_t rows_per_token(const plan::Program& program, const Meeting& meeting) {
  for (const Participant& participant : meeting.participants) {
    const auto& ops = program.role_of(participant.rank).ops;
    if (!std::get<plan::ExchangeOp>(ops[participant.op.index()].detail).source) continue;
    for (std::size_t op = participant.op.index(); op-- > 0;)
      if (const auto* route = std::get_if<plan::RouteOp>(&ops[op].detail)) return route->top_k;
  }
  return 1;
}

}  // namespace

ExchangePattern::ExchangePattern(const plan::Program& program, const Transport& transport, const Meeting& meeting,
                                 const plan::RoutedRows& rows) {
  const plan::Communication& communication = program.communications[meeting.communication.index()];
  const plan::GroupFamily& group = program.groups[communication.group.index()];
  // Counts go the way of the rows that they announce.
  op_ = communication.kind == plan::OpKind::combine ? sim::ExchangeOp::combine : sim::ExchangeOp::dispatch;

  const auto& participants = meeting.participants;
  std::vector<std::int32_t> participant_of(static_cast<std::size_t>(group.size), -1);
  std::vector<RankId> ranks;
  for (std::size_t p = 0; p < participants.size(); ++p) {
    participant_of[static_cast<std::size_t>(group.index_of(participants[p].rank))] = static_cast<std::int32_t>(p);
    ranks.push_back(participants[p].rank);
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
    const ExchangeMessage message{dispatch ? source : host, dispatch ? host : source, Bytes(pair.rows * row_bytes),
                                  pair.round};
    sent[static_cast<std::size_t>(message.from)] += message.bytes;
    const bool in_place = message.from == message.to;
    if (message.bytes == Bytes(0) || (in_place && !transport.copies_in_place())) continue;
    ++count[static_cast<std::size_t>(source)];
    if (!in_place) ++count[static_cast<std::size_t>(host)];
    messages_.push_back(message);
  }

  begin_.assign(participants.size() + 1, 0);
  for (std::size_t p = 0; p < participants.size(); ++p) begin_[p + 1] = begin_[p] + count[p];
  of_participant_.resize(static_cast<std::size_t>(begin_.back()));
  std::vector<std::int32_t> next(begin_.begin(), begin_.end() - 1);
  const auto add = [&](std::int32_t participant, std::size_t message) {
    of_participant_[static_cast<std::size_t>(next[static_cast<std::size_t>(participant)]++)] =
        static_cast<std::int32_t>(message);
  };
  for (std::size_t m = 0; m < messages_.size(); ++m) {
    add(messages_[m].from, m);
    if (messages_[m].to != messages_[m].from) add(messages_[m].to, m);
  }

  const Bytes sent_max = *std::max_element(sent.begin(), sent.end());
  ExchangeUnits units;
  if (communication.kind != plan::OpKind::exchange_counts)
    units = {sent_max.value() / std::max<std::int64_t>(1, row_bytes), Bytes(row_bytes)};
  if (communication.kind == plan::OpKind::dispatch) units.count /= rows_per_token(program, meeting);
  find_latencies(transport, name_of(communication.kind), ranks, static_cast<std::int64_t>(rows.rows_of_expert.size()),
                 sent_max, units);
  find_cpu_times(transport);
}

void ExchangePattern::find_latencies(const Transport& transport, std::string_view kind,
                                     const std::vector<RankId>& ranks, std::int64_t experts, Bytes sent_max,
                                     ExchangeUnits units) {
  std::vector<std::vector<ExchangeMessage>> later;  // [round - 1]
  std::vector<ExchangeMessage> first;
  for (const ExchangeMessage& message : messages_) {
    const auto round = static_cast<std::size_t>(message.round);
    if (round > later.size()) later.resize(round);
    (round == 0 ? first : later[round - 1]).push_back(message);
  }
  const ExchangeTraits traits = transport.exchange(op_, ranks, first, experts, sent_max, units);
  latencies_.push_back(traits.latency);
  provenance_ = traits.provenance;
  stretch_ = transport.stretch(kind, provenance_);
  for (const auto& messages : later) latencies_.push_back(transport.next_round(ranks, messages));
  for (Seconds& latency : latencies_) latency = latency * stretch_;
}

void ExchangePattern::find_cpu_times(const Transport& transport) {
  for (std::size_t p = 0; p < participants(); ++p) {
    std::int64_t count = 0;
    std::vector<char> round_moves(latencies_.size(), 0);
    Bytes moved(0);
    Bytes copied(0);
    for (const std::int32_t m : messages_of(static_cast<std::int32_t>(p))) {
      const bool in_place = message(m).from == message(m).to;
      count += in_place ? 0 : 1;
      if (!in_place) round_moves[static_cast<std::size_t>(message(m).round)] = 1;
      (in_place ? copied : moved) += message(m).bytes;
    }
    cpu_.push_back(transport.exchange_cpu(std::count(round_moves.begin(), round_moves.end(), 1), count, moved, copied));
  }
}

std::span<const std::int32_t> ExchangePattern::messages_of(std::int32_t participant) const {
  const auto p = static_cast<std::size_t>(participant);
  return std::span(of_participant_)
      .subspan(static_cast<std::size_t>(begin_[p]), static_cast<std::size_t>(begin_[p + 1] - begin_[p]));
}

}  // namespace foretoken::sim
