// What a serving benchmark stored: end-to-end figures, as the measured side of a comparison.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/json_reader.hpp"
#include "core/units.hpp"
#include "tools/explain/compare.hpp"

namespace foretoken::explain {

struct ServingResult {
  std::string file;
  std::string tool;                            // "vLLM", "SGLang", "AIPerf"
  std::optional<double> tps;                   // output tokens per second
  std::optional<Seconds> mean, p50, p95, p99;  // of TPOT
  std::optional<double> concurrency;           // requests in flight, where the file says it
  std::vector<std::string> definitions;        // where its figures are defined otherwise than ours
};

/// Whether the document is one of a serving benchmark, and not a result of ours.
bool is_serving(const JsonDocument& document);

/// vLLM `bench serve --save-result`, SGLang `bench_serving` (one line of its file), AIPerf
/// `profile_export_aiperf.json`.
/// @throws Error{invalid_input} if it has neither throughput nor TPOT, or a figure is out of range
ServingResult read_serving(const JsonDocument& document);

/// Figures that both sides have: A is the prediction.
std::vector<Figure> compare_with_serving(const StoredHeadline& a, const ServingResult& b);

}  // namespace foretoken::explain
