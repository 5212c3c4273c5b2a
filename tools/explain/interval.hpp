// Whether two figures differ by more than a prediction may be off: its 90 % interval, and where the other side lies.
//
// A's interval is that of model_errors.hpp, as in the audit: TPOT as uncertain as the ops of A's critical path. B's is
// what its own steps leave open, if it was measured step by step:
//
//   mean         mean +- Student's t (95 %, steps - 1) x s / sqrt(steps)
//   percentile   from order statistic l to u, where P(Bin(steps, p) < l) and P(Bin(steps, p) >= u) are at most 5 %
//
// Steps are taken to be independent of each other. A p99 has an upper end from 299 steps on.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "tools/explain/compare.hpp"
#include "tools/explain/model_errors.hpp"

namespace foretoken::explain {

/// What a group of ops adds to the relative error of TPOT: share of the critical path x p90.
struct ErrorPart {
  std::size_t row = 0;  // of the model errors
  double error = 0;     // >= 0
};

/// What a row is of: "grouped_gemm extrapolated", "gemm/grouped_gemm measured/interpolated", "other ops".
std::string name_of(const ModelError& row);

/// [provenance] share of a critical path, and so of TPOT, that rests on it; what is left of 1 is gaps.
std::array<double, kProvenanceNames.size()> provenance_shares(const CriticalPath& path, const Trace& trace);

/// How far A may be off.
struct Uncertainty {
  double relative = 0;           // of TPOT, at 90 %
  bool of_ratio = false;         // of A / B: both are predictions, and what they rest on alike cancels
  std::vector<ErrorPart> parts;  // largest first; their squares add up to that of `relative`
};

/// @param path  of a prediction, whose trace it is
Uncertainty uncertainty_of(const CriticalPath& path, const Trace& trace, const ModelErrors& errors);
/// @param a  a prediction whose trace has all ranks and says who waits for whom
/// @param b  another prediction with the same model errors, or nothing
Uncertainty uncertainty_of(const Trace& a, const Trace* b, const ModelErrors& errors);

/// Gives TPS, TPOT and step time their intervals and verdicts; other figures have none.
/// @param measured  trace of B, if it was measured; nothing: B's figures are taken as they are
void judge(std::vector<Figure>& figures, const Uncertainty& uncertainty, const Trace* measured);

/// Of a rate, from that of the time: the ends turned round; from 0 on there is no upper one.
Span inverse(const Span& span);

/// The interval at 90 % of a mean, over it: {0.98, 1.02}. Of a single sample: from 0 without end.
/// @param samples  not empty, > 0
Span spread_of_mean(const std::vector<double>& samples);

/// The interval at 90 % of a percentile, over the sample's own. @param p in (0, 1)
/// Example: p50 of 8 samples: from the second smallest to the seventh, over the fourth.
Span spread_of_percentile(std::vector<double> samples, double p);

}  // namespace foretoken::explain
