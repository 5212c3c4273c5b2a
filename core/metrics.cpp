#include "core/metrics.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "core/error.hpp"

namespace foretoken {

Distribution distribution_of(std::vector<std::pair<Seconds, double>> weighted) {
  std::sort(weighted.begin(), weighted.end());
  double whole = 0;
  double sum = 0;
  for (const auto& [value, weight] : weighted) {
    FORETOKEN_CHECK(weight >= 0, "a weight is not negative");
    whole += weight;
    sum += value.value() * weight;
  }
  FORETOKEN_CHECK(whole > 0, "a distribution needs a sample with weight");

  const auto percentile = [&](double share) {
    double below = 0;
    for (const auto& [value, weight] : weighted) {
      below += weight;
      // A sum of equal weights may miss its share by a rounding error.
      if (weight > 0 && below >= share * whole * (1 - 1e-12)) return value;
    }
    return weighted.back().first;
  };
  return {Seconds(sum / whole), percentile(0.50), percentile(0.95), percentile(0.99)};
}

Metrics compute_metrics(const Trace& trace) {
  FORETOKEN_CHECK(trace.warmup_steps >= 1 && trace.steps >= 1, "metrics need a warm-up step and a counted step");
  const std::int64_t steps = trace.warmup_steps + trace.steps;

  // [step], each sorted by batch: the same batches in every step.
  std::vector<std::vector<TokenOutput>> by_step(static_cast<std::size_t>(steps));
  for (const TokenOutput& output : trace.outputs) {
    FORETOKEN_CHECK(output.step >= 0 && output.step < steps && output.sequences > 0, "an output outside the run");
    by_step[static_cast<std::size_t>(output.step)].push_back(output);
  }
  for (auto& outputs : by_step) {
    std::sort(outputs.begin(), outputs.end(), [](const auto& a, const auto& b) { return a.batch < b.batch; });
    const bool same =
        std::equal(outputs.begin(), outputs.end(), by_step.front().begin(), by_step.front().end(),
                   [](const auto& a, const auto& b) { return a.batch == b.batch && a.sequences == b.sequences; });
    FORETOKEN_CHECK(!outputs.empty() && same, "every step needs the outputs of the same batches");
  }
  const auto last_of = [&](std::int64_t step) {
    const auto& outputs = by_step[static_cast<std::size_t>(step)];
    return std::max_element(outputs.begin(), outputs.end(),
                            [](const auto& a, const auto& b) { return a.time < b.time; })
        ->time;
  };

  Metrics metrics;
  // Replicas that never meet run at their own pace, so each batch has its own window: from its last token before the
  // counted steps to its last one in them. Its tokens come at the rate sequences x steps / window, and the sum over
  // batches is TPS. A token's weight in the distribution of TPOT is that of its batch's rate: tokens as they come.
  std::vector<double> share(by_step.front().size());
  for (std::size_t b = 0; b < share.size(); ++b) {
    const Seconds window = to_seconds(by_step[static_cast<std::size_t>(steps - 1)][b].time -
                                      by_step[static_cast<std::size_t>(trace.warmup_steps - 1)][b].time);
    FORETOKEN_CHECK(window > Seconds(0), "the counted steps took no time");
    share[b] = static_cast<double>(by_step.front()[b].sequences) / window.value();
    metrics.tps += share[b] * static_cast<double>(trace.steps);
  }
  std::vector<std::pair<Seconds, double>> between_tokens;
  std::vector<std::pair<Seconds, double>> step_times;
  for (std::int64_t step = trace.warmup_steps; step < steps; ++step) {
    const auto& before = by_step[static_cast<std::size_t>(step - 1)];
    const auto& now = by_step[static_cast<std::size_t>(step)];
    for (std::size_t b = 0; b < now.size(); ++b) {
      between_tokens.emplace_back(to_seconds(now[b].time - before[b].time), share[b]);
      metrics.tokens += now[b].sequences;
    }
    step_times.emplace_back(to_seconds(last_of(step) - last_of(step - 1)), 1.0);
  }
  for (const TokenOutput& output : by_step.front()) metrics.sequences += static_cast<double>(output.sequences);
  metrics.tpot = distribution_of(std::move(between_tokens));
  metrics.step = distribution_of(std::move(step_times));
  return metrics;
}

}  // namespace foretoken
