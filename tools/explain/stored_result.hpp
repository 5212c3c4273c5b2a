// A result as `foretoken simulate --out` and `foretoken run --out` store it, read back into one value.
//
// Members that are not needed here are not looked at: `foretoken schema result` may gain some without a new version.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "core/json_reader.hpp"
#include "core/metrics.hpp"
#include "core/trace.hpp"

namespace foretoken::explain {

/// What somebody else published for the scenario of a result.
struct PublishedEntry {
  std::string source;
  std::optional<double> tps;
  std::optional<Seconds> tpot;
};

/// The figures of a result and what they are of.
struct StoredHeadline {
  std::string file;  // as the user named it
  std::string scenario;
  std::string build;         // of the program that made it: "0.1.0 1a2b3c"; empty if not stored
  std::string topology;      // name
  std::string calibration;   // name; empty for a live run
  std::string communicator;  // "threads", "mpi"; empty on GPUs
  std::string clock;         // "simulated", "wall"
  std::string conditions;    // faults and launches, one after the other; empty: none
  std::string plan_hash;
  std::int64_t seed = 0;
  double tps = 0;
  Distribution tpot;
  Distribution step;
  std::optional<Seconds> cpu_step;  // CPU time of all ranks per counted step
  std::optional<double> overhead;   // of instrumentation: mean step time, instrumented / headline - 1
  std::optional<PublishedEntry> published;
};

struct StoredResult : StoredHeadline {
  nlohmann::json scenario_document;  // resolved_scenario
  Trace trace;                       // without outputs
  std::int32_t slowest_rank = 0;
};

/// Reads the figures alone; a result without a trace will do.
/// @throws Error{invalid_input} with file, place, what was found and what would be right: a list of several results,
///         another kind of file, a newer version, a figure that is missing, not positive or not finite
StoredHeadline read_headline(const JsonDocument& document);

/// Reads figures, scenario and trace.
/// @throws Error{invalid_input} as read_headline() and read_trace() do; also if there is no trace (it was stored
/// without
///         --out), or its slowest rank is not the one that the result names
StoredResult read_result(const JsonDocument& document);

}  // namespace foretoken::explain
