#include "tools/explain/stored_trace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "plan/program/program.hpp"

namespace foretoken::explain {
namespace {

constexpr std::int64_t kStepsMax = 1'000'000;
constexpr std::int64_t kStoredMax = std::int64_t{1} << 61;  // ps, 26 days: sums of two still fit
constexpr std::size_t kEventsMax = 100'000'000;
constexpr std::array<const char*, 9> kOpColumns{"name",  "kind",  "stream",      "layer", "micro_batch",
                                                "after", "meets", "arrival_set", "chunk"};
constexpr std::size_t kOpColumnsBefore = 5;  // results of earlier programs do not say who waits for whom
constexpr std::int64_t kCommunicationsMax = 100'000'000;

bool is_integer_within(const nlohmann::json& value, std::int64_t min, std::int64_t max) {
  if (!value.is_number_integer()) return false;
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)) return false;
  const auto number = value.get<std::int64_t>();
  return min <= number && number <= max;
}

/// A column of millions of numbers: read directly, and by the strict reader, which names the place, where one is odd.
std::vector<std::int64_t> read_column(const JsonReader& place, std::int64_t min, std::int64_t max) {
  const nlohmann::json& list = place.json();
  const bool plain =
      list.is_array() && list.size() <= kEventsMax &&
      std::all_of(list.begin(), list.end(), [&](const nlohmann::json& v) { return is_integer_within(v, min, max); });
  if (!plain) return place.as_integers(0, kEventsMax, min, max);
  std::vector<std::int64_t> numbers;
  numbers.reserve(list.size());
  for (const nlohmann::json& value : list) numbers.push_back(value.get<std::int64_t>());
  return numbers;
}

[[noreturn]] void fail_at(const JsonReader& column, std::size_t index, std::string_view found,
                          std::string_view expected) {
  column.as_array(0, kEventsMax).at(index).fail(found, expected);
}

void read_dependencies(const JsonReader& place, std::int64_t ops, TraceOp& op) {
  const auto numbers = place.as_integers(0, 1'000'000, 0, std::max(ops - 1, kStepsMax));
  if (numbers.size() % 2 != 0)
    place.fail(fmt::format("the list has {} numbers", numbers.size()), "write op, distance, op, distance, …");
  for (std::size_t i = 0; i < numbers.size(); i += 2) {
    if (numbers[i] >= ops) place.fail(fmt::format("there is no op {}", numbers[i]), "name an op of the same role");
    op.after.push_back({static_cast<std::int32_t>(numbers[i]), static_cast<std::int32_t>(numbers[i + 1])});
  }
}

void read_meeting(const JsonReader& place, std::int64_t ranks, TraceOp& op) {
  const auto cells = place.as_array(0, 4);
  if (cells.empty() != !op.communication)
    place.fail(fmt::format("{} is of kind {}", op.name, op.kind),
               op.communication ? "write communication, size, stride and peer_offset" : "write an empty list");
  if (cells.empty()) return;
  if (cells.size() != 4)
    place.fail(fmt::format("the list has {} numbers", cells.size()),
               "write communication, size, stride and peer_offset");
  op.meets =
      TraceMeeting{static_cast<std::int32_t>(cells[0].as_integer(0, kCommunicationsMax)), cells[1].as_integer(1, ranks),
                   cells[2].as_integer(1, ranks), cells[3].as_integer(-ranks, ranks)};
}

TraceOp read_op(const JsonReader& place, std::size_t columns, std::int64_t ops, std::int64_t ranks) {
  const auto cells = place.as_array(columns, 64);
  TraceOp op;
  op.name = cells[0].as_string();
  const plan::OpKind kind = cells[1].as_enum(plan::kOpKindNames);
  op.kind = std::string(plan::name_of(kind));
  op.communication = plan::is_communication(kind);
  op.stream = cells[2].as_string();
  op.layer = static_cast<std::int32_t>(cells[3].as_integer(-1, 1'000'000));
  op.micro_batch = static_cast<std::int32_t>(cells[4].as_integer(-1, 1'000'000));
  if (columns == kOpColumnsBefore) return op;
  read_dependencies(cells[5], ops, op);
  read_meeting(cells[6], ranks, op);
  op.arrival_set = static_cast<std::int32_t>(cells[7].as_integer(-1, 1'000'000'000));
  op.chunk = static_cast<std::int32_t>(cells[8].as_integer(-1, 1'000'000));
  return op;
}

/// How many of the columns there are.
std::size_t check_op_columns(const JsonReader& place) {
  const auto names = place.as_array(kOpColumnsBefore, 64);
  const std::size_t columns = names.size() < kOpColumns.size() ? kOpColumnsBefore : kOpColumns.size();
  for (std::size_t i = 0; i < columns; ++i)
    if (names[i].as_string() != kOpColumns[i])
      names[i].fail(fmt::format("{} is not the column that belongs here", names[i].shown()),
                    fmt::format("write \"{}\"", kOpColumns[i]));
  return columns;
}

std::vector<SimTime> times_of(const std::vector<std::int64_t>& numbers) {
  std::vector<SimTime> times;
  times.reserve(numbers.size());
  for (const std::int64_t number : numbers) times.emplace_back(number);
  return times;
}

std::vector<std::int32_t> ids_of(const std::vector<std::int64_t>& numbers) {
  std::vector<std::int32_t> ids;
  ids.reserve(numbers.size());
  for (const std::int64_t number : numbers) ids.push_back(static_cast<std::int32_t>(number));
  return ids;
}

class EventReader {
 public:
  EventReader(const JsonReader& place, Trace& trace, const std::set<std::int64_t>& ranks)
      : events_(place), trace_(trace), ranks_(ranks) {}

  void read() {
    trace_.rank = ids_of(column("rank", trace_.ranks - 1));
    check_ranks();
    trace_.op = ids_of(column("op", INT32_MAX));
    check_ops();
    trace_.step = ids_of(column("step", trace_.warmup_steps + trace_.steps - 1));
    trace_.posted = times_of(column("posted", kStoredMax));
    trace_.begun = times_of(column("begun", kStoredMax));
    trace_.ended = times_of(column("ended", kStoredMax));
    check_order("begun", trace_.begun, "posted", trace_.posted);
    check_order("ended", trace_.ended, "begun", trace_.begun);
    for (const std::int64_t provenance : column("provenance", kProvenanceNames.size() - 1))
      trace_.provenance.push_back(static_cast<Provenance>(provenance));
    if (events_.has("cpu")) trace_.cpu = times_of(column("cpu", kStoredMax));
    if (events_.has("last_peer")) trace_.last_peer = ids_of(column("last_peer", trace_.ranks - 1, -1));
    check_windows();
  }

 private:
  // Also checks that it is as long as the first.
  std::vector<std::int64_t> column(const char* name, std::int64_t max, std::int64_t min = 0) {
    const JsonReader place = events_.require(name);
    std::vector<std::int64_t> numbers = read_column(place, min, max);
    if (events_.place().json()["rank"].size() != numbers.size())
      place.fail(fmt::format("the column has {} entries and \"rank\" has {}", numbers.size(),
                             events_.place().json()["rank"].size()),
                 "write columns of equal length: one entry per event");
    return numbers;
  }

  void check_ranks() {
    for (std::size_t i = 0; i < trace_.size(); ++i)
      if (!ranks_.contains(trace_.rank[i]))
        fail_at(events_.require("rank"), i, fmt::format("rank {} is not listed in trace.ranks", trace_.rank[i]),
                "list it there");
  }

  void check_ops() {
    for (std::size_t i = 0; i < trace_.size(); ++i) {
      const auto role = static_cast<std::size_t>(trace_.role_of_rank[static_cast<std::size_t>(trace_.rank[i])]);
      const std::size_t ops = trace_.roles[role].size();
      if (static_cast<std::size_t>(trace_.op[i]) >= ops)
        fail_at(events_.require("op"), i,
                fmt::format("there is no op {} in role {} of rank {}", trace_.op[i], role, trace_.rank[i]),
                fmt::format("the role has {} ops, counted from 0", ops));
    }
  }

  void check_order(const char* name, const std::vector<SimTime>& times, const char* before,
                   const std::vector<SimTime>& earlier) {
    for (std::size_t i = 0; i < times.size(); ++i)
      if (times[i] < earlier[i])
        fail_at(events_.require(name), i,
                fmt::format("{} ps is before the event was {} ({} ps)", times[i].value(), before, earlier[i].value()),
                "an event is posted, then begun, then ended");
  }

  // Only the last stage of a pipeline ends steps: other ranks have no step_end at all.
  void check_windows() {
    std::map<std::int64_t, std::pair<SimTime, SimTime>> windows;
    const std::int64_t last_warmup = trace_.warmup_steps - 1;
    const std::int64_t last = last_warmup + trace_.steps;
    for (std::size_t i = 0; i < trace_.size(); ++i) {
      if (trace_.op_of(i).kind != "step_end") continue;
      auto& [begin, end] = windows.try_emplace(trace_.rank[i], SimTime(-1), SimTime(-1)).first->second;
      if (trace_.step[i] == last_warmup) begin = std::max(begin, trace_.ended[i]);
      if (trace_.step[i] == last) end = std::max(end, trace_.ended[i]);
    }
    if (windows.empty())
      events_.place().fail("no rank has a step_end", "store the whole trace: it has every op of its ranks");
    for (const auto& [rank, window] : windows) {
      const auto& [begin, end] = window;
      if (begin < SimTime(0) || end < SimTime(0))
        events_.place().fail(
            fmt::format("rank {} has no step_end in step {}", rank, begin < SimTime(0) ? last_warmup : last),
            "store the whole trace: it has every op of its ranks in every step");
      if (end <= begin)
        events_.place().fail(fmt::format("the counted steps of rank {} end at {} ps and begin at {} ps", rank,
                                         end.value(), begin.value()),
                             "steps take time: the last step_end comes after that of the warm-up");
    }
  }

  JsonObject events_;
  Trace& trace_;
  const std::set<std::int64_t>& ranks_;
};

}  // namespace

Trace read_trace(const JsonReader& place, std::int64_t ranks, const std::string& clock) {
  JsonObject object(place);
  Trace trace;
  trace.clock = clock;
  trace.ranks = ranks;
  if (const JsonReader unit = object.require("time_unit"); unit.as_string() != "ps")
    unit.fail(fmt::format("times are in {}", unit.shown()), "write times in whole picoseconds, \"ps\"");
  trace.warmup_steps = object.require("warmup_steps").as_integer(1, kStepsMax);
  trace.steps = object.require("steps").as_integer(1, kStepsMax);
  const std::size_t columns = check_op_columns(object.require("op_columns"));
  for (const JsonReader& role : object.require("roles").as_array(1, 1'000'000)) {
    auto& ops = trace.roles.emplace_back();
    const auto list = role.as_array(0, 10'000'000);
    for (const JsonReader& op : list)
      ops.push_back(read_op(op, columns, static_cast<std::int64_t>(list.size()), ranks));
  }
  const JsonReader roles = object.require("role_of_rank");
  trace.role_of_rank = ids_of(read_column(roles, 0, static_cast<std::int64_t>(trace.roles.size()) - 1));
  if (static_cast<std::int64_t>(trace.role_of_rank.size()) != ranks)
    roles.fail(fmt::format("the list has {} entries and the result {} ranks", trace.role_of_rank.size(), ranks),
               "write the role of every rank");
  const auto listed = read_column(object.require("ranks"), 0, ranks - 1);
  const std::set<std::int64_t> present(listed.begin(), listed.end());
  if (present.empty()) object.require("ranks").fail("the list is empty", "list the ranks whose events are stored");
  EventReader(object.require("events"), trace, present).read();
  return trace;
}

bool has_all_ranks(const Trace& trace) {
  return static_cast<std::int64_t>(std::set<std::int32_t>(trace.rank.begin(), trace.rank.end()).size()) == trace.ranks;
}

}  // namespace foretoken::explain
