// TPS and TPOT: one definition for simulated and live runs.
//
//   TPOT of a sequence at a step = time between its token of that step and its token of the step before
//   step time                    = time between the last token of one step and the last token of the step before
//   TPS                          = tokens of the counted steps / sum of the counted step times
//
// By Little's law TPS x mean TPOT = sequences decoding, when the counted window is periodic.
#pragma once

#include <cstdint>
#include <vector>

#include "core/trace.hpp"
#include "core/units.hpp"

namespace foretoken {

/// Of a weighted sample; percentiles are the smallest value with at least that share of the weight at or below it.
struct Distribution {
  Seconds mean;
  Seconds p50;
  Seconds p95;
  Seconds p99;
};

struct Metrics {
  double tps = 0;           // output tokens per second, all sequences
  Distribution tpot;        // weighted by sequences
  Distribution step;        // of the counted steps
  double sequences = 0;     // decoding at once
  std::int64_t tokens = 0;  // in the counted steps
};

/// @param trace outputs of every step from 0 to warmup_steps + steps - 1; warmup_steps >= 1
/// @throws Error{internal} if outputs are missing or steps are empty
Metrics compute_metrics(const Trace& trace);

/// @param values any order; @param weights same size, >= 0, not all zero
Distribution distribution_of(std::vector<std::pair<Seconds, double>> weighted);

}  // namespace foretoken
