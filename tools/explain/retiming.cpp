#include "tools/explain/retiming.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/breakdown.hpp"
#include "core/error.hpp"
#include "tools/explain/causes.hpp"

namespace foretoken::explain {
namespace {

constexpr std::size_t posting(std::size_t event) { return 2 * event; }
constexpr std::size_t end(std::size_t event) { return 2 * event + 1; }

/// Calls each(moment) for the causes of a moment: moment 2 e is the posting of event e, 2 e + 1 its end.
template <class Each>
void for_each_cause(const Causes& causes, const Trace& trace, std::size_t moment, Each each) {
  const std::size_t event = moment / 2;
  if (moment == posting(event)) {
    causes.for_each_before(event, [&](std::size_t other, bool) { each(end(other)); });
    return;
  }
  each(posting(event));
  if (trace.op_of(event).communication) causes.for_each_side(event, [&](std::size_t other) { each(posting(other)); });
}

SimTime time_of(const Trace& trace, std::size_t moment) {
  return moment % 2 == 0 ? trace.posted[moment / 2] : trace.ended[moment / 2];
}

/// Moments in an order in which causes stand before what they cause (Kahn, "Topological Sorting of Large Networks",
/// 1962).
std::vector<std::uint32_t> in_order(const Causes& causes, const Trace& trace) {
  const std::size_t moments = 2 * trace.size();
  std::vector<std::uint32_t> first(moments + 1, 0);  // of a moment's effects
  std::vector<std::uint32_t> open(moments, 0);       // causes that are not in order yet
  for (std::size_t m = 0; m < moments; ++m)
    for_each_cause(causes, trace, m, [&](std::size_t cause) { ++first[cause + 1], ++open[m]; });
  for (std::size_t m = 0; m < moments; ++m) first[m + 1] += first[m];
  std::vector<std::uint32_t> effects(first.back());
  std::vector<std::uint32_t> next(first.begin(), first.end() - 1);
  for (std::size_t m = 0; m < moments; ++m)
    for_each_cause(causes, trace, m,
                   [&](std::size_t cause) { effects[next[cause]++] = static_cast<std::uint32_t>(m); });
  std::vector<std::uint32_t> order;
  order.reserve(moments);
  for (std::size_t m = 0; m < moments; ++m)
    if (open[m] == 0) order.push_back(static_cast<std::uint32_t>(m));
  for (std::size_t done = 0; done < order.size(); ++done)
    for (std::uint32_t e = first[order[done]]; e < first[order[done] + 1]; ++e)
      if (--open[effects[e]] == 0) order.push_back(effects[e]);
  if (order.size() < moments)
    throw Error(ErrorCode::invalid_input, "the ops of the trace wait for one another in a circle");
  return order;
}

}  // namespace

Retiming::Retiming(const Trace& trace, const std::vector<std::size_t>& group) {
  FORETOKEN_CHECK(group.size() == trace.size(), "every event has a group");
  FORETOKEN_CHECK(trace.size() < std::numeric_limits<std::uint32_t>::max() / 2, "events that 32 bits can count");
  const EventIndex index(trace);
  const Waits waits(trace);
  const Causes causes(trace, index, waits);
  const std::vector<std::uint32_t> order = in_order(causes, trace);
  std::vector<std::uint32_t> place(order.size());  // of a moment in moments_
  for (std::size_t p = 0; p < order.size(); ++p) place[order[p]] = static_cast<std::uint32_t>(p);
  moments_.reserve(order.size());
  for (const std::uint32_t m : order) {
    const std::size_t event = m / 2;
    SimTime last(0);
    for_each_cause(causes, trace, m, [&](std::size_t cause) {
      causes_.push_back(place[cause]);
      last = std::max(last, time_of(trace, cause));
    });
    const std::int64_t since = (time_of(trace, m) - last).value();
    Moment moment{static_cast<std::uint32_t>(causes_.size()), static_cast<std::uint32_t>(group[event]), since, 0};
    if (m == end(event)) {
      const bool communication = trace.op_of(event).communication;
      moment.scaled = communication ? since : (trace.ended[event] - trace.begun[event]).value();
      moment.fixed = since - moment.scaled;
    }
    moments_.push_back(moment);
  }

  const auto step_ends = [&](std::int32_t rank, std::int64_t step) {
    std::vector<std::uint32_t> ends;
    const auto& ops = trace.roles[static_cast<std::size_t>(trace.role_of_rank[static_cast<std::size_t>(rank)])];
    for (std::size_t op = 0; op < ops.size(); ++op) {
      if (ops[op].kind != "step_end") continue;
      const auto event = causes.find(rank, static_cast<std::int32_t>(step), static_cast<std::int32_t>(op));
      if (event) ends.push_back(place[end(*event)]);
    }
    return ends;
  };
  for (const auto& [rank, window] : step_windows(trace))
    windows_.push_back(
        {step_ends(rank, trace.warmup_steps - 1), step_ends(rank, trace.warmup_steps + trace.steps - 1)});
}

SimTime Retiming::window(const std::vector<double>& factors) const {
  std::vector<std::int64_t> time(moments_.size());
  std::size_t cause = 0;
  for (std::size_t m = 0; m < moments_.size(); ++m) {
    const Moment& moment = moments_[m];
    std::int64_t last = 0;
    for (; cause < moment.causes_end; ++cause) last = std::max(last, time[causes_[cause]]);
    time[m] = last + moment.fixed;
    if (moment.scaled > 0) time[m] += std::llround(factors[moment.group] * static_cast<double>(moment.scaled));
  }
  const auto latest = [&](const std::vector<std::uint32_t>& of) {
    std::int64_t last = 0;
    for (const std::uint32_t m : of) last = std::max(last, time[m]);
    return last;
  };
  std::int64_t slowest_end = -1;
  SimTime window;
  for (const Window& of : windows_) {
    const std::int64_t ended = latest(of.end);
    if (ended <= slowest_end) continue;
    slowest_end = ended;
    window = SimTime(ended - latest(of.begin));
  }
  return window;
}

}  // namespace foretoken::explain
