// Steps that recur: a run that is back in a state in which it has been goes on as it went on from there.
//
// The state of a run at an instant at which nothing is under way in the network is where its streams are, and what is
// left of their compute ops: times of what has ended are past. The experts of a step s are those of s mod routed_steps.
// So two such states that differ by nothing but the time and a whole number of routed cycles have the same future,
// until the first stream of the later one has done its last step. What lies between need not be simulated.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "core/units.hpp"

namespace foretoken::sim {

/// Where a stream is.
struct StreamPlace {
  std::int32_t step = 0;
  std::int32_t position = 0;  // in the stream's list of ops: of the one to be taken up, or under way
  bool posted = false;        // that op has been posted
  SimTime left{-1};           // and will end so much later; -1: it waits for others, or is not posted
};

/// A run at an instant at which no message and no latency is under way.
struct RunState {
  SimTime time{0};
  std::vector<StreamPlace> streams;  // of all ranks
};

/// The run is in `state` after it has gone round a cycle of `steps` steps, each time `span` later.
struct Recurrence {
  RunState state;
  std::int64_t steps = 0;
  SimTime span{0};
};

class SteadyState {
 public:
  /// @param cycle  routed steps, > 0
  /// @param steps  that each stream does, warm-up included
  SteadyState(std::int64_t cycle, std::int64_t steps) : cycle_(cycle), steps_(steps) {}

  /// Whether the first stream has got on enough since the last state, by a part of a step of `ops` ops.
  [[nodiscard]] bool is_due(const StreamPlace& first, std::size_t ops) const;

  /// The run is in this state, later than in all others added.
  /// @return where it will be, without a stream having done its last step: at the last of the known states, some whole
  /// number of cycles later. Nothing if it is not known to recur, or if that is not ahead of now.
  std::optional<Recurrence> add(RunState state, std::size_t ops);

 private:
  [[nodiscard]] std::int64_t part_of(const StreamPlace& first, std::size_t ops) const;
  [[nodiscard]] std::optional<Recurrence> last_before_the_end(std::size_t recurring) const;

  std::int64_t cycle_;
  std::int64_t steps_;
  std::deque<RunState> states_;  // of the last cycle, in order of time
  std::int64_t last_part_ = -1;
};

}  // namespace foretoken::sim
