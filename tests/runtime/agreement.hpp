// How far a live run is from the reference.
#pragma once

#include <vector>

#include "plan/plan.hpp"
#include "runtime/run.hpp"
#include "tests/runtime/reference.hpp"

namespace foretoken::test {

/// fp32 has 6e-8 per operation; sums of some hundred terms through a dozen layers stay well below.
constexpr double kTolerance = 1e-4;

/// The reference's hidden states [sequence][column] at the end of a plan's last counted step.
std::vector<std::vector<double>> expected(const plan::Plan& plan, const ReferenceFaults& faults = {});

/// The largest difference between any rank's hidden states and the reference, over the reference's largest element.
/// Infinite if some sequence is on no rank.
double difference(const runtime::RunResult& result, const std::vector<std::vector<double>>& reference);

}  // namespace foretoken::test
