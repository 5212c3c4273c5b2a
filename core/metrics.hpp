// TPS and TPOT: one definition for simulated and live runs.
//
//   TPOT of a sequence at a step = time between its token of that step and its token of the step before
//   step time                    = time between the last token of one step and the last token of the step before
//   TPS                          = sum over batches of (tokens of its counted steps / the time they took it)
//   mean TPOT                    = mean over tokens as they come: a batch that is twice as fast gives twice as many
//
// A batch is a group of sequences that step together (a replica's micro-batch). Where all batches keep the same pace,
// TPS is all tokens of the counted steps over their time. By Little's law TPS x mean TPOT = sequences decoding,
// exactly.
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
