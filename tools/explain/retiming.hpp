// The same run with ops that take longer or shorter: every event timed anew by what it had waited for.
//
//   posted = max over what came before (causes.hpp) of its end + the gap that was there
//   ended  = begun + factor x duration                                                 a compute op
//          = max over the sides that it needed of their posting + factor x duration    a communication
//
// Which op is waited for may change, and with it the critical path. What does not: how links are shared, the order in
// which blocks of an arrival set ran, and whose message of a dispatch ended last. With factors of 1 it is the run
// itself, to the picosecond.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/trace.hpp"
#include "core/units.hpp"

namespace foretoken::explain {

class Retiming {
 public:
  /// @param trace   says who waits for whom; is not kept
  /// @param group   [event] index into the factors
  /// @throws Error{invalid_input} if ops of the trace wait for one another in a circle
  /// @throws Error{internal} as step_windows()
  /// Memory: about 60 bytes per event, and 4 for everything that it waited for.
  Retiming(const Trace& trace, const std::vector<std::size_t>& group);

  /// The counted steps of the rank that is the slowest one then, from the last step_end of its warm-up to its last one.
  /// @param factors  [group] > 0
  [[nodiscard]] SimTime window(const std::vector<double>& factors) const;

 private:
  // An event's posting or its end.
  struct Moment {
    std::uint32_t causes_end = 0;  // of causes_, from the end of the moment before
    std::uint32_t group = 0;
    std::int64_t fixed = 0;   // picoseconds after the last cause
    std::int64_t scaled = 0;  // and these times the factor
  };
  // The step_ends that a rank's window lies between.
  struct Window {
    std::vector<std::uint32_t> begin;
    std::vector<std::uint32_t> end;
  };

  std::vector<Moment> moments_;        // causes before what they cause
  std::vector<std::uint32_t> causes_;  // indices into moments_
  std::vector<Window> windows_;        // by rank
};

}  // namespace foretoken::explain
