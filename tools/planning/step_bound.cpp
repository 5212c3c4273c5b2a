#include "tools/planning/step_bound.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "sim/alone_times.hpp"

namespace foretoken::planning {
namespace {

class StepBound {
 public:
  StepBound(const plan::Plan& plan, const plan::LayerSample& sample, sim::AloneTimes& alone)
      : plan_(plan), sample_(sample), alone_(alone) {}

  [[nodiscard]] Seconds computing(RankId rank) const {
    Seconds sum(0);
    const auto& ops = plan_.program.role_of(rank).ops;
    for (std::size_t o = 0; o < ops.size(); ++o)
      if (!plan::is_communication(ops[o].kind)) sum += weighted(rank, OpId(o));
    return sum;
  }

  /// Of the stream that takes longest. @param micro_batch  this one alone; nothing: all
  [[nodiscard]] Seconds longest_stream(RankId rank, std::optional<std::int64_t> micro_batch = std::nullopt) const {
    std::map<plan::Stream, Seconds> streams;
    const auto& ops = plan_.program.role_of(rank).ops;
    for (std::size_t o = 0; o < ops.size(); ++o)
      if (!micro_batch || ops[o].micro_batch == *micro_batch) streams[ops[o].stream] += weighted(rank, OpId(o));
    Seconds longest(0);
    for (const auto& [stream, time] : streams) longest = std::max(longest, time);
    return longest;
  }

  [[nodiscard]] Seconds shortest_micro_batch(RankId rank) const {
    Seconds shortest = longest_stream(rank, 0);
    for (std::int64_t m = 1; m < plan_.scenario.deployment.micro_batches; ++m)
      shortest = std::min(shortest, longest_stream(rank, m));
    return shortest;
  }

  /// What the rank's stage needs, and the others before and after it.
  [[nodiscard]] Seconds with_other_stages(RankId rank) const {
    Seconds sum = longest_stream(rank);
    const plan::DeploymentSpec& deployment = plan_.scenario.deployment;
    if (deployment.schedule != plan::PipelineSchedule::flush) return sum;
    const std::int64_t own = plan_.placement.stage_of(rank);
    for (std::int64_t stage = 0; stage < deployment.stages; ++stage) {
      if (stage == own) continue;
      const RankId there(static_cast<std::int32_t>(rank.value() + (stage - own) * deployment.ranks_per_stage()));
      sum += shortest_micro_batch(there);
    }
    return sum;
  }

 private:
  [[nodiscard]] Seconds weighted(RankId rank, OpId op) const {
    const std::int16_t layer = plan_.program.role_of(rank).ops[op.index()].layer;
    return alone_.of(rank, op) * (layer < 0 ? 1 : sample_.stratum_of(layer).weight());
  }

  const plan::Plan& plan_;
  const plan::LayerSample& sample_;
  sim::AloneTimes& alone_;
};

}  // namespace

Seconds least_tpot(const plan::Plan& plan, const plan::LayerSample& sample, const plan::Machine& machine,
                   const Calibration& calibration, const std::string& framework) {
  sim::AloneTimes alone(plan, machine, calibration, framework);
  const StepBound bound(plan, sample, alone);
  const plan::DeploymentSpec& deployment = plan.scenario.deployment;
  const std::int64_t group_size = std::max(deployment.tp, deployment.ep);
  std::map<std::pair<std::int64_t, std::int64_t>, std::pair<Seconds, RankId>> busiest;  // by group and stage
  for (std::int64_t r = 0; r < plan.program.ranks; ++r) {
    const RankId rank(static_cast<std::int32_t>(r));
    const Seconds computing = bound.computing(rank);
    const std::pair place{r % deployment.ranks_per_stage() / group_size, plan.placement.stage_of(rank)};
    const auto [known, is_new] = busiest.try_emplace(place, computing, rank);
    if (!is_new && computing > known->second.first) known->second = {computing, rank};
  }
  std::map<std::int64_t, Seconds> steps;  // of a group, at least
  for (const auto& [place, found] : busiest)
    steps[place.first] = std::max(steps[place.first], bound.with_other_stages(found.second));
  double sequences = 0;
  double pace = 0;  // sequences per second
  for (const auto& [group, step] : steps) {
    double own = 0;
    const std::int64_t replicas = group_size / deployment.tp;
    for (std::int64_t replica = group * replicas; replica < (group + 1) * replicas; ++replica)
      for (std::int64_t m = 0; m < deployment.micro_batches; ++m)
        own += static_cast<double>(plan.placement.sequences(replica, m).size());
    sequences += own;
    pace += own / step.value();
  }
  return Seconds(sequences / pace);
}

}  // namespace foretoken::planning
