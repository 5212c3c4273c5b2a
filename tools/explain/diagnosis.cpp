#include "tools/explain/diagnosis.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <tuple>

#include "tools/explain/stored_trace.hpp"

namespace foretoken::explain {
namespace {

constexpr double kOneFactor = 1e-3;     // ratios that differ by less are one
constexpr double kDriftMin = 2e-4;      // a clock off by less is right
constexpr double kPartMin = 0.01;       // of the whole: smaller parts say nothing about a clock
constexpr double kLateMin = 1.05;       // times the median rank
constexpr double kInExpertsMin = 0.8;   // of what a rank is late by
constexpr double kFromHiddenMin = 0.5;  // of the exposed time that was hidden before
constexpr const char* kExperts = "grouped_gemm";

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

/// Of an odd number the middle one, of an even number the lower of both: with two ranks, the faster.
double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[(values.size() - 1) / 2];
}

/// A rank that is slower against B than the other ranks are.
struct Late {
  std::int32_t rank = -1;
  bool in_experts = false;
  double factor = 1;
  std::map<std::string, double> usual;  // [kind] A / B of the median rank
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
  const double usual = median(factors);
  if (!(most > usual * kLateMin)) return std::nullopt;
  late.factor = most / usual;
  double late_by = 0, in_experts = 0;
  for (const auto& [kind, values] : by_kind) {
    late.usual[kind] = median(values);
    const double excess = of_a.at(late.rank).at(kind) - late.usual[kind] * of_b.at(late.rank).at(kind);
    late_by += excess;
    if (kind == kExperts) in_experts += excess;
  }
  // Experts alone: nothing else of the rank is slower, though there is something else.
  late.in_experts = by_kind.size() > 1 && in_experts > kInExpertsMin * late_by;
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

/// Durations of the same communication on both sides, in seconds.
std::vector<std::pair<double, double>> joined_communication(const Trace& a, const Trace& b) {
  std::vector<std::pair<double, double>> pairs;
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
    if (const auto other = of_b.find(key(a, e)); other != of_b.end()) pairs.emplace_back(duration(a, e), other->second);
  }
  return pairs;
}

/// Whether communication is slower by a factor or by a time: the better of both least-squares fits.
Finding describe_communication(const Trace& a, const Trace& b) {
  const auto pairs = joined_communication(a, b);
  Finding finding;
  finding.culprit = Culprit::communication;
  if (pairs.size() < 2) return finding;
  double ab = 0, bb = 0, more = 0;
  for (const auto& [x, y] : pairs) {
    ab += x * y;
    bb += y * y;
    more += x - y;
  }
  if (!(bb > 0)) return finding;
  const double factor = ab / bb;
  const double each = more / static_cast<double>(pairs.size());
  double off_factor = 0, off_each = 0;
  for (const auto& [x, y] : pairs) {
    off_factor += std::pow(x - factor * y, 2);
    off_each += std::pow(x - y - each, 2);
  }
  finding.culprit = off_each < off_factor ? Culprit::latency : Culprit::link;
  if (finding.culprit == Culprit::latency) finding.each = Seconds(each);
  else finding.factor = factor;
  return finding;
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
    for (const Part& part : tpot_.parts) {
      switch (part.cause) {
        case Cause::compute: compute(part); break;
        case Cause::waiting: waiting(part); break;
        case Cause::idle: add({Culprit::gaps}, part.difference()); break;
        case Cause::exposed:
          // What a late rank keeps from starting is no longer hidden either.
          if (overlap_lost && late_) add_late(part.difference());
          else if (overlap_lost) add({Culprit::overlap}, part.difference());
          else add(communication, part.difference());
          break;
        default: add({Culprit::other, std::string(name_of(part.cause))}, part.difference());
      }
    }
    return sorted();
  }

 private:
  void add(Finding finding, SimTime explains) {
    Finding& entry = findings_[{finding.culprit, finding.of}];
    const SimTime before = entry.explains;
    entry = std::move(finding);
    entry.explains = before + explains;
  }

  void add_late(SimTime explains) {
    add({late_->in_experts ? Culprit::hot_expert : Culprit::straggler,
         fmt::format("rank {}", late_->rank),
         {},
         late_->factor},
        explains);
  }

  // What the slow rank is slower by than others are belongs to it, the rest to the kernels.
  void compute(const Part& part) {
    SimTime left = part.difference();
    const bool on_it = late_ && break_down(a_).rank == late_->rank;
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
  std::map<std::pair<Culprit, std::string>, Finding> findings_;
};

}  // namespace

std::vector<Finding> diagnose(const Trace& a, const Trace& b, const Waterfall& tpot) {
  return Findings(a, b, tpot).run();
}

}  // namespace foretoken::explain
