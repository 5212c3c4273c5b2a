#include "tools/explain/waterfall.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <tuple>

#include "core/error.hpp"

namespace foretoken::explain {
namespace {

constexpr std::int64_t kTimeMax = std::int64_t{1} << 59;  // ps, 6 days: the sums and differences below still fit
constexpr std::int64_t kCancellingFactor = 3;
constexpr std::int64_t kNegligible = 100;  // a hundredth of b

[[noreturn]] void fail_too_long() {
  throw Error(
      ErrorCode::invalid_input,
      "A and B take more than 6 days over a number of steps that both counts divide: too long to be compared to "
      "the picosecond; count the same number of steps in both (measure.steps), or fewer");
}

/// From the picoseconds of one side's steps to those of the common number of steps.
class Scale {
 public:
  Scale(std::int64_t steps, std::int64_t common) : common_(common), factor_(common / steps) {}

  [[nodiscard]] SimTime of(SimTime time) const {
    if (time > SimTime(kTimeMax / factor_)) fail_too_long();
    return time * factor_;
  }
  /// Nearest picosecond.
  [[nodiscard]] SimTime of_step(Seconds time) const {
    const double picoseconds = time.value() * kPicosecondsPerSecond * static_cast<double>(common_);
    if (!(std::abs(picoseconds) < static_cast<double>(kTimeMax))) fail_too_long();
    return SimTime(std::llround(picoseconds));
  }

 private:
  std::int64_t common_;
  std::int64_t factor_;
};

std::int64_t common_steps(const Trace& a, const Trace& b) {
  const std::int64_t factor = b.steps / std::gcd(a.steps, b.steps);
  if (a.steps > kTimeMax / factor) fail_too_long();
  return a.steps * factor;
}

/// What both sides spent on the same cause.
class Ledger {
 public:
  void add(SimTime Part::*side, Cause cause, const std::string& of, SimTime time) {
    Part& part = parts_[{cause, of}];
    part.cause = cause;
    part.of = of;
    part.*side += time;
  }

  [[nodiscard]] std::vector<Part> sorted() const {
    std::vector<Part> parts;
    for (const auto& entry : parts_) parts.push_back(entry.second);
    std::stable_sort(parts.begin(), parts.end(), [](const Part& x, const Part& y) {
      return std::abs(x.difference().value()) > std::abs(y.difference().value());
    });
    return parts;
  }

 private:
  std::map<std::pair<Cause, std::string>, Part> parts_;
};

std::string label_of(const TraceOp& op, GroupBy by) {
  if (by == GroupBy::kind || op.kind == "step_end") return op.kind;
  return op.layer < 0 ? "no layer" : fmt::format("layer {}", op.layer);
}

/// The trace with what its ops are grouped by in the place of their kind. A breakdown tells ops apart by their place in
/// the program and not by their kind, except for step_end, which keeps it: the tiles are the same.
Trace labelled(Trace trace, GroupBy by) {
  for (auto& role : trace.roles)
    for (TraceOp& op : role) op.kind = label_of(op, by);
  return trace;
}

SimTime add_side(Ledger& ledger, SimTime Part::*side, const Side& from, const Scale& scale, GroupBy by) {
  const Breakdown breakdown = break_down(by == GroupBy::kind ? *from.trace : labelled(*from.trace, by));
  const auto add_all = [&](Cause cause, const std::vector<BreakdownPart>& parts) {
    for (const BreakdownPart& part : parts) ledger.add(side, cause, part.kind, scale.of(part.time));
  };
  add_all(Cause::compute, breakdown.compute);
  add_all(Cause::exposed, breakdown.exposed);
  add_all(Cause::waiting, breakdown.waiting);
  ledger.add(side, Cause::idle, "", scale.of(breakdown.idle));

  const SimTime tpot = scale.of_step(from.tpot);
  const SimTime instrumentation = scale.of_step(from.step * -from.overhead.value_or(0));
  ledger.add(side, Cause::instrumentation, "", instrumentation);
  ledger.add(side, Cause::edges, "", tpot - scale.of(breakdown.window()) - instrumentation);
  return tpot;
}

SimTime add_cpu_side(Ledger& ledger, SimTime Part::*side, const CpuSide& from, const Scale& scale, GroupBy by) {
  const Trace& trace = *from.trace;
  SimTime traced(0);
  for (std::size_t i = 0; i < trace.size(); ++i) {
    if (trace.step[i] < trace.warmup_steps) continue;
    const SimTime time = scale.of(trace.cpu[i]);
    if (time > SimTime(kTimeMax) - traced) fail_too_long();
    traced += time;
    if (time > SimTime(0)) ledger.add(side, Cause::cpu, label_of(trace.op_of(i), by), time);
  }
  const SimTime whole = from.step ? scale.of_step(*from.step) : traced;
  ledger.add(side, Cause::untraced, "", whole - traced);
  return whole;
}

/// Both sides, each over the common number of steps.
template <class AnySide>
Waterfall explain(const AnySide& a, const AnySide& b, GroupBy by,
                  SimTime (*add)(Ledger&, SimTime Part::*, const AnySide&, const Scale&, GroupBy)) {
  Waterfall waterfall;
  waterfall.steps = common_steps(*a.trace, *b.trace);
  Ledger ledger;
  waterfall.a = add(ledger, &Part::a, a, Scale(a.trace->steps, waterfall.steps), by);
  waterfall.b = add(ledger, &Part::b, b, Scale(b.trace->steps, waterfall.steps), by);
  waterfall.parts = ledger.sorted();
  SimTime sum_a(0), sum_b(0);
  for (const Part& part : waterfall.parts) {
    sum_a += part.a;
    sum_b += part.b;
  }
  FORETOKEN_CHECK(sum_a == waterfall.a && sum_b == waterfall.b, "the parts of a waterfall add up to the whole");
  return waterfall;
}

}  // namespace

SimTime Waterfall::longer() const {
  SimTime sum(0);
  for (const Part& part : parts) sum += std::max(part.difference(), SimTime(0));
  return sum;
}

SimTime Waterfall::shorter() const { return difference() - longer(); }

bool Waterfall::errors_cancel() const {
  const std::int64_t all = (longer() - shorter()).value();
  return all / kCancellingFactor > std::abs(difference().value()) && all > b.value() / kNegligible;
}

Waterfall explain_tpot(const Side& a, const Side& b, GroupBy by) { return explain(a, b, by, add_side); }

Waterfall explain_cpu(const CpuSide& a, const CpuSide& b, GroupBy by) { return explain(a, b, by, add_cpu_side); }

}  // namespace foretoken::explain
