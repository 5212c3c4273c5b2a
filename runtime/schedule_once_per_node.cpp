// Dispatch and combine that send a token once per node, as rounds: see runtime/node_exchange.hpp.
#include <cstddef>
#include <map>
#include <utility>

#include "core/error.hpp"
#include "plan/program/node_rows.hpp"
#include "runtime/node_exchange.hpp"
#include "runtime/schedule_pieces.hpp"

namespace foretoken::runtime {
namespace {

using Kind = LocalWork::Kind;

// Sums in rows of a room: what comes first to a row is copied there.
class RowSums {
 public:
  RowSums(std::byte* rows, std::int64_t count, std::int64_t cols)
      : rows_(rows), row_bytes_(bytes_of(1, cols)), begun_(static_cast<std::size_t>(count), 0) {}

  [[nodiscard]] std::byte* row(std::int64_t index) const {
    return rows_ + static_cast<std::size_t>(index) * row_bytes_;
  }
  LocalWork add(std::int64_t index, const std::byte* term, const float* factor = nullptr) {
    char& begun = begun_[static_cast<std::size_t>(index)];
    const Kind kind =
        factor != nullptr ? (begun != 0 ? Kind::add_scaled : Kind::scale) : (begun != 0 ? Kind::add : Kind::copy);
    begun = 1;
    return {kind, row(index), term, row_bytes_, factor};
  }

 private:
  std::byte* rows_;
  std::size_t row_bytes_;
  std::vector<char> begun_;
};

}  // namespace

// A row is the token's hidden columns and its weights; a rank keeps what comes in a room, and copies it from there to
// whom it passes it on and to the rows of its own experts.
Schedule ScheduleBuilder::dispatch_once_per_node(const plan::Op& op, const CommunicationBuffers& buffers,
                                                 std::int64_t routed_step) {
  const auto& detail = std::get<plan::ExchangeOp>(op.detail);
  const Group group = group_of(plan_.program.communications[detail.communication.index()]);
  const NodeExchange exchange = node_exchange(plan_, rank_, routed_step, op.layer, op.micro_batch, op.chunk);
  const std::int64_t hidden = plan_.scenario.model.hidden;
  const std::int64_t weights = plan_.scenario.model.top_k;
  FORETOKEN_CHECK(detail.cols == hidden + weights, op.name + " has rows of another width");
  const std::size_t hidden_bytes = bytes_of(1, hidden);
  const std::size_t weights_bytes = bytes_of(1, weights);
  const std::size_t row_bytes = bytes_of(1, detail.cols);
  const auto own = static_cast<std::int32_t>(group.own);
  const auto member = [&](std::int32_t peer) { return group.members[static_cast<std::size_t>(peer)]; };

  Schedule schedule;
  schedule.rounds.resize(2);
  Round& first = schedule.rounds[0];
  Round& second = schedule.rounds[1];
  std::byte* const visitors = room(schedule, bytes_of(exchange.visitors, detail.cols));
  std::byte* away = room(schedule, bytes_of(rows_of(exchange.leaving), detail.cols));
  std::byte* passed = room(schedule, bytes_of(rows_of(exchange.passing), detail.cols));

  std::byte* to_itself = nullptr;
  for (const NodeExchange::Arrival& arrival : exchange.arriving) {
    std::byte* const rows = visitors + bytes_of(arrival.first, detail.cols);
    const std::size_t direct = bytes_of(arrival.direct, detail.cols);
    if (arrival.peer == own) {
      to_itself = rows;
      continue;
    }
    add_message(first.receives, member(arrival.peer), rows, direct);
    add_message(second.receives, member(arrival.peer), rows + direct, bytes_of(arrival.forwarded, detail.cols));
  }
  for (const NodeExchange::Lot& lot : exchange.leaving) {
    std::byte* row = lot.peer == own ? to_itself : away;
    if (lot.peer != own) {
      const std::size_t bytes = bytes_of(static_cast<std::int64_t>(lot.rows.size()), detail.cols);
      add_message(first.sends, member(lot.peer), away, bytes);
      away += bytes;
    }
    for (const std::int32_t token : lot.rows) {
      schedule.before.push_back(
          {Kind::copy, row, buffers.in.data() + static_cast<std::size_t>(token) * hidden_bytes, hidden_bytes});
      // A token's route is its experts' numbers, then their weights.
      const std::byte* const route = buffers.in_weights.data() + static_cast<std::size_t>(token) * 2 * weights_bytes;
      schedule.before.push_back({Kind::copy, row + hidden_bytes, route + weights_bytes, weights_bytes});
      row += row_bytes;
    }
  }
  for (const NodeExchange::Lot& lot : exchange.passing) {
    add_message(second.sends, member(lot.peer), passed,
                bytes_of(static_cast<std::int64_t>(lot.rows.size()), detail.cols));
    for (const std::int32_t visitor : lot.rows) {
      first.work.push_back({Kind::copy, passed, visitors + static_cast<std::size_t>(visitor) * row_bytes, row_bytes});
      passed += row_bytes;
    }
  }
  for (const NodeExchange::Use& use : exchange.uses) {
    const std::byte* const row = visitors + static_cast<std::size_t>(use.visitor) * row_bytes;
    const auto to = static_cast<std::size_t>(use.row);
    second.work.push_back({Kind::copy, buffers.out.data() + to * hidden_bytes, row, hidden_bytes});
    second.work.push_back({Kind::copy, buffers.out_weights.data() + to * kElementBytes,
                           row + hidden_bytes + static_cast<std::size_t>(use.choice) * kElementBytes, kElementBytes});
  }
  return schedule;
}

Schedule ScheduleBuilder::combine_once_per_node(const plan::Op& op, const CommunicationBuffers& buffers,
                                                std::int64_t routed_step) {
  const auto& detail = std::get<plan::ExchangeOp>(op.detail);
  const Group group = group_of(plan_.program.communications[detail.communication.index()]);
  const NodeExchange exchange = node_exchange(plan_, rank_, routed_step, op.layer, op.micro_batch, op.chunk);
  const std::size_t row_bytes = bytes_of(1, detail.cols);
  const auto own = static_cast<std::int32_t>(group.own);
  const auto member = [&](std::int32_t peer) { return group.members[static_cast<std::size_t>(peer)]; };

  Schedule schedule;
  schedule.rounds.resize(2);
  Round& first = schedule.rounds[0];
  Round& second = schedule.rounds[1];
  RowSums partial(room(schedule, bytes_of(exchange.visitors, detail.cols)), exchange.visitors, detail.cols);
  std::byte* returned = room(schedule, bytes_of(rows_of(exchange.leaving) + rows_of(exchange.passing), detail.cols));

  for (const NodeExchange::Use& use : exchange.uses) {
    const auto row = static_cast<std::size_t>(use.row);
    schedule.before.push_back(partial.add(use.visitor, buffers.in.data() + row * row_bytes,
                                          reinterpret_cast<const float*>(buffers.in_weights.data()) + row));
  }
  const std::byte* of_itself = nullptr;
  for (const NodeExchange::Arrival& arrival : exchange.arriving) {
    std::byte* const rows = partial.row(arrival.first);
    if (arrival.peer == own) of_itself = rows;
    else
      add_message(arrival.same_node ? first.sends : second.sends, member(arrival.peer), rows,
                  bytes_of(arrival.direct + arrival.forwarded, detail.cols));
  }
  // What comes back from a peer: its rows in leaving, then those in passing.
  std::map<std::int32_t, std::pair<const NodeExchange::Lot*, const NodeExchange::Lot*>> lots;
  for (const NodeExchange::Lot& lot : exchange.leaving) lots[lot.peer].first = &lot;
  for (const NodeExchange::Lot& lot : exchange.passing) lots[lot.peer].second = &lot;
  RowSums sums(buffers.out.data(), static_cast<std::int64_t>(buffers.out.size() / row_bytes), detail.cols);
  for (const auto& [peer, lot] : lots) {
    const auto [left, passed] = lot;
    const bool same_node = left != nullptr ? left->same_node : passed->same_node;
    std::byte* const begin = returned;
    const std::byte* term = peer == own ? of_itself : begin;
    if (left != nullptr)
      for (const std::int32_t token : left->rows) {
        second.work.push_back(sums.add(token, term));
        term += row_bytes;
      }
    if (peer == own) continue;
    if (passed != nullptr)
      for (const std::int32_t visitor : passed->rows) {
        first.work.push_back(partial.add(visitor, term));
        term += row_bytes;
      }
    returned += term - begin;
    add_message((same_node ? first : second).receives, member(peer), begin, static_cast<std::size_t>(term - begin));
  }
  return schedule;
}

}  // namespace foretoken::runtime
