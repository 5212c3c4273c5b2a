#include "tools/explain/stored_result.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/breakdown.hpp"
#include "core/schema_header.hpp"
#include "plan/scenario/limits.hpp"
#include "tools/explain/stored_trace.hpp"

namespace foretoken::explain {
namespace {

constexpr std::int64_t kVersion = 1;
constexpr std::int64_t kRanksMax = 1'000'000;
constexpr double kMillisecondsMin = 1e-9;  // a picosecond
constexpr double kMillisecondsMax = 1e9;   // 11 days
constexpr double kTpsMin = 1e-9;
constexpr double kTpsMax = 1e18;

Seconds read_milliseconds(const JsonReader& place) {
  return Seconds(place.as_number(kMillisecondsMin, kMillisecondsMax) / 1e3);
}

Distribution read_distribution(const JsonReader& place) {
  JsonObject object(place);
  return {read_milliseconds(object.require("mean")), read_milliseconds(object.require("p50")),
          read_milliseconds(object.require("p95")), read_milliseconds(object.require("p99"))};
}

std::string read_hash(const JsonReader& place) {
  std::string text = place.as_string();
  const bool hexadecimal = text.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (text.size() != 32 || !hexadecimal)
    place.fail(fmt::format("{} is not a hash", place.shown()), "write 32 hexadecimal digits");
  return text;
}

std::string read_name(JsonObject& object, const char* key) {
  const auto place = object.optional(key);
  return place ? place->as_string(true) : "";
}

std::string read_build(const JsonReader& place) {
  JsonObject object(place);
  return fmt::format("{} {}", read_name(object, "version"), read_name(object, "commit"));
}

PublishedEntry read_published(const JsonReader& place) {
  JsonObject object(place);
  PublishedEntry published;
  published.source = read_name(object, "source");
  if (const auto tps = object.optional("tps")) published.tps = tps->as_number(kTpsMin, kTpsMax);
  if (const auto tpot = object.optional("tpot_ms")) published.tpot = read_milliseconds(*tpot);
  return published;
}

// Unlike a name it may be as long as there are faults.
std::string read_conditions(const JsonReader& place) {
  std::string text;
  for (const JsonReader& condition : place.as_array(1, plan::kFaultsMax + 1))
    text += (text.empty() ? "" : "; ") + condition.as_string();
  return text;
}

StoredHeadline read_figures(JsonObject& root, const std::string& file) {
  StoredHeadline headline;
  headline.file = file;
  headline.scenario = root.require("scenario").as_string();
  if (const auto build = root.optional("foretoken")) headline.build = read_build(*build);
  headline.topology = read_name(root, "topology");
  headline.calibration = read_name(root, "calibration");
  headline.communicator = read_name(root, "communicator");
  const std::string hash = read_hash(root.require("plan_hash"));
  headline.plan_hash = hash;  // a copy: GCC 12 takes moving a string of known length for an overrun
  headline.clock = root.require("clock").as_string();
  if (const auto conditions = root.optional("conditions")) headline.conditions = read_conditions(*conditions);
  headline.seed = root.require("seed").as_integer(INT64_MIN, INT64_MAX);
  headline.tps = root.require("tps").as_number(kTpsMin, kTpsMax);
  headline.tpot = read_distribution(root.require("tpot_ms"));
  headline.step = read_distribution(root.require("step_ms"));
  if (const auto cpu = root.optional("cpu_step_ms")) headline.cpu_step = read_milliseconds(*cpu);
  if (const auto published = root.optional("published")) headline.published = read_published(*published);
  if (const auto live = root.optional("live")) {
    JsonObject object(*live);
    headline.communicator = read_name(object, "communicator");
    if (const auto overhead = object.optional("instrumentation_overhead"))
      headline.overhead = overhead->as_number(-0.999, 1000);
  }
  return headline;
}

/// The root, if it is that of one result.
JsonObject open_result(const JsonDocument& document) {
  const JsonReader place = document.root();
  if (place.is_array())
    place.fail(fmt::format("a list of {} results", place.json().size()),
               "store one scenario's result per file: foretoken simulate SCENARIO --out FILE");
  JsonObject root(place);
  static_cast<void>(read_schema_header(root, "result", kVersion));
  if (root.optional("layers_sampled"))
    place.fail("was simulated with some of the model's layers, and its trace lacks the others",
               "simulate all of them: leave out --layers-sampled");
  return root;
}

}  // namespace

StoredHeadline read_headline(const JsonDocument& document) {
  JsonObject root = open_result(document);
  return read_figures(root, document.name());
}

StoredResult read_result(const JsonDocument& document) {
  JsonObject root = open_result(document);
  StoredResult result;
  static_cast<StoredHeadline&>(result) = read_figures(root, document.name());
  const std::int64_t ranks = root.require("ranks").as_integer(1, kRanksMax);
  const auto trace = root.optional("trace");
  const auto scenario = root.optional("resolved_scenario");
  if (!trace && scenario && root.optional("breakdown") == std::nullopt)
    root.place().fail("the run was interrupted before it had timed any op", "run it again, to its end");
  if (!trace || !scenario)
    root.place().fail(fmt::format("the result was stored without its {}", trace ? "scenario" : "trace"),
                      "store the whole result with --out FILE; what --json prints is only a part of it");
  static_cast<void>(JsonObject(*scenario));  // an object
  result.scenario_document = scenario->json();
  result.trace = read_trace(*trace, ranks, result.clock);

  JsonObject breakdown(root.require("breakdown"));
  const JsonReader rank = breakdown.require("rank");
  result.slowest_rank = break_down(result.trace).rank;
  if (rank.as_integer(0, ranks - 1) != result.slowest_rank)
    rank.fail(fmt::format("the slowest rank is said to be {}", rank.shown()),
              fmt::format("in the trace rank {} ends last; store the whole result again", result.slowest_rank));
  return result;
}

}  // namespace foretoken::explain
