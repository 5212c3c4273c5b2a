#include "plan/scenario/scenario.hpp"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/calibration_launch.hpp"
#include "core/schema_header.hpp"
#include "plan/machine/topology.hpp"
#include "plan/scenario/limits.hpp"
#include "plan/scenario/names.hpp"
#include "plan/scenario/read_fault.hpp"
#include "plan/scenario/read_model.hpp"
#include "plan/scenario/read_routing.hpp"

namespace foretoken::plan {
namespace {

std::int64_t integer(JsonObject& object, std::string_view key, std::int64_t min, std::int64_t max) {
  return object.require(key).as_integer(min, max);
}

std::int64_t integer_or(JsonObject& object, std::string_view key, std::int64_t min, std::int64_t max,
                        std::int64_t otherwise) {
  const auto place = object.optional(key);
  return place ? place->as_integer(min, max) : otherwise;
}

template <class Names, class Enum>
Enum choice_or(JsonObject& object, std::string_view key, const Names& names, Enum otherwise) {
  const auto place = object.optional(key);
  return place ? place->as_enum(names) : otherwise;
}

/// `whole` must be a multiple of `part`; the error stands at `place`.
void require_divides(const JsonReader& place, std::int64_t part, std::int64_t whole, std::string_view what) {
  if (whole % part == 0) return;
  place.fail(fmt::format("{} does not divide {} {}", part, what, whole), fmt::format("write a divisor of {}", whole));
}

WorkloadSpec read_workload(const JsonReader& place) {
  JsonObject object(place);
  WorkloadSpec workload;
  static constexpr std::array<std::pair<bool, std::string_view>, 1> kinds{{{true, "decode"}}};
  static_cast<void>(object.require("kind").as_enum(kinds));
  workload.sequences = integer(object, "sequences", 1, kSequencesMax);
  workload.context = integer(object, "context", 0, kContextMax);
  object.finish();
  return workload;
}

void read_pipeline(const JsonReader& place, DeploymentSpec& deployment) {
  JsonObject object(place);
  deployment.stages = integer(object, "stages", 1, kLayersMax);
  deployment.schedule = choice_or(object, "schedule", kPipelineScheduleNames, PipelineSchedule::flush);
  deployment.transfer = choice_or(object, "transfer", kPipelineTransferNames, PipelineTransfer::scatter_gather);
  object.finish();
}

void read_experts(const JsonReader& place, const ModelSpec& model, DeploymentSpec& deployment) {
  JsonObject object(place);
  deployment.placement = object.require("placement").as_enum(kExpertPlacementNames);
  const JsonReader exchange = object.require("exchange");
  deployment.exchange = exchange.as_enum(kExpertExchangeNames);
  const std::int64_t ranks = deployment.ranks_per_stage();
  const bool replicated = deployment.exchange == ExpertExchange::all_reduce;
  const auto given = object.optional("ep");
  deployment.ep = given ? given->as_integer(1, kRanksMax) : replicated ? deployment.tp : ranks;
  const JsonReader ep = given.value_or(place);
  if (const auto mode = object.optional("dispatch_mode")) {
    deployment.dispatch_mode = mode->as_enum(kDispatchModeNames);
    if (deployment.exchange != ExpertExchange::dispatch)
      mode->fail("no tokens are dispatched", "remove it, or write exchange \"dispatch\"");
  }
  object.finish();

  if (deployment.exchange == ExpertExchange::all_reduce) {
    if (deployment.ep != deployment.tp)
      ep.fail(fmt::format("{} differs from attention tp {}", deployment.ep, deployment.tp),
              "with exchange \"all_reduce\" the experts are spread over the ranks that hold the same activations: "
              "write ep equal "
              "to deployment.attention.tp, or use exchange \"dispatch\"");
  } else {
    require_divides(ep, deployment.ep, ranks, "the ranks of a stage (attention tp x dp),");
    if (deployment.ep % deployment.tp != 0)
      ep.fail(fmt::format("{} is no multiple of attention tp {}", deployment.ep, deployment.tp),
              "an expert group holds whole tensor-parallel groups: write a multiple of deployment.attention.tp");
    if (deployment.placement == ExpertPlacement::sharded)
      exchange.fail("\"dispatch\" does not go with placement \"sharded\"",
                    "sharded experts need every token on every rank of the group: use exchange \"all_reduce\"");
  }
  if (deployment.placement == ExpertPlacement::sharded) {
    require_divides(ep, deployment.ep, model.expert_hidden, "model.expert_hidden,");
  }
  if (deployment.placement == ExpertPlacement::colocated && model.experts % deployment.ep != 0) {
    ep.fail(fmt::format("{} does not divide the {} experts", deployment.ep, model.experts),
            "placement \"colocated\" gives each rank the same number of each layer's experts: write a divisor, or use "
            "placement \"round_robin\"");
  }
}

void read_overlap(JsonObject& object, DeploymentSpec& deployment) {
  const auto overlap = object.optional("overlap");
  deployment.overlap = overlap ? overlap->as_enum(kOverlapNames) : Overlap::none;
  if (deployment.overlap == Overlap::two_batch && deployment.micro_batches % 2 != 0)
    overlap->fail(fmt::format("two_batch pairs micro-batches, and there are {}", deployment.micro_batches),
                  "write an even deployment.micro_batches");
  if (deployment.overlap == Overlap::micro_stages && deployment.exchange != ExpertExchange::dispatch)
    overlap->fail("micro_stages needs tokens that arrive from several ranks",
                  "use deployment.experts.exchange \"dispatch\", or another overlap");
  if (const auto chunks = object.optional("chunks")) {
    deployment.chunks = chunks->as_integer(1, kChunksMax);
    if (deployment.overlap != Overlap::micro_stages && deployment.chunks != 1)
      chunks->fail("chunks are given but overlap is not micro_stages",
                   "remove chunks, or write overlap \"micro_stages\"");
    require_divides(*chunks, deployment.chunks, deployment.ep, "the expert group's ranks, ep =");
  } else if (deployment.overlap == Overlap::micro_stages) {
    overlap->fail("micro_stages needs the number of chunks", "add deployment.chunks, such as the number of nodes");
  }
}

void read_collectives(const JsonReader& place, DeploymentSpec& deployment) {
  JsonObject object(place);
  const auto read = [&](std::string_view key, CollectiveChoice& choice, const auto& names) {
    if (const auto member = object.optional(key)) choice = member->as_enum(names);
  };
  read("all_reduce", deployment.all_reduce, kCollectiveChoiceNames);
  read("all_gather", deployment.all_gather, kGatherChoiceNames);
  read("reduce_scatter", deployment.reduce_scatter, kGatherChoiceNames);
  if (const auto exchange = object.optional("exchange")) {
    deployment.exchange_algorithm = exchange->as_enum(kExchangeAlgorithmNames);
    if (deployment.exchange != ExpertExchange::dispatch)
      exchange->fail("no tokens are exchanged", "remove it, or write experts.exchange \"dispatch\"");
    if (deployment.exchange_algorithm == ExchangeAlgorithm::hierarchical &&
        deployment.dispatch_mode != DispatchMode::planned)
      exchange->fail("\"hierarchical\" does not go with experts.dispatch_mode \"capacity\" or \"exact\"",
                     "write \"low_latency\", or dispatch_mode \"planned\"");
  }
  object.finish();
}

DeploymentSpec read_deployment(const JsonReader& place, const ModelSpec& model) {
  JsonObject object(place);
  DeploymentSpec deployment;

  JsonObject attention(object.require("attention"));
  const JsonReader tp = attention.require("tp");
  deployment.tp = tp.as_integer(1, kRanksMax);
  deployment.dp = integer(attention, "dp", 1, kRanksMax);
  attention.finish();
  require_divides(tp, deployment.tp, model.heads, "model.heads,");
  if (model.kv_heads % deployment.tp != 0 && deployment.tp % model.kv_heads != 0)
    tp.fail(fmt::format("{} neither divides model.kv_heads {} nor is a multiple of it", deployment.tp, model.kv_heads),
            "each rank holds whole KV heads or a copy of one");

  if (const auto pipeline = object.optional("pipeline")) read_pipeline(*pipeline, deployment);
  if (deployment.stages > model.layers)
    object.require("pipeline")
        .fail(fmt::format("{} stages are more than the {} layers", deployment.stages, model.layers),
              "write at most one stage per layer");
  if (deployment.ranks() > kRanksMax)
    place.fail(fmt::format("tp {} x dp {} x stages {} are {} ranks", deployment.tp, deployment.dp, deployment.stages,
                           deployment.ranks()),
               fmt::format("at most {} are possible", kRanksMax));

  deployment.micro_batches = integer_or(object, "micro_batches", 1, kMicroBatchesMax, 1);
  if (model.dense_hidden % deployment.tp != 0)
    require_divides(tp, deployment.tp, model.dense_hidden, "model.dense_hidden,");
  if (model.shared_experts > 0) require_divides(tp, deployment.tp, model.expert_hidden, "model.expert_hidden,");
  read_experts(object.require("experts"), model, deployment);
  read_overlap(object, deployment);
  if (const auto collectives = object.optional("collectives")) read_collectives(*collectives, deployment);
  object.finish();
  return deployment;
}

ClusterSpec read_cluster(const JsonReader& place) {
  JsonObject object(place);
  ClusterSpec cluster;
  const JsonReader topology = object.require("topology");
  cluster.topology = (place.directory() / topology.as_string()).lexically_normal();
  std::error_code status;
  if (!std::filesystem::is_regular_file(cluster.topology, status))
    topology.fail(fmt::format("there is no file {}", cluster.topology.string()),
                  "name a topology file, relative to this one");
  if (const auto nodes = object.optional("nodes")) cluster.nodes = nodes->as_integer(1, kNodesMax);
  if (const auto nic = object.optional("nic"))
    cluster.nic = nic->as_bandwidth(BytesPerSecond(1e3), BytesPerSecond(1e14));
  object.finish();
  return cluster;
}

ExecutionSpec read_execution(const JsonReader& place) {
  JsonObject object(place);
  ExecutionSpec execution;
  execution.mode = object.require("mode").as_enum(kLaunchModeNames);
  if (const auto launch = object.optional("launch")) execution.launch = launch->as_duration(Seconds(0), kLaunchMax);
  if (const auto gap = object.optional("gap")) execution.gap = gap->as_duration(Seconds(0), kLaunchMax);
  if (const auto waits = object.optional("host_waits")) execution.host_waits = waits->as_bool();
  object.finish();
  return execution;
}

MeasureSpec read_measure(const JsonReader& place, const RoutingSpec& routing) {
  JsonObject object(place);
  MeasureSpec measure;
  measure.warmup_steps = integer(object, "warmup_steps", 1, kStepsMax);
  const JsonReader steps = object.require("steps");
  measure.steps = steps.as_integer(1, kStepsMax);
  if (measure.steps % routing.routed_steps != 0)
    steps.fail(fmt::format("{} is no multiple of routing.routed_steps {}", measure.steps, routing.routed_steps),
               "count whole cycles of the routed steps");
  object.finish();
  return measure;
}

PublishedFigures read_published(const JsonReader& place) {
  JsonObject object(place);
  PublishedFigures published;
  published.source = object.require("source").as_string();
  if (const auto tps = object.optional("tps")) published.tps = tps->as_number(1e-9, 1e15);
  if (const auto tpot = object.optional("tpot")) published.tpot = tpot->as_duration(Seconds(1e-12), Seconds(1e6));
  if (const auto digits = object.optional("digits")) published.digits = digits->as_integer(1, 12);
  if (!published.tps && !published.tpot) place.fail("no figure is given", "add \"tps\", \"tpot\" or both");
  object.finish();
  return published;
}

std::string assignment_of(const std::string& field, const JsonReader& value) {
  return field + "=" + (value.is_string() ? value.as_string() : value.json().dump());
}

// Either "field" with "values", one assignment each, or "name" with "options", each a label and a set of assignments.
OpenChoice read_open_choice(const JsonReader& place) {
  JsonObject object(place);
  OpenChoice choice;
  choice.reason = object.require("reason").as_string();
  if (const auto field = object.optional("field")) {
    choice.name = field->as_string();
    for (const JsonReader& value : object.require("values").as_array(1, 64))
      choice.options.push_back(
          OpenOption{value.is_string() ? value.as_string() : value.json().dump(), {assignment_of(choice.name, value)}});
  } else {
    choice.name = object.require("name").as_string();
    for (const JsonReader& element : object.require("options").as_array(1, 64)) {
      JsonObject option(element);
      OpenOption read{option.require("label").as_string(), {}};
      JsonObject set(option.require("set"));
      for (const auto& [path, value] : set.members()) read.assignments.push_back(assignment_of(path, value));
      option.finish();
      choice.options.push_back(std::move(read));
    }
  }
  object.finish();
  return choice;
}

}  // namespace

double PublishedFigures::rounding(double figure) const {
  if (digits == 0) return 0;
  // Of 1.0000000000000002e-3, which is 1 ms, the exponent is -3 as well.
  const double exponent = std::floor(std::log10(figure) + 1e-12);
  return 0.5 * std::pow(10.0, exponent - static_cast<double>(digits - 1));
}

Scenario parse_scenario(const JsonDocument& document) {
  JsonObject root(document.root());
  read_schema_header(root, "scenario", 1);
  Scenario scenario;
  scenario.file = document.name();
  scenario.name = root.require("name").as_string();
  if (const auto about = root.optional("about")) scenario.about = about->as_string(true);
  scenario.model = read_scenario_model(root.require("model"), document.name());
  scenario.workload = read_workload(root.require("workload"));
  scenario.deployment = read_deployment(root.require("deployment"), scenario.model);
  scenario.routing = read_routing(root.require("routing"), scenario.model, scenario.workload);
  if (scenario.routing.kind == RoutingKind::model && scenario.deployment.exchange == ExpertExchange::dispatch &&
      scenario.deployment.dispatch_mode == DispatchMode::planned)
    root.require("routing").fail("the model's own routing is not known when a planned dispatch is laid out",
                                 "add deployment.experts.dispatch_mode \"exact\" or \"capacity\"");
  scenario.cluster = read_cluster(root.require("cluster"));
  if (const auto faults = root.optional("faults"))
    for (const JsonReader& fault : faults->as_array(0, kFaultsMax)) scenario.faults.push_back(read_fault(fault));
  if (const auto execution = root.optional("execution")) scenario.execution = read_execution(*execution);
  scenario.measure = read_measure(root.require("measure"), scenario.routing);
  if (const auto published = root.optional("published")) scenario.published = read_published(*published);
  if (const auto choices = root.optional("open_choices"))
    for (const JsonReader& choice : choices->as_array(0, 64)) scenario.open_choices.push_back(read_open_choice(choice));
  root.finish();
  return scenario;
}

}  // namespace foretoken::plan
