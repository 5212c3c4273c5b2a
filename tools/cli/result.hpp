// The result of a run of a plan, simulated or live: one value, as JSON and as text.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/breakdown.hpp"
#include "core/metrics.hpp"
#include "core/trace.hpp"
#include "plan/layer_sample.hpp"
#include "plan/program/wire_rows.hpp"
#include "tools/cli/load.hpp"
#include "tools/explain/layer_sampling.hpp"

namespace foretoken::cli {

struct LayerSampling {
  plan::LayerSample sample;
  explain::SampledRun run;
};

struct Result {
  std::string clock;
  std::string calibration;  // name; empty for a live run
  Metrics metrics;
  Breakdown breakdown;
  std::vector<std::string> assumed;              // kinds of ops whose durations rest on assumptions
  std::string communicator;                      // of a simulated host: whose messages; a live run says it itself
  std::optional<LayerSampling> sampling;         // if metrics and breakdown are scaled to all layers from some
  double accuracy = 0;                           // that links were shared to; 0: exactly
  double sharing_error = 0;                      // the largest that it made
  std::optional<plan::ExchangeVolume> exchange;  // where the loaded plan does not know it: a model's own router decided
  std::optional<Seconds> cpu_step;      // CPU time of all ranks together per counted step, where ranks are threads
  std::optional<std::int64_t> steps{};  // counted, where they are fewer than the scenario's: of an interrupted run

  /// A live run that was interrupted may have timed no op.
  [[nodiscard]] bool has_breakdown() const { return breakdown.rank >= 0; }
};

/// @param trace  with its events; a live run's metrics are those of another run, which its caller puts in
Result make_result(const Trace& trace, std::string calibration);

/// Metrics and breakdown become those of all layers.
/// @param trace  of a plan with the sample's layers alone
void scale_to_all_layers(Result& result, const Trace& trace, const plan::Plan& plan, plan::LayerSample sample);

/// The documented form, `foretoken schema result`. Without the trace.
nlohmann::ordered_json result_json(const Loaded& loaded, const std::vector<std::string>& overrides,
                                   const Result& result);

/// The trace as columns, for --out: of all ranks up to 64, else of the slowest rank and the first rank of each role.
nlohmann::ordered_json trace_json(const Trace& trace, const Breakdown& breakdown);

/// For people: headline, published figures beside it, where the time goes, what it rests on.
std::string result_text(const Loaded& loaded, const Result& result);

/// One line per result, under a head line: `head` says which.
std::string brief_text(const Loaded& loaded, const Result& result, bool head);

}  // namespace foretoken::cli
