#include "core/breakdown.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <tuple>

#include "core/error.hpp"

namespace foretoken {
namespace {

enum class TileClass : std::uint8_t { compute, exposed, waiting };

// What wants an instant, best first.
using Claim = std::tuple<TileClass, SimTime, std::int32_t, std::size_t>;  // class, since, op, event

struct Change {
  SimTime time;
  bool begins = false;
  Claim claim;
};

std::vector<Change> changes_of(const Trace& trace, const StepWindow& window) {
  std::vector<Change> changes;
  const auto add = [&](TileClass tile, std::size_t event, SimTime from, SimTime to) {
    const SimTime begin = std::max(from, window.begin);
    const SimTime end = std::min(to, window.end);
    if (begin >= end) return;
    const Claim claim{tile, from, trace.op[event], event};
    changes.push_back({begin, true, claim});
    changes.push_back({end, false, claim});
  };
  for (std::size_t event = 0; event < trace.size(); ++event) {
    if (trace.rank[event] != window.rank) continue;
    const bool communication = trace.op_of(event).communication;
    add(communication ? TileClass::exposed : TileClass::compute, event, trace.begun[event], trace.ended[event]);
    if (communication) add(TileClass::waiting, event, trace.posted[event], trace.begun[event]);
  }
  std::sort(changes.begin(), changes.end(), [](const Change& a, const Change& b) {
    return std::tie(a.time, a.begins, a.claim) < std::tie(b.time, b.begins, b.claim);
  });
  return changes;
}

std::vector<BreakdownPart> parts_of(const std::map<std::string, SimTime>& times) {
  std::vector<BreakdownPart> parts;
  for (const auto& [kind, time] : times) parts.push_back({kind, time});
  return parts;
}

}  // namespace

double Breakdown::share(Provenance provenance) const {
  SimTime all(0);
  for (const SimTime time : busy) all += time;
  return all == SimTime(0) ? 0.0 : ratio(busy[static_cast<std::size_t>(provenance)], all);
}

std::map<std::int32_t, StepWindow> step_windows(const Trace& trace) {
  FORETOKEN_CHECK(trace.warmup_steps >= 1 && trace.steps >= 1, "a breakdown needs a warm-up step and a counted step");
  const std::int64_t last = trace.warmup_steps + trace.steps - 1;
  std::map<std::int32_t, StepWindow> windows;
  for (std::size_t event = 0; event < trace.size(); ++event) {
    const bool opens = trace.step[event] == trace.warmup_steps - 1;
    const bool closes = trace.step[event] == last;
    if ((!opens && !closes) || trace.op_of(event).kind != "step_end") continue;
    StepWindow& window = windows[trace.rank[event]];
    window.rank = trace.rank[event];
    if (opens) window.begin = std::max(window.begin, trace.ended[event]);
    if (closes) window.end = std::max(window.end, trace.ended[event]);
  }
  FORETOKEN_CHECK(!windows.empty(), "a breakdown needs a rank with step_end");
  for (const auto& [rank, window] : windows)
    FORETOKEN_CHECK(window.begin >= SimTime(0) && window.end >= window.begin, "a rank lacks a step_end");
  return windows;
}

StepWindow slowest_of(const std::map<std::int32_t, StepWindow>& windows) {
  StepWindow slowest;
  for (const auto& [rank, window] : windows)
    if (window.end > slowest.end) slowest = window;
  return slowest;
}

SimTime total(const std::vector<BreakdownPart>& parts) {
  SimTime sum(0);
  for (const BreakdownPart& part : parts) sum += part.time;
  return sum;
}

Breakdown break_down(const Trace& trace) {
  const StepWindow window = slowest_of(step_windows(trace));
  Breakdown breakdown;
  breakdown.rank = window.rank;
  breakdown.steps = trace.steps;
  breakdown.begin = window.begin;
  breakdown.end = window.end;

  std::array<std::map<std::string, SimTime>, 3> tiles;  // [class][kind]
  std::map<std::string, SimTime> hidden;
  std::set<Claim> claims;  // of the current instant
  SimTime now = window.begin;
  const auto advance = [&](SimTime to) {
    const SimTime span = to - now;
    now = to;
    if (span == SimTime(0)) return;
    if (claims.empty()) {
      breakdown.idle += span;
      return;
    }
    const auto& [tile, since, op, event] = *claims.begin();
    tiles[static_cast<std::size_t>(tile)][trace.op_of(event).kind] += span;
    if (tile != TileClass::waiting) breakdown.busy[static_cast<std::size_t>(trace.provenance[event])] += span;
    if (tile != TileClass::compute) return;
    const auto beside =
        claims.lower_bound({TileClass::exposed, SimTime(std::numeric_limits<std::int64_t>::min()), 0, 0});
    if (beside != claims.end() && std::get<0>(*beside) == TileClass::exposed) {
      hidden[trace.op_of(std::get<3>(*beside)).kind] += span;
    }
  };
  for (const Change& change : changes_of(trace, window)) {
    advance(change.time);
    if (change.begins) claims.insert(change.claim);
    else claims.erase(change.claim);
  }
  advance(window.end);

  breakdown.compute = parts_of(tiles[static_cast<std::size_t>(TileClass::compute)]);
  breakdown.exposed = parts_of(tiles[static_cast<std::size_t>(TileClass::exposed)]);
  breakdown.waiting = parts_of(tiles[static_cast<std::size_t>(TileClass::waiting)]);
  breakdown.hidden = parts_of(hidden);
  FORETOKEN_CHECK(total(breakdown.compute) + total(breakdown.exposed) + total(breakdown.waiting) + breakdown.idle ==
                      breakdown.window(),
                  "the parts of a breakdown add up to the whole");
  return breakdown;
}

}  // namespace foretoken
