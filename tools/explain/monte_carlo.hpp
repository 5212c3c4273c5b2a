// The interval of a prediction by draws: what the first-order one (model_errors.hpp) is held to.
//
// Each draw makes all ops of one row of the model errors longer or shorter by one factor, rows independently, and times
// the run anew (retiming.hpp), so that the critical path may be another one. A factor is log-normal, of median 1, as
// wide as the row says: with sigma such that
//
//   P(|1 / factor - 1| <= p90) = 90 %
#pragma once

#include <cstdint>

#include "core/trace.hpp"
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

/// @param trace  of a prediction; has all ranks and says who waits for whom
/// Cost: the trace's events times draws, a few nanoseconds each. Same arguments, same interval.
DrawnInterval draw_interval(const Trace& trace, const ModelErrors& errors, const Draws& draws);

}  // namespace foretoken::explain
