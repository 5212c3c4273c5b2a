#include "sim/engine/launches.hpp"

#include <algorithm>

namespace foretoken::sim {

Launches::Launches(const plan::Program& program, const LaunchModel& model)
    : model_(model),
      program_(program),
      launch_(to_sim_time(model.costs.launch)),
      gap_(to_sim_time(model.costs.gap)),
      hosts_(static_cast<std::size_t>(program.ranks)) {
  for (const plan::Role& role : program.roles) {
    std::vector<std::int32_t>& number = number_.emplace_back();
    std::int32_t launched = 0;
    std::int64_t kernels = 0;
    for (const plan::Op& op : role.ops) {
      const bool mark = plan::is_mark(op.kind);
      if (!mark) launched = model.one_by_one ? launched + 1 : 1;
      number.push_back(mark ? 0 : launched);
      kernels += mark ? 0 : 1;
    }
    kernels_.push_back(kernels);
    per_step_.push_back(launched);
  }
}

std::optional<SimTime> Launches::posted(const Execution& execution, SimTime ready) const {
  const auto role = static_cast<std::size_t>(program_.role_of_rank[execution.rank.index()]);
  const std::int32_t number = number_[role][execution.op.index()];
  if (number == 0) return ready;
  SimTime begun = launch_ * (per_step_[role] * execution.step);
  if (model_.host_waits) {
    const Host& host = hosts_[execution.rank.index()];
    if (host.step < execution.step) return std::nullopt;
    begun = host.begun;
  }
  return std::max(ready + gap_, begun + launch_ * number);
}

bool Launches::ended(const Execution& execution, SimTime now) {
  if (!model_.host_waits) return false;
  Host& host = hosts_[execution.rank.index()];
  const auto role = static_cast<std::size_t>(program_.role_of_rank[execution.rank.index()]);
  // Marks of the next step may end before this one's last kernel has: they are of no launch, and not counted.
  if (number_[role][execution.op.index()] == 0) return false;
  if (++host.ended < kernels_[role]) return false;
  host.ended = 0;
  ++host.step;
  host.begun = std::max(now, host.begun + launch_ * per_step_[role]);
  return true;
}

}  // namespace foretoken::sim
