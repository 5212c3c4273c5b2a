// What a scenario file says, as one valid value: model, workload, routing, deployment, cluster, faults, execution,
// measure, published.
//
// parse_scenario() is the only reader of the format; its JSON Schema is scenarios/scenario.schema.json. Once a Scenario
// exists every number in it is within its limits (plan/scenario/limits.hpp) and every combination is possible, so
// nothing below re-checks it. What the machine can hold is checked later, in plan/placement and plan/memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/collective_algorithm.hpp"
#include "core/json_reader.hpp"
#include "core/units.hpp"
#include "plan/scenario/model_spec.hpp"

namespace foretoken::plan {

/// One decode step: every sequence, at the same context length, gets one token.
struct WorkloadSpec {
  std::int64_t sequences = 0;
  std::int64_t context = 0;  // tokens already in the KV cache; the step's own token is attended too
};

struct RoutingRecord;
struct ExpertCounts;

enum class RoutingKind : std::uint8_t {
  uniform,
  zipf,
  hot_set,   // a few experts share so much of the visits, the others the rest
  counts,    // as often as a serving framework has counted
  model,     // the model's own router decides, as the live run computes it; unknown beforehand
  recorded,  // what a run with `model` wrote down
};

/// Who goes to which expert: independent of ranks and machines.
struct RoutingSpec {
  RoutingKind kind = RoutingKind::uniform;
  double exponent = 0;            // Zipf: expert of popularity rank r has weight 1/(r+1)^exponent
  std::uint64_t seed = 1;         // of the draw, and of the numbers of the model
  std::int64_t routed_steps = 1;  // distinct routed steps that cycle
  std::shared_ptr<const RoutingRecord> record = nullptr;  // of `recorded`: plan/routing/routing_record.hpp
  std::int64_t hot = 0;                                   // hot set: experts in it
  double share = 0;                                       // hot set: of all visits
  double drift = 0;  // Zipf, hot set: share of the experts that have another's popularity in the next routed step
  std::shared_ptr<const ExpertCounts> counts = nullptr;  // of `counts`: plan/routing/expert_counts.hpp
};

// When a replica's next step starts: once all its micro-batches are out (flush), or each once its own tokens are
// (flow).
enum class PipelineSchedule : std::uint8_t { flush, flow };
enum class PipelineTransfer : std::uint8_t { replicated, scatter_gather };
enum class ExpertPlacement : std::uint8_t { colocated, round_robin, sharded };
enum class ExpertExchange : std::uint8_t { all_reduce, dispatch };
// How a dispatch knows the sizes of its messages.
//   planned   from the plan's routing: exact sizes, nothing exchanged beforehand
//   capacity  every message has room for the most rows that any routing could send, and is sent whole
//   exact     counts are exchanged at run time by an op of their own, before the rows
enum class DispatchMode : std::uint8_t { planned, capacity, exact };
enum class Overlap : std::uint8_t { none, two_batch, micro_stages };
enum class CollectiveChoice : std::uint8_t { automatic, ring, direct, nvls, tree, nvls_tree };

/// How the model is spread over ranks.
///
/// Ranks are numbered stage-major: rank = (stage * dp + replica) * tp + tp_index.
struct DeploymentSpec {
  std::int64_t tp = 1;      // attention tensor parallelism
  std::int64_t dp = 1;      // attention data parallelism
  std::int64_t stages = 1;  // pipeline stages
  PipelineSchedule schedule = PipelineSchedule::flush;
  PipelineTransfer transfer = PipelineTransfer::scatter_gather;
  std::int64_t micro_batches = 1;
  std::int64_t ep = 1;  // ranks over which one copy of a stage's experts is spread
  ExpertPlacement placement = ExpertPlacement::colocated;
  ExpertExchange exchange = ExpertExchange::all_reduce;
  DispatchMode dispatch_mode = DispatchMode::planned;
  Overlap overlap = Overlap::none;
  std::int64_t chunks = 1;  // micro_stages: source groups whose tokens reach an expert as separate partial batches
  CollectiveChoice all_reduce = CollectiveChoice::automatic;
  CollectiveChoice all_gather = CollectiveChoice::automatic;
  CollectiveChoice reduce_scatter = CollectiveChoice::automatic;
  ExchangeAlgorithm exchange_algorithm = ExchangeAlgorithm::low_latency;

  [[nodiscard]] std::int64_t ranks_per_stage() const { return dp * tp; }
  [[nodiscard]] std::int64_t ranks() const { return stages * dp * tp; }
};

/// Which machine, with what-if overrides of its file.
struct ClusterSpec {
  std::filesystem::path topology;  // resolved against the scenario's directory
  std::optional<std::int64_t> nodes;
  std::optional<BytesPerSecond> nic;
};

enum class LaunchMode : std::uint8_t { graph, eager };

/// How a GPU's host launches kernels. Part of neither the program nor its hash: the work is the same.
struct ExecutionSpec {
  LaunchMode mode = LaunchMode::graph;  // a step captured in a CUDA graph, or every kernel by itself
  std::optional<Seconds> launch;        // of the host, for each launch; else the calibration's
  std::optional<Seconds> gap;           // on the GPU, before each kernel; else the calibration's
  bool host_waits = false;              // for the end of a step, before it launches the next
  bool operator==(const ExecutionSpec&) const = default;
};

struct MeasureSpec {
  std::int64_t warmup_steps = 1;  // before the counted ones, so that counting starts in a steady state
  std::int64_t steps = 1;         // counted steps; a multiple of routed_steps
};

enum class FaultPart : std::uint8_t { link, nic, fabric_switch, gpu };

/// Something that is degraded or dead from a time on. Names are looked up in the machine by plan/faults.hpp.
struct FaultSpec {
  FaultPart part = FaultPart::link;
  std::vector<std::string> names;  // of a link its two ends, else one
  Seconds from;                    // of simulated time
  double share = 0;                // that is left of its bandwidth, of a GPU of its speed; 0: dead
  std::string pointer;             // of the name, for errors that are found later
};

/// What somebody else measured or claimed for this scenario.
struct PublishedFigures {
  std::string source;
  std::optional<double> tps;
  std::optional<Seconds> tpot;
  std::int64_t digits = 0;  // significant ones, to which they were rounded; 0: as they stand

  /// By how much a figure may differ from what was rounded: half of its last digit's unit. 2.2 with two: 0.05.
  /// @param figure  > 0, in any unit that is a power of ten of the one it was rounded in
  [[nodiscard]] double rounding(double figure) const;
};

/// One way in which an open choice may have been made.
struct OpenOption {
  std::string label;
  std::vector<std::string> assignments;  // as --set takes them
  bool operator==(const OpenOption&) const = default;
};

/// A choice that the published description leaves open.
struct OpenChoice {
  std::string name;
  std::string reason;
  std::vector<OpenOption> options;
};

struct Scenario {
  std::string file;  // where it was read from, for errors that are found later
  std::string name;
  std::string about;
  ModelSpec model;
  WorkloadSpec workload;
  RoutingSpec routing;
  DeploymentSpec deployment;
  ClusterSpec cluster;
  std::vector<FaultSpec> faults;
  std::optional<ExecutionSpec> execution;  // nothing: kernels follow one another as the calibration measured them
  MeasureSpec measure;
  std::optional<PublishedFigures> published;
  std::vector<OpenChoice> open_choices;
};

/// @throws Error{invalid_input} naming file, pointer, what was found and what would be right
Scenario parse_scenario(const JsonDocument& document);

}  // namespace foretoken::plan
