// The interval of a prediction by draws: what the first-order one (model_errors.hpp) is held to.
//
// Each draw makes all ops of one row of the model errors longer or shorter by one factor, rows independently, and asks
// what the run takes then, so that the critical path may be another one: the trace timed anew (retiming.hpp), or the
// whole run simulated again. A factor is log-normal, of median 1, as wide as the row says: with sigma such that
//
//   P(|1 / factor - 1| <= p90) = 90 %
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "core/calibration.hpp"
#include "core/trace.hpp"
#include "plan/machine/machine.hpp"
#include "plan/plan.hpp"
#include "sim/simulate.hpp"
#include "tools/explain/model_errors.hpp"

namespace foretoken::explain {

struct Draws {
  std::int64_t count = 0;  // >= kDrawsMin
  std::int64_t seed = 1;   // >= 0
};

inline constexpr std::int64_t kDrawsMin = 100;
inline constexpr std::int64_t kDrawsMax = 1'000'000;

/// Of the window of the counted steps over the predicted one: 1.02 is 2 % longer than predicted.
struct DrawnInterval {
  Draws draws;
  double median = 1;
  Span span;  // 5th and 95th percentile: the nearest rank from above
};

/// The standard deviation of log(measured / predicted) of a row. @param p90  in (0, 1)
double log_deviation(double p90);

/// The window of the counted steps with ops off by these factors. [row of the model errors], > 0
using WindowOf = std::function<SimTime(const std::vector<double>& factors)>;

/// Timed anew. @param trace  of a prediction; has all ranks and says who waits for whom; not kept
/// A call takes a few nanoseconds for each event.
WindowOf retimed(const Trace& trace, const ModelErrors& errors);
/// Simulated again: what shares links, in which order blocks arrive and what waits for what may all be otherwise. All
/// arguments are kept by reference.
WindowOf simulated(const plan::Plan& plan, const plan::Machine& machine, const Calibration& calibration,
                   const sim::SimulateOptions& options, const ModelErrors& errors);

/// Asks for one window per draw, and for the predicted one. Same arguments, same interval.
DrawnInterval draw_interval(const WindowOf& window, const ModelErrors& errors, const Draws& draws);

}  // namespace foretoken::explain
