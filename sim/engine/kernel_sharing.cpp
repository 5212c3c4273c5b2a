#include "sim/engine/kernel_sharing.hpp"

#include <algorithm>
#include <set>

namespace foretoken::sim {

namespace {

// A time this much above the one alone rests on what slowed it down; below, it is hardly more uncertain than that.
constexpr double kSlowdownMatters = 1.05;

}  // namespace

bool overlaps(const plan::Role& role) {
  std::set<plan::Stream> computing;
  std::set<plan::Stream> communicating;
  for (const plan::Op& op : role.ops) {
    if (is_communication(op.kind)) communicating.insert(op.stream);
    else if (!plan::is_mark(op.kind)) computing.insert(op.stream);
  }
  const bool one_stream = computing.size() == 1 && communicating == computing;
  return !computing.empty() && !communicating.empty() && !one_stream;
}

KernelSharing::KernelSharing(const plan::Program& program, const KernelInterference* interference,
                             Communicator& communicator)
    : program_(program), interference_(interference), communicator_(communicator) {
  if (interference == nullptr) return;
  for (const plan::Role& role : program.roles) overlaps_.push_back(overlaps(role) ? 1 : 0);
  states_.resize(static_cast<std::size_t>(program.ranks));
}

void KernelSharing::hold(const Execution& execution, int sign) {
  const std::int64_t sms = interference_->sms_of(execution.rank, execution.op);
  if (sms == 0) return;
  State& state = states_[execution.rank.index()];
  state.sms_held += sign * sms;
  if (!state.changed) changed_.push_back(execution.rank);
  state.changed = true;
}

void KernelSharing::settle(SimTime now) {
  for (const RankId rank : changed_) {
    State& state = states_[rank.index()];
    state.changed = false;
    for (Running& op : state.running) {
      const double speed = interference_->speed_of(rank, op.execution.op, op.execution.step, state.sms_held);
      if (speed == op.speed) continue;
      op.speed = speed;
      communicator_.change_speed(op.tag, op.estimate, speed, now);
    }
  }
  changed_.clear();
}

void KernelSharing::start_compute(const Execution& execution, const Estimate& estimate, SimTime now) {
  State& state = states_[execution.rank.index()];
  const double speed =
      state.sms_held == 0 ? 1.0 : interference_->speed_of(execution.rank, execution.op, execution.step, state.sms_held);
  const std::int32_t tag = communicator_.start_compute(execution, estimate, speed, now);
  state.running.push_back({execution, estimate, speed, tag});
}

Provenance KernelSharing::compute_ended(const Execution& execution, SimTime begun, SimTime now, Provenance estimated) {
  auto& running = states_[execution.rank.index()].running;
  const auto op =
      std::find_if(running.begin(), running.end(), [&](const Running& other) { return other.execution == execution; });
  if (op == running.end()) return estimated;
  const double alone = op->estimate.time.value();
  running.erase(op);
  const bool slowed = to_seconds(now - begun).value() > alone * kSlowdownMatters;
  return slowed ? worst(estimated, interference_->provenance) : estimated;
}

}  // namespace foretoken::sim
