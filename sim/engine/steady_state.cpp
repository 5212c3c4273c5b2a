#include "sim/engine/steady_state.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace foretoken::sim {
namespace {

// Parts of a step in each of which one state is looked at: more find a recurrence earlier, and cost memory.
constexpr std::int64_t kPartsPerStep = 8;

bool recurs(const RunState& before, const RunState& now, std::int64_t steps) {
  return std::equal(before.streams.begin(), before.streams.end(), now.streams.begin(), now.streams.end(),
                    [&](const StreamPlace& a, const StreamPlace& b) {
                      return a.step + steps == b.step && a.position == b.position && a.posted == b.posted &&
                             a.left == b.left;
                    });
}

std::int64_t step_max(const RunState& state) {
  std::int64_t most = 0;
  for (const StreamPlace& stream : state.streams) most = std::max<std::int64_t>(most, stream.step);
  return most;
}

}  // namespace

std::int64_t SteadyState::part_of(const StreamPlace& first, std::size_t ops) const {
  return first.step * kPartsPerStep + first.position * kPartsPerStep / static_cast<std::int64_t>(ops);
}

bool SteadyState::is_due(const StreamPlace& first, std::size_t ops) const { return part_of(first, ops) > last_part_; }

std::optional<Recurrence> SteadyState::add(RunState state, std::size_t ops) {
  last_part_ = part_of(state.streams.front(), ops);
  const std::int64_t before = state.streams.front().step - cycle_;
  while (!states_.empty() && states_.front().streams.front().step < before) states_.pop_front();
  states_.push_back(std::move(state));
  for (std::size_t s = 0; s + 1 < states_.size() && states_[s].streams.front().step == before; ++s)
    if (recurs(states_[s], states_.back(), cycle_)) return last_before_the_end(s);
  return std::nullopt;
}

std::optional<Recurrence> SteadyState::last_before_the_end(std::size_t recurring) const {
  const SimTime now = states_.back().time;
  const SimTime span = now - states_[recurring].time;
  std::optional<Recurrence> last;
  for (std::size_t s = recurring; s + 1 < states_.size(); ++s) {
    const std::int64_t cycles = (steps_ - 1 - step_max(states_[s])) / cycle_;
    // A time that cannot be written is the simulation's to refuse.
    const std::int64_t room = std::numeric_limits<std::int64_t>::max() - states_[s].time.value();
    if (cycles < 1 || span.value() > room / cycles) continue;
    const SimTime time = states_[s].time + span * cycles;
    if (time <= now || (last && time <= last->state.time)) continue;
    last = {states_[s], cycle_, span};
    last->state.time = time;
    for (StreamPlace& stream : last->state.streams) stream.step += static_cast<std::int32_t>(cycles * cycle_);
  }
  return last;
}

}  // namespace foretoken::sim
