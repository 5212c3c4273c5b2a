#include "sim/host_durations.hpp"

#include <algorithm>

#include "sim/cost/host_amounts.hpp"
#include "sim/op_duration.hpp"

namespace foretoken::sim {

std::int64_t routed_rows_expected(const plan::Plan& plan) {
  const plan::DeploymentSpec& deployment = plan.scenario.deployment;
  const std::int64_t choices = plan.scenario.workload.sequences * plan.scenario.model.top_k;
  const std::int64_t groups = std::max<std::int64_t>(1, deployment.ranks_per_stage() / deployment.ep);
  const std::int64_t of_group = choices / (groups * deployment.micro_batches * deployment.chunks);
  // A slice of every expert has the rows of all of them.
  const bool sharded = deployment.placement == plan::ExpertPlacement::sharded;
  return std::max<std::int64_t>(1, sharded ? of_group : of_group / deployment.ep);
}

HostDurations::HostDurations(const plan::Plan& plan, const HostCost& cost, plan::RowCounter& rows)
    : program_(plan.program), cost_(cost), rows_(rows) {
  const std::int64_t routed_rows = routed_rows_expected(plan);
  for (const plan::Role& role : program_.roles) {
    reuse_distances_.push_back(reuse_distances(role, routed_rows));
    fixed_.emplace_back(role.ops.size());
  }
}

Estimate HostDurations::of(RankId rank, OpId id, std::int64_t routed_step) {
  const auto role_index = static_cast<std::size_t>(program_.role_of_rank[rank.index()]);
  const plan::Role& role = program_.roles[role_index];
  const plan::Op& op = role.ops[id.index()];
  const plan::Extent* extent = extent_of(op);
  const bool routed = extent != nullptr && extent->kind == plan::Extent::Kind::routed;
  std::optional<Estimate>& known = fixed_[role_index][id.index()];
  if (!routed && known) return *known;

  std::vector<std::int64_t> rows;
  if (routed) rows = rows_.local_rows(rank, *extent, routed_step);
  const HostEstimate found = cost_.compute(role, op, rows, reuse_distances_[role_index][id.index()]);
  Estimate estimate{found.alone, found.provenance, 1.0};
  if (found.alone > Seconds(0)) estimate.crowding = ratio(found.crowded, found.alone);
  if (!routed) known = estimate;
  return estimate;
}

}  // namespace foretoken::sim
