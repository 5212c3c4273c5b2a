#include "runtime/schedule.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "core/error.hpp"
#include "runtime/schedule_pieces.hpp"

namespace foretoken::runtime {
namespace {

void add_work(std::vector<LocalWork>& work, LocalWork::Kind kind, std::byte* target, const std::byte* source,
              std::size_t bytes) {
  if (bytes > 0) work.push_back({kind, target, source, bytes});
}

}  // namespace

void carry_out(std::span<const LocalWork> work) {
  for (const LocalWork& piece : work) {
    if (piece.kind == LocalWork::Kind::copy) {
      std::memcpy(piece.target, piece.source, piece.bytes);
      continue;
    }
    auto* const target = reinterpret_cast<float*>(piece.target);
    const auto* const source = reinterpret_cast<const float*>(piece.source);
    const std::size_t numbers = piece.bytes / kElementBytes;
    if (piece.kind == LocalWork::Kind::add) {
      for (std::size_t i = 0; i < numbers; ++i) target[i] += source[i];
    } else if (piece.kind == LocalWork::Kind::scale) {
      for (std::size_t i = 0; i < numbers; ++i) target[i] = *piece.factor * source[i];
    } else {
      for (std::size_t i = 0; i < numbers; ++i) target[i] += *piece.factor * source[i];
    }
  }
}

ScheduleBuilder::ScheduleBuilder(const plan::Plan& plan, RankId rank, RowTables& tables)
    : plan_(plan), rank_(rank), tables_(tables) {}

Schedule ScheduleBuilder::build(const plan::Op& op, const CommunicationBuffers& buffers, std::int64_t routed_step) {
  switch (op.kind) {
    case plan::OpKind::all_reduce:
    case plan::OpKind::all_gather:
    case plan::OpKind::reduce_scatter: return collective(op, buffers);
    case plan::OpKind::dispatch:
    case plan::OpKind::combine: return exchange(op, buffers, routed_step);
    case plan::OpKind::exchange_counts: return exchange_counts(op, buffers, routed_step);
    case plan::OpKind::send:
    case plan::OpKind::recv: return transfer(op, buffers);
    default: break;
  }
  FORETOKEN_CHECK(false, op.name + " is not a communication");
}

std::byte* ScheduleBuilder::room(Schedule& schedule, std::size_t bytes) {
  const std::size_t numbers = (bytes + sizeof(float) - 1) / sizeof(float);
  const auto fits = std::find_if(spare_.begin(), spare_.end(), [&](const auto& one) { return one.size() >= numbers; });
  if (fits == spare_.end()) {
    schedule.rooms.emplace_back(numbers);
  } else {
    schedule.rooms.push_back(std::move(*fits));
    spare_.erase(fits);
  }
  return reinterpret_cast<std::byte*>(schedule.rooms.back().data());
}

void ScheduleBuilder::recycle(Schedule& done) {
  for (auto& one : done.rooms) spare_.push_back(std::move(one));
  done = Schedule();
}

ScheduleBuilder::Group ScheduleBuilder::group_of(const plan::Communication& communication) const {
  const plan::GroupFamily& family = plan_.program.groups[communication.group.index()];
  Group group;
  for (std::int64_t i = 0; i < family.size; ++i) group.members.push_back(family.member(rank_, i));
  group.own = static_cast<std::size_t>(family.index_of(rank_));
  return group;
}

// ---- collectives ---------------------------------------------------------------------------------------------------

Schedule ScheduleBuilder::collective(const plan::Op& op, const CommunicationBuffers& buffers) {
  const auto& detail = std::get<plan::CollectiveOpDetail>(op.detail);
  const plan::Communication& communication = plan_.program.communications[detail.communication.index()];
  if (communication.algorithm != CollectiveAlgorithm::ring && communication.algorithm != CollectiveAlgorithm::direct)
    throw Error(ErrorCode::invalid_input,
                fmt::format("{}: this plan {} ({}), and the host has none; run it with --set "
                            "deployment.collectives.{}=ring, or direct",
                            op.name,
                            communication.algorithm == CollectiveAlgorithm::tree ? "sums up along trees of nodes"
                                                                                 : "works in an NVSwitch",
                            name_of(communication.algorithm), name_of(op.kind)));
  const Group group = group_of(communication);
  if (op.kind == plan::OpKind::all_reduce) return all_reduce(group, detail, communication.algorithm, buffers);

  // Parts are the members' slices of the token rows.
  Parts parts;
  const auto size = static_cast<std::int64_t>(group.members.size());
  for (std::int64_t i = 0; i < size; ++i)
    parts.begin.push_back(bytes_of(plan::split({0, detail.rows}, size, i).begin, detail.cols));
  parts.begin.push_back(bytes_of(detail.rows, detail.cols));

  Schedule schedule;
  const bool ring = communication.algorithm == CollectiveAlgorithm::ring;
  if (op.kind == plan::OpKind::all_gather) {
    add_work(schedule.before, LocalWork::Kind::copy, buffers.out.data() + parts.begin[group.own], buffers.in.data(),
             parts.bytes(group.own));
    if (ring) ring_all_gather(schedule, group, parts, buffers.out.data(), group.own);
    else direct_all_gather(schedule, group, parts, buffers.out.data());
    return schedule;
  }
  if (!ring) {
    direct_reduce_scatter(schedule, group, parts, buffers.in.data(), buffers.out.data());
    return schedule;
  }
  std::byte* const sums = room(schedule, parts.begin.back());
  add_work(schedule.before, LocalWork::Kind::copy, sums, buffers.in.data(), parts.begin.back());
  // The part that is begun first here ends size - 1 members further on: begin with the one before one's own.
  const std::size_t members = group.members.size();
  ring_reduce_scatter(schedule, group, parts, sums, (group.own + members - 1) % members);
  if (schedule.rounds.empty()) schedule.rounds.emplace_back();
  add_work(schedule.rounds.back().work, LocalWork::Kind::copy, buffers.out.data(), sums + parts.begin[group.own],
           parts.bytes(group.own));
  return schedule;
}

// Reduce-scatter, then all-gather, of equal parts of the buffer; both algorithms in two such halves.
Schedule ScheduleBuilder::all_reduce(const Group& group, plan::CollectiveOpDetail detail, CollectiveAlgorithm algorithm,
                                     const CommunicationBuffers& buffers) {
  Parts parts;
  const auto size = static_cast<std::int64_t>(group.members.size());
  for (std::int64_t i = 0; i < size; ++i)
    parts.begin.push_back(bytes_of(plan::split({0, detail.rows * detail.cols}, size, i).begin, 1));
  parts.begin.push_back(bytes_of(detail.rows, detail.cols));
  std::byte* const out = buffers.out.data();

  Schedule schedule;
  if (algorithm == CollectiveAlgorithm::ring) {
    add_work(schedule.before, LocalWork::Kind::copy, out, buffers.in.data(), parts.begin.back());
    ring_reduce_scatter(schedule, group, parts, out, group.own);
    ring_all_gather(schedule, group, parts, out, (group.own + 1) % group.members.size());
  } else {
    direct_reduce_scatter(schedule, group, parts, buffers.in.data(), out + parts.begin[group.own]);
    direct_all_gather(schedule, group, parts, out);
  }
  return schedule;
}

// Round r: send the sum of part first - r to the next member, receive that of part first - r - 1 from the one before,
// and add it to one's own. A part's sum so starts at the member that sends it first and grows around the ring; the last
// round leaves part first - (size - 1) = first + 1 complete here.
void ScheduleBuilder::ring_reduce_scatter(Schedule& schedule, const Group& group, const Parts& parts, std::byte* sums,
                                          std::size_t first_part) {
  const std::size_t size = group.members.size();
  const RankId next = group.members[(group.own + 1) % size];
  const RankId before = group.members[(group.own + size - 1) % size];
  std::size_t most = 0;
  for (std::size_t part = 0; part < size; ++part) most = std::max(most, parts.bytes(part));
  std::byte* const arrived = room(schedule, most);
  for (std::size_t r = 0; r + 1 < size; ++r) {
    const std::size_t sent = (first_part + size - r) % size;
    const std::size_t received = (first_part + 2 * size - r - 1) % size;
    Round round;
    add_message(round.sends, next, sums + parts.begin[sent], parts.bytes(sent));
    add_message(round.receives, before, arrived, parts.bytes(received));
    add_work(round.work, LocalWork::Kind::add, sums + parts.begin[received], arrived, parts.bytes(received));
    schedule.rounds.push_back(std::move(round));
  }
}

// Round r: pass part first - r on to the next member, take part first - r - 1 from the one before.
void ScheduleBuilder::ring_all_gather(Schedule& schedule, const Group& group, const Parts& parts, std::byte* all,
                                      std::size_t first_part) const {
  const std::size_t size = group.members.size();
  const RankId next = group.members[(group.own + 1) % size];
  const RankId before = group.members[(group.own + size - 1) % size];
  for (std::size_t r = 0; r + 1 < size; ++r) {
    const std::size_t sent = (first_part + size - r) % size;
    const std::size_t received = (first_part + 2 * size - r - 1) % size;
    Round round;
    add_message(round.sends, next, all + parts.begin[sent], parts.bytes(sent));
    add_message(round.receives, before, all + parts.begin[received], parts.bytes(received));
    schedule.rounds.push_back(std::move(round));
  }
}

// Everybody sends everybody their part; each adds what it got in the order of the group, its own in its place.
void ScheduleBuilder::direct_reduce_scatter(Schedule& schedule, const Group& group, const Parts& parts, std::byte* in,
                                            std::byte* out) {
  Round round;
  const std::size_t bytes = parts.bytes(group.own);
  std::byte* const arrived = room(schedule, bytes * group.members.size());
  for (std::size_t i = 0; i < group.members.size(); ++i) {
    const bool own = i == group.own;
    std::byte* const term = own ? in + parts.begin[i] : arrived + i * bytes;
    if (!own) {
      add_message(round.sends, group.members[i], in + parts.begin[i], parts.bytes(i));
      add_message(round.receives, group.members[i], term, bytes);
    }
    add_work(round.work, i == 0 ? LocalWork::Kind::copy : LocalWork::Kind::add, out, term, bytes);
  }
  schedule.rounds.push_back(std::move(round));
}

void ScheduleBuilder::direct_all_gather(Schedule& schedule, const Group& group, const Parts& parts,
                                        std::byte* all) const {
  Round round;
  for (std::size_t i = 0; i < group.members.size(); ++i) {
    if (i == group.own) continue;
    add_message(round.sends, group.members[i], all + parts.begin[group.own], parts.bytes(group.own));
    add_message(round.receives, group.members[i], all + parts.begin[i], parts.bytes(i));
  }
  schedule.rounds.push_back(std::move(round));
}

// ---- dispatch, combine and transfers -------------------------------------------------------------------------------

// A dispatch carries segments of the packed rows to their hosts, where they stand by source; a combine carries the same
// segments back. Rows for experts of one's own are copied.
Schedule ScheduleBuilder::exchange(const plan::Op& op, const CommunicationBuffers& buffers, std::int64_t routed_step) {
  const auto& detail = std::get<plan::ExchangeOp>(op.detail);
  const plan::Communication& communication = plan_.program.communications[detail.communication.index()];
  if (communication.exchange == ExchangeAlgorithm::hierarchical)
    return op.kind == plan::OpKind::dispatch ? dispatch_once_per_node(op, buffers, routed_step)
                                             : combine_once_per_node(op, buffers, routed_step);
  if (communication.slots > 0)
    return op.kind == plan::OpKind::dispatch ? dispatch_slots(op, buffers, routed_step)
                                             : combine_slots(op, buffers, routed_step);
  const Group group = group_of(communication);
  const RoutedRowTable& table = tables_.at(routed_step, op.layer, op.micro_batch);
  const HostedRows& hosted = tables_.hosted(routed_step, op.layer, op.micro_batch, op.chunk);
  const bool dispatch = op.kind == plan::OpKind::dispatch;
  std::byte* const at_source = dispatch ? buffers.in.data() : buffers.out.data();
  std::byte* const at_host = dispatch ? buffers.out.data() : buffers.in.data();

  Round round;
  std::size_t source_offset = 0;
  std::size_t host_offset = 0;
  for (std::size_t i = 0; i < group.members.size(); ++i) {
    const std::size_t out_bytes = detail.source ? bytes_of(table.rows_to[i], detail.cols) : 0;
    const std::size_t in_bytes = detail.host ? bytes_of(hosted.rows_from[i], detail.cols) : 0;
    if (i == group.own) {
      FORETOKEN_CHECK(!detail.source || !detail.host || out_bytes == in_bytes, "rows to oneself differ at both ends");
      if (detail.source && detail.host)
        add_work(round.work, LocalWork::Kind::copy, dispatch ? at_host + host_offset : at_source + source_offset,
                 dispatch ? at_source + source_offset : at_host + host_offset, in_bytes);
    } else {
      add_message(dispatch ? round.sends : round.receives, group.members[i], at_source + source_offset, out_bytes);
      add_message(dispatch ? round.receives : round.sends, group.members[i], at_host + host_offset, in_bytes);
    }
    source_offset += out_bytes;
    host_offset += in_bytes;
  }
  FORETOKEN_CHECK(source_offset == bytes_of(detail.source_rows, detail.cols), op.name + " has other rows than planned");
  Schedule schedule;
  schedule.rounds.push_back(std::move(round));
  return schedule;
}

plan::Range ScheduleBuilder::sources_of(const plan::Communication& communication) const {
  if (communication.chunk >= 0) return plan_.placement.chunk_sources(communication.chunk);
  return {0, plan_.scenario.deployment.ep};
}

std::int64_t ScheduleBuilder::experts_on(const plan::Communication& communication, std::size_t member) const {
  return static_cast<std::int64_t>(
      plan_.placement.experts_on(communication.layer, static_cast<std::int64_t>(member)).size());
}

Schedule ScheduleBuilder::exchange_counts(const plan::Op& op, const CommunicationBuffers& buffers,
                                          std::int64_t routed_step) {
  const auto& detail = std::get<plan::ExchangeOp>(op.detail);
  const plan::Communication& communication = plan_.program.communications[detail.communication.index()];
  const Group group = group_of(communication);
  const plan::Range sources = sources_of(communication);
  const std::size_t own_bytes = bytes_of(experts_on(communication, group.own), 1);
  Schedule schedule;
  Round round;
  std::size_t source_offset = 0;
  std::size_t host_offset = 0;
  for (std::size_t i = 0; i < group.members.size(); ++i) {
    const std::size_t out_bytes = detail.source ? bytes_of(experts_on(communication, i), 1) : 0;
    const auto member = static_cast<std::int64_t>(i);
    const std::size_t in_bytes = detail.host && member >= sources.begin && member < sources.end ? own_bytes : 0;
    if (i == group.own) {
      add_work(schedule.before, LocalWork::Kind::copy, buffers.out.data() + host_offset,
               buffers.in.data() + source_offset, std::min(out_bytes, in_bytes));
    } else {
      add_message(round.sends, group.members[i], buffers.in.data() + source_offset, out_bytes);
      add_message(round.receives, group.members[i], buffers.out.data() + host_offset, in_bytes);
    }
    source_offset += out_bytes;
    host_offset += in_bytes;
  }
  if (detail.host)
    round.arrived = [this, &op, routed_step, counts = buffers.out.first(host_offset)] {
      tables_.arrive(routed_step, op.layer, op.micro_batch, op.chunk,
                     {reinterpret_cast<const std::int32_t*>(counts.data()), counts.size() / kElementBytes});
    };
  schedule.rounds.push_back(std::move(round));
  return schedule;
}

// Every message is a header, with the rows' number for each expert of the host, and slots, of which the first ones are
// used. The rows are packed one source after the other once all headers are here.
Schedule ScheduleBuilder::dispatch_slots(const plan::Op& op, const CommunicationBuffers& buffers,
                                         std::int64_t routed_step) {
  const auto& detail = std::get<plan::ExchangeOp>(op.detail);
  const plan::Communication& communication = plan_.program.communications[detail.communication.index()];
  const Group group = group_of(communication);
  const RoutedRowTable& table = tables_.at(routed_step, op.layer, op.micro_batch);
  const std::size_t header = bytes_of(communication.header_rows, detail.cols);
  const std::size_t block = header + bytes_of(communication.slots, detail.cols);
  Schedule schedule;
  Round round;

  std::size_t offset = 0;                                               // of the packed rows
  std::size_t first_count = 0;                                          // of a host's experts in table.counts
  std::vector<const std::byte*> blocks(group.members.size(), nullptr);  // that come, by source
  std::span<const std::byte> own_rows;
  std::vector<std::int32_t> own_counts;
  for (std::size_t i = 0; i < group.members.size() && detail.source; ++i) {
    const auto experts = static_cast<std::size_t>(experts_on(communication, i));
    const std::size_t bytes = bytes_of(table.rows_to[i], detail.cols);
    const std::span counts = std::span(table.counts).subspan(first_count, experts);
    FORETOKEN_CHECK(table.rows_to[i] <= communication.slots, op.name + " has more rows for a host than slots");
    if (i == group.own) {
      own_rows = buffers.in.subspan(offset, bytes);
      own_counts.assign(counts.begin(), counts.end());
    } else if (experts > 0) {
      std::byte* const to = room(schedule, block);
      std::memcpy(to, counts.data(), counts.size_bytes());
      add_work(schedule.before, LocalWork::Kind::copy, to + header, buffers.in.data() + offset, bytes);
      add_message(round.sends, group.members[i], to, block);
    }
    offset += bytes;
    first_count += experts;
  }
  if (detail.host) {
    const plan::Range sources = sources_of(communication);
    for (std::int64_t source = sources.begin; source < sources.end; ++source) {
      const auto i = static_cast<std::size_t>(source);
      if (i == group.own) continue;
      std::byte* const from = room(schedule, block);
      add_message(round.receives, group.members[i], from, block);
      blocks[i] = from;
    }
    round.arrived = [this, &op, routed_step, sources, blocks, own_rows, own_counts, header, own = group.own,
                     experts = static_cast<std::size_t>(experts_on(communication, group.own)), cols = detail.cols,
                     out = buffers.out] {
      std::vector<std::int32_t> counts;
      for (std::int64_t source = sources.begin; source < sources.end; ++source) {
        const auto i = static_cast<std::size_t>(source);
        const auto* const from = i == own ? own_counts.data() : reinterpret_cast<const std::int32_t*>(blocks[i]);
        counts.insert(counts.end(), from, from + experts);
      }
      tables_.arrive(routed_step, op.layer, op.micro_batch, op.chunk, counts);
      const HostedRows& hosted = tables_.hosted(routed_step, op.layer, op.micro_batch, op.chunk);
      std::byte* to = out.data();
      for (std::int64_t source = sources.begin; source < sources.end; ++source) {
        const auto i = static_cast<std::size_t>(source);
        const std::size_t bytes = bytes_of(hosted.rows_from[i], cols);
        if (bytes > 0) std::memcpy(to, i == own ? own_rows.data() : blocks[i] + header, bytes);
        to += bytes;
      }
    };
  }
  schedule.rounds.push_back(std::move(round));
  return schedule;
}

Schedule ScheduleBuilder::combine_slots(const plan::Op& op, const CommunicationBuffers& buffers,
                                        std::int64_t routed_step) {
  const auto& detail = std::get<plan::ExchangeOp>(op.detail);
  const plan::Communication& communication = plan_.program.communications[detail.communication.index()];
  const Group group = group_of(communication);
  const RoutedRowTable& table = tables_.at(routed_step, op.layer, op.micro_batch);
  const HostedRows& hosted = tables_.hosted(routed_step, op.layer, op.micro_batch, op.chunk);
  const plan::Range sources = sources_of(communication);
  const std::size_t block = bytes_of(communication.slots, detail.cols);
  Schedule schedule;
  Round round;
  std::size_t source_offset = 0;
  std::size_t host_offset = 0;
  for (std::size_t i = 0; i < group.members.size(); ++i) {
    const auto member = static_cast<std::int64_t>(i);
    const bool comes = detail.source && experts_on(communication, i) > 0;
    const bool goes = detail.host && member >= sources.begin && member < sources.end;
    const std::size_t in_bytes = comes ? bytes_of(table.rows_to[i], detail.cols) : 0;
    const std::size_t out_bytes = goes ? bytes_of(hosted.rows_from[i], detail.cols) : 0;
    if (i == group.own) {
      add_work(schedule.before, LocalWork::Kind::copy, buffers.out.data() + source_offset,
               buffers.in.data() + host_offset, std::min(in_bytes, out_bytes));
    } else {
      if (goes) {
        std::byte* const to = room(schedule, block);
        add_work(schedule.before, LocalWork::Kind::copy, to, buffers.in.data() + host_offset, out_bytes);
        add_message(round.sends, group.members[i], to, block);
      }
      if (comes) {
        std::byte* const from = room(schedule, block);
        add_message(round.receives, group.members[i], from, block);
        add_work(round.work, LocalWork::Kind::copy, buffers.out.data() + source_offset, from, in_bytes);
      }
    }
    source_offset += in_bytes;
    host_offset += out_bytes;
  }
  schedule.rounds.push_back(std::move(round));
  return schedule;
}

Schedule ScheduleBuilder::transfer(const plan::Op& op, const CommunicationBuffers& buffers) const {
  const auto& detail = std::get<plan::TransferOp>(op.detail);
  const RankId peer(static_cast<std::int32_t>(rank_.value() + detail.peer_offset));
  const std::size_t bytes = bytes_of(detail.rows, detail.cols);
  Round round;
  if (op.kind == plan::OpKind::recv) {
    add_message(round.receives, peer, buffers.out.data(), bytes);
  } else {
    std::size_t offset = 0;
    if (bytes < buffers.in.size()) {
      const std::int64_t rows = static_cast<std::int64_t>(buffers.in.size() / bytes_of(1, detail.cols));
      const plan::Range slice =
          plan::split({0, rows}, plan_.scenario.deployment.tp, plan_.placement.tp_index_of(rank_));
      FORETOKEN_CHECK(slice.size() == detail.rows, op.name + " sends other rows than its slice");
      offset = bytes_of(slice.begin, detail.cols);
    }
    add_message(round.sends, peer, buffers.in.data() + offset, bytes);
  }
  Schedule schedule;
  schedule.rounds.push_back(std::move(round));
  return schedule;
}

}  // namespace foretoken::runtime
