#include "tools/explain/diagnosis.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "tools/explain/critical_path.hpp"
#include "tools/explain/stored_trace.hpp"

namespace foretoken::explain {
namespace {

constexpr double kOneFactor = 1e-3;     // ratios that differ by less are one
constexpr double kDriftMin = 2e-4;      // a clock off by less is right
constexpr double kPartMin = 0.01;       // of the whole: smaller parts say nothing about a clock
constexpr double kLateMin = 1.05;       // times the median rank
constexpr double kInExpertsMin = 0.8;   // of what a rank is late by
constexpr double kSpreadMin = 1e-6;     // of durations: below it all are one
constexpr double kUnfitMax = 0.5;       // of the change: quartiles that are farther apart are noise
constexpr double kFromHiddenMin = 0.5;  // of the exposed time that was hidden before
constexpr std::array<std::string_view, 4> kOfExperts{"grouped_gemm", "activation", "permute", "unpermute"};
constexpr std::array<std::string_view, 2> kExchanges{"dispatch", "combine"};

template <std::size_t N>
bool is_one_of(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// Seconds of compute per counted step: [rank][kind].
using ComputeByRank = std::map<std::int32_t, std::map<std::string, double>>;

ComputeByRank compute_by_rank(const Trace& trace) {
  ComputeByRank times;
  for (std::size_t e = 0; e < trace.size(); ++e) {
    const TraceOp& op = trace.op_of(e);
    if (op.communication || trace.step[e] < trace.warmup_steps) continue;
    times[trace.rank[e]][op.kind] +=
        to_seconds(trace.ended[e] - trace.begun[e]).value() / static_cast<double>(trace.steps);
  }
  return times;
}

double sum(const std::map<std::string, double>& times) {
  double all = 0;
  for (const auto& entry : times) all += entry.second;
  return all;
}

bool one_program(const Trace& a, const Trace& b) {
  const auto same = [](const std::vector<TraceOp>& x, const std::vector<TraceOp>& y) {
    return std::equal(x.begin(), x.end(), y.begin(), y.end(),
                      [](const TraceOp& p, const TraceOp& q) { return p.name == q.name && p.kind == q.kind; });
  };
  return a.ranks == b.ranks && a.role_of_rank == b.role_of_rank &&
         std::equal(a.roles.begin(), a.roles.end(), b.roles.begin(), b.roles.end(), same);
}

/// Of an odd number the middle one, of an even number the lower of both.
double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[(values.size() - 1) / 2];
}

/// What is usual among ranks: the median, of an even number whichever of the two middle ones is nearer to 1. Of two
/// ranks this is the one that changed less.
double usual_of(std::vector<double> ratios) {
  std::sort(ratios.begin(), ratios.end());
  const double low = ratios[(ratios.size() - 1) / 2], high = ratios[ratios.size() / 2];
  return std::abs(std::log(high)) < std::abs(std::log(low)) ? high : low;
}

/// A rank that is slower against B than the other ranks are.
struct Late {
  std::int32_t rank = -1;
  bool in_experts = false;
  double factor = 1;
  std::map<std::string, double> usual;  // [kind] A / B of the median rank
  std::map<std::string, double> own;    // [kind] A / B of this rank
};

std::optional<Late> find_late(const Trace& a, const Trace& b) {
  if (!one_program(a, b) || !has_all_ranks(a) || !has_all_ranks(b) || a.ranks < 2) return std::nullopt;
  const ComputeByRank of_a = compute_by_rank(a), of_b = compute_by_rank(b);
  std::vector<double> factors;
  std::map<std::string, std::vector<double>> by_kind;
  Late late;
  double most = 0;
  for (const auto& [rank, kinds] : of_a) {
    const auto other = of_b.find(rank);
    if (other == of_b.end() || !(sum(other->second) > 0)) return std::nullopt;
    const double factor = sum(kinds) / sum(other->second);
    factors.push_back(factor);
    if (factor > most) std::tie(most, late.rank) = std::tuple(factor, rank);
    for (const auto& [kind, time] : kinds)
      if (const auto before = other->second.find(kind); before != other->second.end() && before->second > 0)
        by_kind[kind].push_back(time / before->second);
  }
  const double usual = usual_of(factors);
  if (!(most > usual * kLateMin)) return std::nullopt;
  late.factor = most / usual;
  double late_by = 0, in_experts = 0, elsewhere = 0, elsewhere_usual = 0;
  for (const auto& [kind, values] : by_kind) {
    late.usual[kind] = usual_of(values);
    const auto time = of_a.at(late.rank).find(kind), before = of_b.at(late.rank).find(kind);
    if (time == of_a.at(late.rank).end() || before == of_b.at(late.rank).end()) continue;
    late.own[kind] = time->second / before->second;
    const double expected = late.usual[kind] * before->second;
    late_by += time->second - expected;
    if (is_one_of(kOfExperts, kind)) {
      in_experts += time->second - expected;
    } else {
      elsewhere += time->second;
      elsewhere_usual += expected;
    }
  }
  // Experts alone: nothing else of the rank is slower, though there is something else.
  late.in_experts = elsewhere > 0 && elsewhere < kLateMin * elsewhere_usual && in_experts > kInExpertsMin * late_by;
  return late;
}

/// The common factor of all parts that matter, if there is one.
std::optional<double> clock_factor(const Waterfall& tpot) {
  std::vector<double> ratios;
  for (const Part& part : tpot.parts) {
    if (part.cause == Cause::instrumentation || part.cause == Cause::edges) continue;
    if (ratio(std::max(part.a, part.b), tpot.b) < kPartMin) continue;
    if (part.b <= SimTime(0)) return std::nullopt;
    ratios.push_back(ratio(part.a, part.b));
  }
  if (ratios.size() < 3) return std::nullopt;
  const auto [least, most] = std::minmax_element(ratios.begin(), ratios.end());
  const double factor = median(ratios);
  const bool one = *most - *least < kOneFactor * factor && *most - *least < std::abs(factor - 1) / 2;
  return one && std::abs(factor - 1) > kDriftMin ? std::optional(factor) : std::nullopt;
}

/// Durations of the same communication on both sides, in seconds: [kind].
using Joined = std::map<std::string, std::vector<std::pair<double, double>>>;

Joined joined_communication(const Trace& a, const Trace& b) {
  Joined pairs;
  if (!one_program(a, b)) return pairs;
  const auto key = [](const Trace& t, std::size_t e) {
    return std::tuple(t.rank[e], t.step[e] - t.warmup_steps, t.op[e]);
  };
  const auto duration = [](const Trace& t, std::size_t e) { return to_seconds(t.ended[e] - t.begun[e]).value(); };
  std::map<std::tuple<std::int32_t, std::int64_t, std::int32_t>, double> of_b;
  for (std::size_t e = 0; e < b.size(); ++e)
    if (b.op_of(e).communication && b.step[e] >= b.warmup_steps) of_b[key(b, e)] = duration(b, e);
  for (std::size_t e = 0; e < a.size(); ++e) {
    if (!a.op_of(e).communication || a.step[e] < a.warmup_steps) continue;
    if (const auto other = of_b.find(key(a, e)); other != of_b.end())
      pairs[a.op_of(e).kind].emplace_back(duration(a, e), other->second);
  }
  return pairs;
}

/// How well A's durations are B's times a factor, or B's and a time more: by quartiles, for outliers say nothing.
struct Fit {
  double factor = 0, each = 0;          // medians
  double off_factor = 0, off_each = 0;  // distance of the quartiles, over the change; 0: all are off alike

  explicit Fit(const std::vector<std::pair<double, double>>& pairs) {
    std::vector<double> ratios, differences;
    for (const auto& [x, y] : pairs) {
      if (y > 0) ratios.push_back(x / y);
      differences.push_back(x - y);
    }
    if (ratios.empty()) return;
    factor = median(ratios);
    each = median(differences);
    off_factor = quartiles(std::move(ratios)) / std::abs(factor - 1);
    off_each = quartiles(std::move(differences)) / std::abs(each);
  }
  [[nodiscard]] bool explains() const {
    return std::abs(factor - 1) > kOneFactor && std::min(off_factor, off_each) < kUnfitMax;
  }
  [[nodiscard]] bool tells() const { return std::max(off_factor, off_each) > kSpreadMin; }

 private:
  static double quartiles(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[(values.size() - 1) * 3 / 4] - values[(values.size() - 1) / 4];
  }
};

/// Whether communication is slower by a factor or by a time: what fits better, in each kind of op by itself, as kinds
/// go over different links. Where all ops of a kind take the same time, both fit; then one fit for all kinds decides.
/// Kinds that neither explains, as noise, are left out.
Finding describe_communication(const Trace& a, const Trace& b) {
  std::vector<std::pair<double, double>> all;
  double off_factor = 0, off_each = 0;  // weighted by the number of ops
  bool tells = false;
  for (const auto& [kind, pairs] : joined_communication(a, b)) {
    const Fit fit(pairs);
    if (!fit.explains()) continue;
    all.insert(all.end(), pairs.begin(), pairs.end());
    off_factor += fit.off_factor * static_cast<double>(pairs.size());
    off_each += fit.off_each * static_cast<double>(pairs.size());
    tells = tells || fit.tells();
  }
  Finding finding;
  finding.culprit = Culprit::communication;
  if (all.size() < 2) return finding;
  const Fit fit(all);
  if (!tells) {
    if (!fit.tells()) {  // all of one length: either it is
      finding.factor = fit.factor;
      finding.each = Seconds(fit.each);
      return finding;
    }
    off_factor = fit.off_factor;
    off_each = fit.off_each;
  }
  finding.culprit = off_each < off_factor ? Culprit::latency : Culprit::link;
  if (finding.culprit == Culprit::latency) finding.each = Seconds(fit.each);
  else finding.factor = fit.factor;
  return finding;
}

/// The parts of a waterfall along both critical paths, on which nobody waits: what a rank waited for is what its peer
/// did. Nothing where the traces do not tell.
std::optional<std::vector<Part>> parts_on_paths(const Trace& a, const Trace& b, const Waterfall& tpot) {
  for (const Trace* trace : {&a, &b})
    if (!says_who_waits(*trace) || !has_all_ranks(*trace)) return std::nullopt;
  std::map<std::pair<Cause, std::string>, Part> parts;
  const auto add = [&](const Trace& trace, SimTime Part::*side) {
    const std::int64_t scale = tpot.steps / trace.steps;  // a common multiple
    for (const PathSegment& segment : find_critical_path(trace).segments) {
      const Cause cause = segment.work == PathWork::compute         ? Cause::compute
                          : segment.work == PathWork::communication ? Cause::exposed
                                                                    : Cause::idle;
      const std::string of = cause == Cause::idle ? "" : trace.op_of(segment.event).kind;
      Part& part = parts[{cause, of}];
      part.cause = cause;
      part.of = of;
      part.*side += SimTime(segment.time().value() * scale);
    }
  };
  add(a, &Part::a);
  add(b, &Part::b);
  std::vector<Part> list;
  for (const auto& entry : parts) list.push_back(entry.second);
  for (const Part& part : tpot.parts)
    if (part.cause == Cause::instrumentation || part.cause == Cause::edges) list.push_back(part);
  return list;
}

class Findings {
 public:
  Findings(const Trace& a, const Trace& b, const Waterfall& tpot) : a_(a), b_(b), tpot_(tpot) {}

  std::vector<Finding> run() {
    if (const auto factor = clock_factor(tpot_)) {
      add({Culprit::clock, "", {}, *factor}, tpot_.difference());
      return sorted();
    }
    late_ = find_late(a_, b_);
    const bool overlap_lost = is_overlap_lost();
    const Finding communication = describe_communication(a_, b_);
    const auto on_paths = parts_on_paths(a_, b_, tpot_);
    if (on_paths && late_) measure_late();
    for (const Part& part : on_paths ? *on_paths : tpot_.parts) {
      switch (part.cause) {
        case Cause::compute: compute(part); break;
        case Cause::waiting: waiting(part); break;
        case Cause::idle: add({Culprit::gaps}, part.difference()); break;
        case Cause::exposed:
          // What a late rank keeps from starting is no longer hidden either.
          if (overlap_lost && late_) add_late(part.difference());
          else if (overlap_lost) add({Culprit::overlap}, part.difference());
          // What is sent to a hot expert has to pass its rank's port.
          else if (late_ && late_->in_experts && is_one_of(kExchanges, part.of)) add_late(part.difference());
          else if (agrees(communication, part.difference())) add(communication, part.difference());
          else add({Culprit::communication}, part.difference());
          break;
        default: add({Culprit::other, std::string(name_of(part.cause))}, part.difference());
      }
    }
    return sorted();
  }

 private:
  /// Whether it says longer where it is longer.
  static bool agrees(const Finding& finding, SimTime difference) {
    const double more = finding.each != Seconds(0) ? finding.each.value() : finding.factor - 1;
    const bool says_nothing = finding.each == Seconds(0) && !(finding.factor > 0);
    return says_nothing || (more > 0) == (difference > SimTime(0));
  }

  void add(Finding finding, SimTime explains) {
    Finding& entry = findings_[{finding.culprit, finding.of}];
    const SimTime before = entry.explains;
    if (finding.factor > 0 || !(entry.factor > 0)) entry = std::move(finding);
    entry.explains = before + explains;
  }

  void add_late(SimTime explains) {
    add({late_->in_experts ? Culprit::hot_expert : Culprit::straggler,
         fmt::format("rank {}", late_->rank),
         {},
         late_->factor},
        explains);
  }

  /// By kind: what the late rank, where it is on A's critical path, is slower by than others are.
  void measure_late() {
    const std::int64_t scale = tpot_.steps / a_.steps;
    for (const PathSegment& segment : find_critical_path(a_).segments) {
      if (segment.work != PathWork::compute || a_.rank[segment.event] != late_->rank) continue;
      const std::string& kind = a_.op_of(segment.event).kind;
      const auto own = late_->own.find(kind);
      if (own == late_->own.end() || !(own->second > 0)) continue;
      late_by_[kind] += static_cast<double>(segment.time().value() * scale) * (1 - late_->usual.at(kind) / own->second);
    }
  }

  // What the slow rank is slower by than others are belongs to it, the rest to the kernels.
  void compute(const Part& part) {
    SimTime left = part.difference();
    if (const auto late_by = late_by_.find(part.of); late_by != late_by_.end()) {
      const SimTime excess(std::llround(late_by->second));
      add_late(excess);
      left = left - excess;
    }
    const bool on_it = late_ && late_by_.empty() && break_down(a_).rank == late_->rank;
    const auto usual = on_it ? late_->usual.find(part.of) : std::map<std::string, double>::const_iterator();
    if (on_it && usual != late_->usual.end()) {
      const SimTime expected(std::llround(static_cast<double>(part.b.value()) * (usual->second - 1)));
      add_late(left - expected);
      left = expected;
    }
    const double factor = part.b > SimTime(0) ? ratio(part.a, part.b) : 0;
    add({Culprit::kernels, part.of, {}, factor}, left);
  }

  void waiting(const Part& part) {
    if (late_) add_late(part.difference());
    else add({Culprit::waiting, part.of}, part.difference());
  }

  [[nodiscard]] bool is_overlap_lost() const {
    const auto per_step = [](const Breakdown& b, const std::vector<BreakdownPart>& parts) {
      return b.per_step(total(parts)).value();
    };
    const Breakdown of_a = break_down(a_), of_b = break_down(b_);
    const double exposed = per_step(of_a, of_a.exposed) - per_step(of_b, of_b.exposed);
    const double hidden = per_step(of_b, of_b.hidden) - per_step(of_a, of_a.hidden);
    return std::abs(exposed) > 0 && hidden / exposed > kFromHiddenMin;
  }

  [[nodiscard]] std::vector<Finding> sorted() const {
    std::vector<Finding> list;
    for (const auto& entry : findings_)
      if (entry.second.explains != SimTime(0)) list.push_back(entry.second);
    std::stable_sort(list.begin(), list.end(), [](const Finding& x, const Finding& y) {
      return std::abs(x.explains.value()) > std::abs(y.explains.value());
    });
    return list;
  }

  const Trace& a_;
  const Trace& b_;
  const Waterfall& tpot_;
  std::optional<Late> late_;
  std::map<std::string, double> late_by_;  // ps over the waterfall's steps
  std::map<std::pair<Culprit, std::string>, Finding> findings_;
};

}  // namespace

std::vector<Finding> diagnose(const Trace& a, const Trace& b, const Waterfall& tpot) {
  // What is late in B alone is found from B's side: everything turned round, and back.
  if (find_late(a, b) || !find_late(b, a)) return Findings(a, b, tpot).run();
  Waterfall turned = tpot;
  std::swap(turned.a, turned.b);
  for (Part& part : turned.parts) std::swap(part.a, part.b);
  std::vector<Finding> findings = Findings(b, a, turned).run();
  for (Finding& finding : findings) {
    if (finding.culprit == Culprit::straggler || finding.culprit == Culprit::hot_expert) finding.of += " of B";
    if (finding.factor > 0) finding.factor = 1 / finding.factor;
    finding.each = finding.each * -1.0;
    finding.explains = SimTime(0) - finding.explains;
  }
  return findings;
}

}  // namespace foretoken::explain
