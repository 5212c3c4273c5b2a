#include "plan/scenario/read_routing.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <system_error>

#include "plan/routing/expert_counts.hpp"
#include "plan/routing/routing.hpp"
#include "plan/routing/routing_record.hpp"
#include "plan/scenario/limits.hpp"
#include "plan/scenario/names.hpp"

namespace foretoken::plan {
namespace {

constexpr std::int64_t kRoutedSteps = 4;  // unless something says otherwise

/// A member that belongs to some kinds only; of others it is refused.
std::optional<JsonReader> member_of(JsonObject& object, const char* key, bool belongs, const char* kinds) {
  const auto member = object.optional(key);
  if (member && !belongs)
    member->fail(fmt::format("kind is not {}", kinds), fmt::format("remove it, or write kind {}", kinds));
  return member;
}

std::filesystem::path file_of(const JsonReader& place, const JsonReader& file, const char* what) {
  const std::filesystem::path path = (place.directory() / file.as_string()).lexically_normal();
  std::error_code status;
  if (!std::filesystem::is_regular_file(path, status))
    file.fail(fmt::format("there is no file {}", path.string()), what);
  return path;
}

// What the record and the scenario must agree on.
void check_record(const JsonReader& place, const RoutingRecord& record, const ModelSpec& model,
                  const WorkloadSpec& workload) {
  if (model.moe_every > 1)
    place.fail("a record has experts in all but the first layers, and the model in some layers only (moe_every)",
               "write another kind of routing");
  const auto check = [&](std::int64_t recorded, std::int64_t wanted, const char* what) {
    if (recorded != wanted)
      place.fail(fmt::format("the record has {} {}, and the scenario {}", recorded, what, wanted),
                 "replay it with the model and the workload that it was recorded with");
  };
  check(record.layers, model.layers, "layers");
  check(record.dense_layers, model.dense_layers, "dense layers");
  check(record.experts, model.experts, "experts");
  check(record.top_k, model.top_k, "experts per token");
  check(record.tokens, workload.sequences, "sequences");
}

void read_hot_set(JsonObject& object, const ModelSpec& model, RoutingSpec& routing) {
  const JsonReader hot = object.require("hot");
  routing.hot = hot.as_integer(1, kExpertsMax);
  if (routing.hot >= model.experts)
    hot.fail(fmt::format("{} of {} experts leave no other", routing.hot, model.experts), "write fewer");
  const JsonReader share = object.require("share");
  routing.share = share.as_number(0, 1);
  // A token goes to an expert once.
  const auto top_k = static_cast<double>(model.top_k);
  const auto most = static_cast<double>(routing.hot) / top_k;
  const auto least = 1 - static_cast<double>(model.experts - routing.hot) / top_k;
  if (routing.share > most || routing.share < least)
    share.fail(fmt::format("a token goes to {} distinct experts, so that {} get {:.4g} to {:.4g} of all visits",
                           model.top_k, routing.hot, std::max(0.0, least), std::min(1.0, most)),
               "write a share between the two");
}

}  // namespace

RoutingSpec read_routing(const JsonReader& place, const ModelSpec& model, const WorkloadSpec& workload) {
  JsonObject object(place);
  RoutingSpec routing;
  routing.kind = object.require("kind").as_enum(kRoutingKindNames);
  const bool zipf = routing.kind == RoutingKind::zipf;
  const bool hot_set = routing.kind == RoutingKind::hot_set;
  const bool counts = routing.kind == RoutingKind::counts;
  const bool recorded = routing.kind == RoutingKind::recorded;
  if (zipf) routing.exponent = object.require("exponent").as_number(0, kZipfExponentMax);
  else member_of(object, "exponent", false, "\"zipf\"");
  if (hot_set) read_hot_set(object, model, routing);
  for (const char* key : {"hot", "share"}) member_of(object, key, hot_set, "\"hot_set\"");
  const auto drift = member_of(object, "drift", zipf || hot_set, "\"zipf\" or \"hot_set\"");
  if (drift) routing.drift = drift->as_number(0, 1);
  const auto file = member_of(object, "file", counts || recorded, "\"counts\" or \"recorded\"");
  if (recorded) {
    for (const char* key : {"seed", "routed_steps"})
      if (const auto unused = object.optional(key)) unused->fail("the record has its own", "remove it");
    const auto path =
        file_of(place, object.require("file"), "name a record that run --routing-out wrote, relative to this one");
    object.finish();
    routing.record = std::make_shared<const RoutingRecord>(read_routing_record(path));
    routing.seed = routing.record->seed;
    routing.routed_steps = routing.record->routed_steps;
    check_record(place, *routing.record, model, workload);
    return routing;
  }
  routing.seed =
      static_cast<std::uint64_t>(object.require("seed").as_integer(0, std::numeric_limits<std::int64_t>::max()));
  routing.routed_steps = kRoutedSteps;
  if (counts) {
    const auto path = file_of(place, object.require("file"),
                              "name a file with logical_count or routed_experts, relative to this one");
    routing.counts = std::make_shared<const ExpertCounts>(read_expert_counts(path, model));
    if (routing.counts->steps > 1) routing.routed_steps = routing.counts->steps;
  }
  const auto steps = object.optional("routed_steps");
  if (steps) routing.routed_steps = steps->as_integer(1, kRoutedStepsMax);
  object.finish();
  if (routing.drift > 0 && static_cast<double>(routing.routed_steps) * static_cast<double>(model.layers) *
                                   static_cast<double>(model.experts) >
                               kDriftMax)
    drift->fail(fmt::format("{} routed steps x {} layers x {} experts are too many to drift", routing.routed_steps,
                            model.layers, model.experts),
                "lower routing.routed_steps");
  return routing;
}

}  // namespace foretoken::plan
