#include "tools/explain/serving_result.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace foretoken::explain {
namespace {

constexpr double kMillisecondsMax = 1e9;
constexpr double kTpsMax = 1e18;

std::optional<double> number(JsonObject& object, const char* key, double most) {
  const auto place = object.optional(key);
  if (!place || !place->is_number()) return std::nullopt;  // "inf", null, "nan"
  return place->as_number(1e-9, most);
}

std::optional<Seconds> milliseconds(JsonObject& object, const char* key) {
  const auto value = number(object, key, kMillisecondsMax);
  return value ? std::optional(Seconds(*value / 1e3)) : std::nullopt;
}

void say_what_all_leave_out(ServingResult& result) {
  result.definitions.push_back(
      "TPS: its output tokens over the whole benchmark, filling and draining included; ours: of the counted steps, all "
      "sequences decoding");
  result.definitions.push_back(
      "its requests wait for prefills, sampling and the server; ours is the decode step that the scenario describes");
}

// vLLM and SGLang have the same names for what is compared.
ServingResult read_bench_serving(JsonObject& root, bool sglang) {
  ServingResult result;
  result.tool = sglang ? "SGLang" : "vLLM";
  result.tps = number(root, "output_throughput", kTpsMax);
  result.mean = milliseconds(root, "mean_tpot_ms");
  result.p50 = milliseconds(root, "median_tpot_ms");
  result.p95 = milliseconds(root, "p95_tpot_ms");
  result.p99 = milliseconds(root, "p99_tpot_ms");
  result.concurrency = number(root, sglang ? "concurrency" : "max_concurrency", 1e12);
  result.definitions.push_back(
      "TPOT: of a request, (latency - time to first token) / (output tokens - 1), mean and percentiles over requests; "
      "ours: between consecutive tokens of a sequence, over tokens");
  say_what_all_leave_out(result);
  return result;
}

ServingResult read_aiperf(JsonObject& root) {
  ServingResult result;
  result.tool = "AIPerf";
  if (const auto throughput = root.optional("output_token_throughput")) {
    JsonObject object(*throughput);
    result.tps = number(object, "avg", kTpsMax);
  }
  if (const auto latency = root.optional("inter_token_latency")) {
    JsonObject object(*latency);
    const JsonReader unit = object.require("unit");
    if (unit.as_string() != "ms") unit.fail(fmt::format("the unit is {}", unit.shown()), "export milliseconds (ms)");
    result.mean = milliseconds(object, "avg");
    result.p50 = milliseconds(object, "p50");
    result.p95 = milliseconds(object, "p95");
    result.p99 = milliseconds(object, "p99");
  }
  result.definitions.push_back(
      "inter_token_latency: of a request, its decode time over its output tokens less one, mean and percentiles over "
      "requests (what others call TPOT); ours: between consecutive tokens of a sequence, over tokens");
  say_what_all_leave_out(result);
  return result;
}

}  // namespace

bool is_serving(const JsonDocument& document) {
  const nlohmann::json& json = document.json();
  if (!json.is_object() || json.contains("kind")) return false;
  for (const char* key : {"output_throughput", "mean_tpot_ms", "output_token_throughput", "inter_token_latency"})
    if (json.contains(key)) return true;
  return false;
}

ServingResult read_serving(const JsonDocument& document) {
  JsonObject root(document.root());
  const bool aiperf = root.has("output_token_throughput") || root.has("inter_token_latency");
  const bool sglang = root.has("mean_e2e_latency_ms") || root.has("random_input_len") || root.has("accept_length");
  ServingResult result = aiperf ? read_aiperf(root) : read_bench_serving(root, sglang);
  result.file = document.name();
  if (!result.tps && !result.mean)
    root.place().fail("has neither an output throughput nor a time per output token",
                      "store the benchmark's whole result: vLLM --save-result, SGLang --output-file, AIPerf's "
                      "profile_export_aiperf.json");
  return result;
}

std::vector<Figure> compare_with_serving(const StoredHeadline& a, const ServingResult& b) {
  std::vector<Figure> figures;
  if (b.tps) figures.push_back({"tps", a.tps, *b.tps});
  const auto add = [&](std::string_view name, Seconds ours, const std::optional<Seconds>& theirs) {
    if (theirs) figures.push_back({name, ours.value() * 1e3, theirs->value() * 1e3});
  };
  add("tpot_mean_ms", a.tpot.mean, b.mean);
  add("tpot_p50_ms", a.tpot.p50, b.p50);
  add("tpot_p95_ms", a.tpot.p95, b.p95);
  add("tpot_p99_ms", a.tpot.p99, b.p99);
  return figures;
}

}  // namespace foretoken::explain
