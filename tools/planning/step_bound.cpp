#include "tools/planning/step_bound.hpp"

#include <algorithm>
#include <map>
#include <optional>

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

Seconds least_step_time(const plan::Plan& plan, const plan::LayerSample& sample, const plan::Machine& machine,
                        const Calibration& calibration, const std::string& framework) {
  sim::AloneTimes alone(plan, machine, calibration, framework);
  const StepBound bound(plan, sample, alone);
  std::map<std::int64_t, std::pair<Seconds, RankId>> busiest;  // by stage
  for (std::int64_t r = 0; r < plan.program.ranks; ++r) {
    const RankId rank(static_cast<std::int32_t>(r));
    const Seconds computing = bound.computing(rank);
    const auto [known, is_new] = busiest.try_emplace(plan.placement.stage_of(rank), computing, rank);
    if (!is_new && computing > known->second.first) known->second = {computing, rank};
  }
  Seconds least(0);
  for (const auto& [stage, found] : busiest) least = std::max(least, bound.with_other_stages(found.second));
  return least;
}

}  // namespace foretoken::planning
