#include "tools/explain/stragglers.hpp"

#include <algorithm>
#include <map>
#include <span>
#include <tuple>

#include "tools/explain/waits.hpp"

namespace foretoken::explain {
namespace {

struct Participant {
  std::int32_t communication = 0;
  std::int64_t anchor = 0;
  std::int32_t step = 0;
  SimTime posted;
  std::int32_t rank = 0;
  std::size_t event = 0;

  [[nodiscard]] auto meeting() const { return std::tuple(communication, anchor, step); }
};

std::vector<Participant> participants_of(const Trace& trace) {
  const Waits waits(trace);
  std::vector<Participant> sides;
  for (std::size_t e = 0; e < trace.size(); ++e) {
    const TraceOp& op = trace.op_of(e);
    if (!op.meets || trace.step[e] < trace.warmup_steps) continue;
    sides.push_back({op.meets->communication, waits.anchor(trace.rank[e], trace.op[e]), trace.step[e], trace.posted[e],
                     trace.rank[e], e});
  }
  std::sort(sides.begin(), sides.end(), [](const Participant& a, const Participant& b) {
    return std::tuple(a.meeting(), a.posted, a.rank) < std::tuple(b.meeting(), b.posted, b.rank);
  });
  return sides;
}

struct Sums {
  StragglerWait wait;
  std::map<std::int32_t, SimTime> made_wait;  // by rank
};

void add_meeting(std::span<const Participant> sides, Sums& sums) {
  const Participant& last = sides.back();
  ++sums.wait.meetings;
  sums.wait.sides += static_cast<std::int64_t>(sides.size()) - 1;
  SimTime sum;
  for (const Participant& side : sides) sum += last.posted - side.posted;
  sums.wait.waited += sum;
  sums.wait.longest = std::max(sums.wait.longest, last.posted - sides.front().posted);
  if (sum > SimTime(0)) sums.made_wait[last.rank] += sum;
}

}  // namespace

std::vector<StragglerWait> straggler_waits(const Trace& trace) {
  const std::vector<Participant> sides = participants_of(trace);
  std::map<std::string, Sums> kinds;
  for (std::size_t begin = 0; begin < sides.size();) {
    std::size_t end = begin + 1;
    while (end < sides.size() && sides[end].meeting() == sides[begin].meeting()) ++end;
    // A send and its recv are one meeting, and one kind.
    const std::string& kind = trace.op_of(sides[begin].event).kind;
    if (end - begin > 1)
      add_meeting(std::span(sides).subspan(begin, end - begin), kinds[kind == "recv" ? "send" : kind]);
    begin = end;
  }
  std::vector<StragglerWait> waits;
  for (auto& [kind, sums] : kinds) {
    sums.wait.kind = kind;
    for (const auto& [rank, time] : sums.made_wait) {
      if (time <= sums.wait.made_wait) continue;
      sums.wait.late_rank = rank;
      sums.wait.made_wait = time;
    }
    waits.push_back(std::move(sums.wait));
  }
  std::stable_sort(waits.begin(), waits.end(),
                   [](const StragglerWait& a, const StragglerWait& b) { return a.waited > b.waited; });
  return waits;
}

}  // namespace foretoken::explain
