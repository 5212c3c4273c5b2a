#include "tests/runtime/agreement.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace foretoken::test {

std::vector<std::vector<double>> expected(const plan::Plan& plan, const ReferenceFaults& faults) {
  const plan::Scenario& scenario = plan.scenario;
  const std::int64_t last = scenario.measure.warmup_steps + scenario.measure.steps - 1;
  return reference_hidden_states(scenario.model, scenario.workload, plan.routing, scenario.routing.seed,
                                 last % scenario.routing.routed_steps, faults);
}

double difference(const runtime::RunResult& result, const std::vector<std::vector<double>>& reference) {
  double largest = 0;
  for (const auto& row : reference)
    for (const double value : row) largest = std::max(largest, std::abs(value));
  std::vector<int> seen(reference.size(), 0);
  double most = 0;
  for (const runtime::Activations& part : result.activations) {
    std::size_t at = 0;
    for (std::int64_t s = part.sequences.begin; s < part.sequences.end; ++s) {
      ++seen[static_cast<std::size_t>(s)];
      for (const double value : reference[static_cast<std::size_t>(s)]) {
        const double error = std::abs(static_cast<double>(part.hidden[at++]) - value);
        most = std::isfinite(error) ? std::max(most, error) : INFINITY;
      }
    }
  }
  for (const int times : seen)
    if (times == 0) return INFINITY;
  return most / largest;
}

}  // namespace foretoken::test
