#include "tools/explain/layer_sampling.hpp"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>

#include "core/error.hpp"
#include "tools/explain/critical_path.hpp"

namespace foretoken::explain {
namespace {

// Which ranks meet, directly or through others: each rank's is the lowest of those it meets.
std::vector<std::int32_t> meeting_ranks(const Trace& trace) {
  std::vector<std::int32_t> lower(static_cast<std::size_t>(trace.ranks));
  std::iota(lower.begin(), lower.end(), 0);
  const auto root = [&](std::int32_t rank) {
    while (lower[static_cast<std::size_t>(rank)] != rank) {
      std::int32_t& next = lower[static_cast<std::size_t>(rank)];
      rank = next = lower[static_cast<std::size_t>(next)];
    }
    return rank;
  };
  const auto join = [&](std::int32_t a, std::int64_t b) {
    if (b < 0 || b >= trace.ranks) return;
    const std::int32_t one = root(a);
    const std::int32_t other = root(static_cast<std::int32_t>(b));
    lower[static_cast<std::size_t>(std::max(one, other))] = std::min(one, other);
  };
  for (std::int32_t rank = 0; rank < trace.ranks; ++rank) {
    for (const TraceOp& op :
         trace.roles[static_cast<std::size_t>(trace.role_of_rank[static_cast<std::size_t>(rank)])]) {
      if (!op.meets) continue;
      const TraceMeeting& meets = *op.meets;
      if (meets.peer_offset != 0) join(rank, rank + meets.peer_offset);
      else if (rank / meets.stride % meets.size + 1 < meets.size) join(rank, rank + meets.stride);
    }
  }
  for (std::int32_t rank = 0; rank < trace.ranks; ++rank) lower[static_cast<std::size_t>(rank)] = root(rank);
  return lower;
}

/// How many ops of all layers an op of the sampled ones stands for.
class OpWeights {
 public:
  explicit OpWeights(const plan::LayerSample& sample) : sample_(sample) {
    for (const plan::LayerStratum& stratum : sample.strata) {
      const auto [stage, added] =
          stages_.try_emplace(stratum.stage, Stage{stratum.sampled.front(), stratum.weight(), 0});
      stage->second.layers += static_cast<double>(stratum.layers.size());
    }
  }

  /// An attention's norm adds to the residual what the layer before has left. The first of a stage does not.
  [[nodiscard]] static bool is_between_layers(const TraceOp& op) { return op.name.ends_with(".attention_norm"); }

  [[nodiscard]] double of(const TraceOp& op) const {
    if (op.layer < 0) return 1;
    const plan::LayerStratum& stratum = sample_.stratum_of(op.layer);
    if (!is_between_layers(op)) return stratum.weight();
    // So it stands for itself, and the others of its stage for all that remain.
    const Stage& stage = stages_.at(stratum.stage);
    if (stage.layers == stage.first_weight) return stratum.weight();  // there is no other
    if (op.layer == stage.first) return 1;
    return stratum.weight() * (stage.layers - 1) / (stage.layers - stage.first_weight);
  }

 private:
  struct Stage {
    std::int64_t first = 0;  // sampled layer
    double first_weight = 1;
    double layers = 0;
  };
  const plan::LayerSample& sample_;
  std::map<std::int64_t, Stage> stages_;
};

/// Simulated time -> time with all layers: along a critical path, as much slower as its ops stand for others.
class Stretch {
 public:
  Stretch(const CriticalPath& path, const Trace& trace, const OpWeights& weights) {
    double stretched = static_cast<double>(path.begin.value());
    for (const PathSegment& segment : path.segments) {
      const double slope = weights.of(trace.op_of(segment.event));
      pieces_.push_back({segment.begin, stretched, slope});
      stretched += slope * static_cast<double>(segment.time().value());
    }
    pieces_.push_back({path.end, stretched, 1.0});
  }

  [[nodiscard]] SimTime at(SimTime time) const {
    auto piece = std::upper_bound(pieces_.begin(), pieces_.end(), time,
                                  [](SimTime value, const Piece& other) { return value < other.begin; });
    if (piece == pieces_.begin()) return time;
    --piece;
    const double after = static_cast<double>((time - piece->begin).value());
    return SimTime(std::llround(piece->stretched + piece->slope * after));
  }

 private:
  struct Piece {
    SimTime begin;
    double stretched;  // of begin
    double slope;      // from there on
  };
  std::vector<Piece> pieces_;
};

// Ranks that meet, and what the critical path to the last of them says.
struct MeetingRanks {
  StepWindow slowest;
  CriticalPath path;
  std::optional<Stretch> stretch;
  double weight = 0;  // what mean TPOT grows by if their steps do
};

void stretch_outputs(Trace& trace, const plan::Plan& plan, const std::vector<std::int32_t>& lowest,
                     const std::map<std::int32_t, MeetingRanks>& meetings) {
  const plan::DeploymentSpec& deployment = plan.scenario.deployment;
  const auto of_output = [&](const TokenOutput& output) {
    const std::int64_t replica = output.batch / deployment.micro_batches;
    return lowest[static_cast<std::size_t>(((deployment.stages - 1) * deployment.dp + replica) * deployment.tp)];
  };
  // All that come out of a step of ranks that meet are late by the same: how ranks are apart at a step's end does not
  // grow with the number of layers before it.
  std::map<std::pair<std::int32_t, std::int64_t>, SimTime> last;
  for (const TokenOutput& output : trace.outputs) {
    SimTime& time = last.try_emplace({of_output(output), output.step}, output.time).first->second;
    time = std::max(time, output.time);
  }
  for (TokenOutput& output : trace.outputs) {
    if (output.step < trace.warmup_steps) continue;
    const std::int32_t lowest_rank = of_output(output);
    const SimTime end = last.at({lowest_rank, output.step});
    output.time += meetings.at(lowest_rank).stretch->at(end) - end;
  }
}

// Of one rank, whose trace needs nobody else's.
Breakdown stretched_breakdown(const Trace& trace, std::int32_t rank, const Stretch& stretch) {
  Trace one;
  one.clock = trace.clock;
  one.ranks = trace.ranks;
  one.warmup_steps = trace.warmup_steps;
  one.steps = trace.steps;
  one.roles = trace.roles;
  one.role_of_rank = trace.role_of_rank;
  for (std::size_t e = 0; e < trace.size(); ++e) {
    if (trace.rank[e] != rank) continue;
    one.rank.push_back(rank);
    one.op.push_back(trace.op[e]);
    one.step.push_back(trace.step[e]);
    one.posted.push_back(stretch.at(trace.posted[e]));
    one.begun.push_back(stretch.at(trace.begun[e]));
    one.ended.push_back(stretch.at(trace.ended[e]));
    one.provenance.push_back(trace.provenance[e]);
  }
  return break_down(one);
}

// d(mean TPOT) / d(step time of these ranks). With S sequences in all, s_b of them in batch b, whose steps take t_b:
//
//   TPOT = S / sum(s_b / t_b)     dTPOT / dt_b = TPOT^2 / S x s_b / t_b^2
void set_weights(const Trace& stretched, const Metrics& metrics, const plan::Plan& plan,
                 const std::vector<std::int32_t>& lowest, std::map<std::int32_t, MeetingRanks>& meetings) {
  const plan::DeploymentSpec& deployment = plan.scenario.deployment;
  std::map<std::int64_t, std::pair<SimTime, SimTime>> windows;  // of batches
  for (const TokenOutput& output : stretched.outputs) {
    if (output.step == stretched.warmup_steps - 1) windows[output.batch].first = output.time;
    if (output.step == stretched.warmup_steps + stretched.steps - 1) windows[output.batch].second = output.time;
  }
  for (const TokenOutput& output : stretched.outputs) {
    if (output.step != stretched.warmup_steps - 1) continue;
    const auto& [begin, end] = windows.at(output.batch);
    const double pace = ratio(metrics.tpot.mean, to_seconds(end - begin) / static_cast<double>(stretched.steps));
    const std::int64_t replica = output.batch / deployment.micro_batches;
    const std::int64_t rank = ((deployment.stages - 1) * deployment.dp + replica) * deployment.tp;
    meetings.at(lowest[static_cast<std::size_t>(rank)]).weight +=
        pace * pace * static_cast<double>(output.sequences) / metrics.sequences;
  }
}

// Fills strata, outside and error.
void add_times(const Trace& trace, const plan::LayerSample& sample, const OpWeights& weights,
               const std::map<std::int32_t, MeetingRanks>& meetings, SampledRun& run) {
  std::map<std::int32_t, Seconds> of_layer;
  const auto steps = static_cast<double>(trace.steps);
  for (const auto& [rank, meeting] : meetings) {
    for (const PathSegment& segment : meeting.path.segments) {
      const TraceOp& op = trace.op_of(segment.event);
      const Seconds time = to_seconds(segment.time()) * (meeting.weight / steps);
      if (op.layer >= 0 && !OpWeights::is_between_layers(op)) of_layer[op.layer] += time;
      else run.outside += time * weights.of(op);
    }
  }

  double variance = 0;
  double variance_of_variance = 0;  // of Welch and Satterthwaite
  for (const plan::LayerStratum& stratum : sample.strata) {
    StratumTimes times;
    const auto sampled = static_cast<double>(stratum.sampled.size());
    for (const std::int64_t layer : stratum.sampled) {
      times.times.push_back(of_layer[static_cast<std::int32_t>(layer)]);
      times.mean += times.times.back() / sampled;
    }
    double squares = 0;
    for (const Seconds time : times.times) squares += std::pow((time - times.mean).value(), 2);
    if (stratum.sampled.size() > 1) times.deviation = Seconds(std::sqrt(squares / (sampled - 1)));
    if (!stratum.dense && stratum.sampled.size() > 1) {
      const auto layers = static_cast<double>(stratum.layers.size());
      const double own = layers * (layers - sampled) / sampled * std::pow(times.deviation.value(), 2);
      variance += own;
      variance_of_variance += own * own / (sampled - 1);
    }
    run.strata.push_back(std::move(times));
  }
  if (variance <= 0) return;
  const boost::math::students_t student(variance * variance / variance_of_variance);
  run.error = Seconds(boost::math::quantile(student, 0.5 + kSamplingConfidence / 2) * std::sqrt(variance));
}

}  // namespace

std::pair<Seconds, Seconds> SampledRun::tpot() const {
  return {std::max(metrics.tpot.mean - error, std::min(outside, metrics.tpot.mean)), metrics.tpot.mean + error};
}

std::pair<double, double> SampledRun::tps() const {
  const auto [low, high] = tpot();
  return {metrics.sequences / high.value(), metrics.sequences / low.value()};
}

SampledRun scale_to_all_layers(const Trace& trace, const plan::Plan& plan, const plan::LayerSample& sample) {
  const std::vector<std::int32_t> lowest = meeting_ranks(trace);
  std::map<std::int32_t, MeetingRanks> meetings;  // by lowest rank
  for (const auto& [rank, window] : step_windows(trace)) {
    StepWindow& slowest = meetings[lowest[static_cast<std::size_t>(rank)]].slowest;
    if (window.end > slowest.end) slowest = window;
  }
  const OpWeights weights(sample);
  const CriticalPaths paths(trace);
  const MeetingRanks* slowest = nullptr;
  SimTime end(-1);
  for (auto& [rank, meeting] : meetings) {
    meeting.path = paths.to(meeting.slowest);
    meeting.stretch.emplace(meeting.path, trace, weights);
    const SimTime own = meeting.stretch->at(meeting.slowest.end);
    if (own <= end) continue;
    end = own;
    slowest = &meeting;
  }
  FORETOKEN_CHECK(slowest != nullptr, "a run has ranks that end steps");

  Trace stretched;  // as far as metrics need it
  stretched.warmup_steps = trace.warmup_steps;
  stretched.steps = trace.steps;
  stretched.outputs = trace.outputs;
  stretch_outputs(stretched, plan, lowest, meetings);

  SampledRun run;
  run.metrics = compute_metrics(stretched);
  run.breakdown = stretched_breakdown(trace, slowest->slowest.rank, *slowest->stretch);
  set_weights(stretched, run.metrics, plan, lowest, meetings);
  add_times(trace, sample, weights, meetings, run);
  return run;
}

}  // namespace foretoken::explain
