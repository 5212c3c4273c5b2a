#include "tools/explain/critical_path.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "core/error.hpp"
#include "tools/explain/causes.hpp"

namespace foretoken::explain {
namespace {

class Walk {
 public:
  Walk(const Trace& trace, const EventIndex& index, const Waits& waits) : trace_(trace), causes_(trace, index, waits) {}

  CriticalPath run(const StepWindow& window) {
    path_.rank = window.rank;
    path_.steps = trace_.steps;
    path_.begin = window.begin;
    path_.end = now_ = window.end;
    std::size_t event = last_step_end();
    for (std::size_t moves = 0; now_ > path_.begin; ++moves) {
      // A path that comes to an event twice has gone around in a circle.
      if (moves > trace_.size())
        throw Error(ErrorCode::invalid_input,
                    fmt::format("the ops of the trace wait for one another in a circle, at {} ps, {} on rank {}",
                                now_.value(), trace_.op_of(event).name, trace_.rank[event]));
      event = pass(event);
      const std::optional<std::size_t> before = go_back(event);
      if (!before) break;
      event = *before;
    }
    std::reverse(path_.segments.begin(), path_.segments.end());
    for (std::size_t s = 1; s < path_.segments.size(); ++s)
      if (rank_of(path_.segments[s]) != rank_of(path_.segments[s - 1])) ++path_.rank_changes;
    return std::move(path_);
  }

 private:
  [[nodiscard]] std::int32_t rank_of(const PathSegment& segment) const { return trace_.rank[segment.event]; }

  [[nodiscard]] std::size_t last_step_end() const {
    std::optional<std::size_t> last;
    const auto role = static_cast<std::size_t>(trace_.role_of_rank[static_cast<std::size_t>(path_.rank)]);
    const auto step = static_cast<std::int32_t>(trace_.warmup_steps + trace_.steps - 1);
    for (std::size_t op = 0; op < trace_.roles[role].size(); ++op) {
      if (trace_.roles[role][op].kind != "step_end") continue;
      const auto event = causes_.find(path_.rank, step, static_cast<std::int32_t>(op));
      if (event && trace_.ended[*event] == path_.end) last = event;
    }
    FORETOKEN_CHECK(last.has_value(), "the window of a trace ends with a step_end");
    return *last;
  }

  // The path from `since` to now belongs to the event.
  void add(SimTime since, std::size_t event, PathWork work, PathCause cause) {
    const SimTime begin = std::max(since, path_.begin);
    if (begin < now_) {
      path_.segments.push_back({begin, now_, event, work, cause});
      now_ = begin;
    }
  }

  // From the end of an event to the posting that it waited for, which may be another rank's: returns that event.
  std::size_t pass(std::size_t event) {
    if (!trace_.op_of(event).communication) {
      first_of_op_ = path_.segments.size();
      add(trace_.begun[event], event, PathWork::compute, PathCause::start);
      add(trace_.posted[event], event, PathWork::gap, PathCause::start);
      return event;
    }
    const std::size_t last = last_poster(event);
    first_of_op_ = path_.segments.size();
    add(trace_.posted[last], event, PathWork::communication, last == event ? PathCause::start : PathCause::peer);
    // What the peer had waited for is the cause of what comes before its posting alone.
    if (last != event) first_of_op_ = path_.segments.size();
    return last;
  }

  [[nodiscard]] std::size_t last_poster(std::size_t event) const {
    std::size_t last = event;
    causes_.for_each_side(event, [&](std::size_t other) {
      if (trace_.posted[other] > trace_.posted[last]) last = other;
    });
    return last;
  }

  // From the posting of an event to the end of what it had waited for.
  std::optional<std::size_t> go_back(std::size_t event) {
    // Ended, whether it is a dependency, op: the greatest is what the event waited for.
    using Candidate = std::tuple<SimTime, bool, std::int32_t, std::size_t>;
    std::optional<Candidate> latest;
    causes_.for_each_before(event, [&](std::size_t other, bool dependency) {
      const Candidate candidate{trace_.ended[other], dependency, trace_.op[other], other};
      if (!latest || candidate > *latest) latest = candidate;
    });
    if (!latest) {
      add(path_.begin, event, PathWork::gap, PathCause::start);
      return std::nullopt;
    }
    const auto& [ended, dependency, op, other] = *latest;
    const PathCause cause = dependency ? PathCause::dependency : PathCause::stream;
    for (std::size_t s = first_of_op_; s < path_.segments.size(); ++s) path_.segments[s].cause = cause;
    add(ended, event, PathWork::gap, cause);
    return other;
  }

  const Trace& trace_;
  Causes causes_;
  CriticalPath path_;  // segments from the last to the first
  SimTime now_;
  std::size_t first_of_op_ = 0;  // segments from here on wait for the same thing
};

std::string name_by(const PathSegment& segment, const Trace& trace, PathBy by) {
  const TraceOp& op = trace.op_of(segment.event);
  switch (by) {
    case PathBy::kind: return fmt::format("{} {}", name_of(segment.work), op.kind);
    case PathBy::layer: return op.layer < 0 ? "no layer" : fmt::format("layer {}", op.layer);
    case PathBy::rank: return fmt::format("rank {}", trace.rank[segment.event]);
    case PathBy::cause: return std::string(name_of(segment.cause));
  }
  return "";
}

}  // namespace

CriticalPath find_critical_path(const Trace& trace) { return CriticalPaths(trace).to(slowest_of(step_windows(trace))); }

CriticalPaths::CriticalPaths(const Trace& trace) : trace_(trace), index_(trace), waits_(trace) {
  FORETOKEN_CHECK(says_who_waits(trace), "a critical path needs a trace that says who waits for whom");
}

CriticalPath CriticalPaths::to(const StepWindow& window) const { return Walk(trace_, index_, waits_).run(window); }

bool says_who_waits(const Trace& trace) {
  return std::all_of(trace.roles.begin(), trace.roles.end(), [](const std::vector<TraceOp>& ops) {
    return std::all_of(ops.begin(), ops.end(),
                       [](const TraceOp& op) { return op.communication == op.meets.has_value(); });
  });
}

std::vector<PathShare> shares_of(const CriticalPath& path, const Trace& trace, PathBy by) {
  std::map<std::string, PathShare> shares;
  for (const PathSegment& segment : path.segments) {
    PathShare& share = shares[name_by(segment, trace, by)];
    share.time += segment.time();
    ++share.segments;
  }
  std::vector<PathShare> list;
  for (auto& [name, share] : shares) {
    share.name = name;
    list.push_back(std::move(share));
  }
  std::stable_sort(list.begin(), list.end(), [](const PathShare& a, const PathShare& b) { return a.time > b.time; });
  return list;
}

}  // namespace foretoken::explain
