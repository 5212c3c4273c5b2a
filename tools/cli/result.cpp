#include "tools/cli/result.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "tools/cli/conditions.hpp"
#include "tools/cli/exchange_volume.hpp"
#include "tools/cli/numbers.hpp"
#include "tools/cli/version.hpp"
#include "tools/explain/shown_ranks.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kSimulated = "simulated";

Json distribution_json(const Distribution& d) {
  return {{"mean", milliseconds(d.mean)},
          {"p50", milliseconds(d.p50)},
          {"p95", milliseconds(d.p95)},
          {"p99", milliseconds(d.p99)}};
}

Json parts_json(const Breakdown& breakdown, const std::vector<BreakdownPart>& parts) {
  Json json = Json::object();
  for (const BreakdownPart& part : parts) json[part.kind] = milliseconds(breakdown.per_step(part.time));
  return json;
}

Json breakdown_json(const Breakdown& b) {
  Json provenance = Json::object();
  for (const auto& [value, name] : kProvenanceNames) provenance[std::string(name)] = b.share(value);
  return {{"rank", b.rank},
          {"step_ms", milliseconds(b.per_step(b.window()))},
          {"compute_ms", parts_json(b, b.compute)},
          {"exposed_communication_ms", parts_json(b, b.exposed)},
          {"waiting_ms", parts_json(b, b.waiting)},
          {"idle_ms", milliseconds(b.per_step(b.idle))},
          {"hidden_communication_ms", parts_json(b, b.hidden)},
          {"provenance", provenance}};
}

Json sampling_json(const LayerSampling& sampling) {
  const explain::SampledRun& run = sampling.run;
  Json strata = Json::array();
  for (std::size_t s = 0; s < run.strata.size(); ++s) {
    const plan::LayerStratum& stratum = sampling.sample.strata[s];
    Json times = Json::array();
    for (const Seconds time : run.strata[s].times) times.push_back(milliseconds(time));
    strata.push_back({{"stage", stratum.stage},
                      {"kind", stratum.dense ? "dense" : "experts"},
                      {"layers", stratum.layers.size()},
                      {"sampled", stratum.sampled},
                      {"time_ms", std::move(times)},
                      {"mean_ms", milliseconds(run.strata[s].mean)},
                      {"deviation_ms", milliseconds(run.strata[s].deviation)}});
  }
  return {{"layers", sampling.sample.layers},
          {"sampled", sampling.sample.sampled.size()},
          {"confidence", explain::kSamplingConfidence},
          {"tpot_error_ms", milliseconds(run.error)},
          {"tpot_interval_ms", {milliseconds(run.tpot().first), milliseconds(run.tpot().second)}},
          {"tps_interval", {run.tps().first, run.tps().second}},
          {"outside_ms", milliseconds(run.outside)},
          {"strata", std::move(strata)}};
}

std::string sampling_text(const LayerSampling& sampling) {
  const explain::SampledRun& run = sampling.run;
  std::string text = fmt::format(
      "  {} of {} layers simulated: with {:.0f} % confidence all layers give TPOT {:.3f} to {:.3f} ms (+-{:.2f} %), "
      "TPS "
      "{} to {}\n",
      sampling.sample.sampled.size(), sampling.sample.layers, 100 * explain::kSamplingConfidence,
      milliseconds(run.tpot().first), milliseconds(run.tpot().second), 100 * ratio(run.error, run.metrics.tpot.mean),
      grouped(run.tps().first), grouped(run.tps().second));
  for (std::size_t s = 0; s < run.strata.size(); ++s) {
    const plan::LayerStratum& stratum = sampling.sample.strata[s];
    text += fmt::format("    {:<8} {:>3} of {:>3} layers{}: {:.3f} ms each", stratum.dense ? "dense" : "experts",
                        stratum.sampled.size(), stratum.layers.size(),
                        sampling.sample.strata.back().stage > 0 ? fmt::format(", stage {}", stratum.stage) : "",
                        milliseconds(run.strata[s].mean));
    if (stratum.sampled.size() > 1)
      text += fmt::format(", standard deviation {:.3f} ms", milliseconds(run.strata[s].deviation));
    text += "\n";
  }
  return text;
}

Json published_json(const plan::PublishedFigures& published, const Metrics& metrics) {
  Json json{{"source", published.source}};
  if (published.tps) {
    json["tps"] = *published.tps;
    json["tps_error"] = metrics.tps / *published.tps - 1;
  }
  if (published.tpot) {
    json["tpot_ms"] = milliseconds(*published.tpot);
    json["tpot_error"] = ratio(metrics.tpot.mean, *published.tpot) - 1;
  }
  return json;
}

Json after_json(const TraceOp& op) {
  Json list = Json::array();
  for (const TraceDependency& dependency : op.after) {
    list.push_back(dependency.op);
    list.push_back(dependency.distance);
  }
  return list;
}

Json meets_json(const TraceOp& op) {
  if (!op.meets) return Json::array();
  return Json::array({op.meets->communication, op.meets->size, op.meets->stride, op.meets->peer_offset});
}

void append_parts(std::string& text, const Breakdown& b, const char* group, const std::vector<BreakdownPart>& parts) {
  std::vector<BreakdownPart> sorted = parts;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const BreakdownPart& a, const BreakdownPart& c) { return a.time > c.time; });
  for (const BreakdownPart& part : sorted)
    text += fmt::format("    {:<10} {:<16} {:>9.3f} ms  {:>5.1f} %\n", group, part.kind,
                        milliseconds(b.per_step(part.time)), 100 * ratio(part.time, b.window()));
}

std::optional<Seconds> cpu_per_step(const Trace& trace) {
  if (trace.cpu.empty()) return std::nullopt;
  SimTime sum;
  for (std::size_t i = 0; i < trace.size(); ++i)
    if (trace.step[i] >= trace.warmup_steps) sum += trace.cpu[i];
  return to_seconds(sum) / static_cast<double>(trace.steps);
}

std::optional<plan::ExchangeVolume> exchange_of(const Loaded& loaded, const Result& result) {
  return result.exchange ? result.exchange : plan::summary_volume(loaded.plan);
}

}  // namespace

Result make_result(const Trace& trace, std::string calibration) {
  std::set<std::string> assumed(trace.assumed.begin(), trace.assumed.end());
  for (std::size_t i = 0; i < trace.size(); ++i)
    if (trace.provenance[i] == Provenance::assumed && trace.ended[i] > trace.begun[i])
      assumed.insert(trace.op_of(i).kind);
  return Result{trace.clock,
                std::move(calibration),
                compute_metrics(trace),
                break_down(trace),
                std::vector<std::string>(assumed.begin(), assumed.end()),
                "",
                std::nullopt,
                trace.accuracy,
                trace.sharing_error,
                std::nullopt,
                cpu_per_step(trace)};
}

void scale_to_all_layers(Result& result, const Trace& trace, const plan::Plan& plan, plan::LayerSample sample) {
  explain::SampledRun run = explain::scale_to_all_layers(trace, plan, sample);
  result.metrics = run.metrics;
  result.breakdown = run.breakdown;
  result.sampling = LayerSampling{std::move(sample), std::move(run)};
}

Json result_json(const Loaded& loaded, const std::vector<std::string>& overrides, const Result& result) {
  const Metrics& m = result.metrics;
  Json json{{"schema_version", 1},
            {"kind", "result"},
            {"foretoken", {{"version", version()}, {"commit", commit()}}},
            {"scenario", loaded.scenario.name},
            {"overrides", overrides},
            {"topology", loaded.machine.name()},
            {"calibration", result.calibration},
            {"plan_hash", loaded.plan.plan_hash},
            {"program_hash", loaded.plan.program_hash},
            {"routing_hash", loaded.plan.routing_hash},
            {"clock", result.clock},
            {"seed", loaded.scenario.routing.seed},
            {"ranks", loaded.plan.program.ranks},
            {"sequences", m.sequences},
            {"tps", m.tps},
            {"tpot_ms", distribution_json(m.tpot)},
            {"step_ms", distribution_json(m.step)}};
  if (result.has_breakdown()) json["breakdown"] = breakdown_json(result.breakdown);
  if (const auto conditions = conditions_of(loaded.scenario); !conditions.empty()) json["conditions"] = conditions;
  if (const auto bytes = exchange_of(loaded, result)) json["exchange_bytes_per_step"] = json_of(*bytes);
  if (result.accuracy > 0) json["sharing"] = {{"accuracy", result.accuracy}, {"error", result.sharing_error}};
  if (result.sampling) json["layers_sampled"] = sampling_json(*result.sampling);
  if (!result.communicator.empty()) json["communicator"] = result.communicator;
  if (result.cpu_step) json["cpu_step_ms"] = milliseconds(*result.cpu_step);
  if (result.clock == kSimulated) json["assumed"] = result.assumed;
  // What was published is about the cluster; a live run here is another machine.
  if (loaded.scenario.published && result.clock == kSimulated)
    json["published"] = published_json(*loaded.scenario.published, m);
  return json;
}

Json trace_json(const Trace& trace, const Breakdown& breakdown) {
  const std::set<std::int32_t> ranks = explain::shown_ranks(trace, breakdown.rank);
  Json roles = Json::array();
  for (const auto& role : trace.roles) {
    Json ops = Json::array();
    for (const TraceOp& op : role)
      ops.push_back(Json::array({op.name, op.kind, op.stream, op.layer, op.micro_batch, after_json(op), meets_json(op),
                                 op.arrival_set, op.chunk}));
    roles.push_back(std::move(ops));
  }
  Json rank = Json::array(), op = Json::array(), step = Json::array(), posted = Json::array(), begun = Json::array(),
       ended = Json::array(), provenance = Json::array(), cpu = Json::array(), last_peer = Json::array();
  for (std::size_t i = 0; i < trace.size(); ++i) {
    if (!ranks.contains(trace.rank[i])) continue;
    rank.push_back(trace.rank[i]);
    op.push_back(trace.op[i]);
    step.push_back(trace.step[i]);
    posted.push_back(trace.posted[i].value());
    begun.push_back(trace.begun[i].value());
    ended.push_back(trace.ended[i].value());
    provenance.push_back(static_cast<int>(trace.provenance[i]));
    if (!trace.cpu.empty()) cpu.push_back(trace.cpu[i].value());
    if (!trace.last_peer.empty()) last_peer.push_back(trace.last_peer[i]);
  }
  Json json{
      {"time_unit", "ps"},
      {"warmup_steps", trace.warmup_steps},
      {"steps", trace.steps},
      {"ranks", std::vector<std::int32_t>(ranks.begin(), ranks.end())},
      {"role_of_rank", trace.role_of_rank},
      {"op_columns", {"name", "kind", "stream", "layer", "micro_batch", "after", "meets", "arrival_set", "chunk"}},
      {"roles", std::move(roles)},
      {"events",
       {{"rank", std::move(rank)},
        {"op", std::move(op)},
        {"step", std::move(step)},
        {"posted", std::move(posted)},
        {"begun", std::move(begun)},
        {"ended", std::move(ended)},
        {"provenance", std::move(provenance)}}}};
  if (!trace.cpu.empty()) json["events"]["cpu"] = std::move(cpu);
  if (!trace.last_peer.empty()) json["events"]["last_peer"] = std::move(last_peer);
  return json;
}

std::string result_text(const Loaded& loaded, const Result& result) {
  const Metrics& m = result.metrics;
  const Breakdown& b = result.breakdown;
  std::string text =
      fmt::format("{}\n  {} ranks on {}, {} sequences decoding, {} steps counted, {} clock, seed {}\n",
                  loaded.scenario.name, loaded.plan.program.ranks, loaded.machine.name(), grouped(m.sequences),
                  result.steps.value_or(loaded.scenario.measure.steps), result.clock, loaded.scenario.routing.seed);
  if (!result.calibration.empty())
    text += fmt::format("  calibration {}, plan {}\n", result.calibration, loaded.plan.plan_hash);
  for (const std::string& condition : conditions_of(loaded.scenario)) text += fmt::format("  with {}\n", condition);
  text += fmt::format("\n  TPS   {:>12} tokens/s", grouped(m.tps));
  const auto published = result.clock == kSimulated ? loaded.scenario.published : std::nullopt;
  if (published && published->tps)
    text += fmt::format("      published {:>9}        error {:+.1f} %", grouped(*published->tps),
                        100 * (m.tps / *published->tps - 1));
  text += fmt::format("\n  TPOT  {:>12.3f} ms mean", milliseconds(m.tpot.mean));
  if (published && published->tpot)
    text += fmt::format("       published {:>9.3f} ms     error {:+.1f} %", milliseconds(*published->tpot),
                        100 * (ratio(m.tpot.mean, *published->tpot) - 1));
  text +=
      fmt::format("\n        p50 {:.3f}  p95 {:.3f}  p99 {:.3f} ms;  step {:.3f} ms mean\n", milliseconds(m.tpot.p50),
                  milliseconds(m.tpot.p95), milliseconds(m.tpot.p99), milliseconds(m.step.mean));
  if (result.accuracy > 0)
    text += fmt::format("  Links shared to an accuracy of {:g}, error made {:.2g}\n", result.accuracy,
                        result.sharing_error);
  if (result.sampling) text += sampling_text(*result.sampling);
  if (result.cpu_step)
    text += fmt::format("  CPU   {:>12.3f} ms per step, all ranks together, waits left out\n",
                        milliseconds(*result.cpu_step));

  if (!result.has_breakdown()) return text;
  text += fmt::format("\n  Where a step goes, on the slowest rank ({}):\n", b.rank);
  append_parts(text, b, "compute", b.compute);
  append_parts(text, b, "exposed", b.exposed);
  append_parts(text, b, "waiting", b.waiting);
  if (b.idle.value() > 0)
    text += fmt::format("    {:<10} {:<16} {:>9.3f} ms  {:>5.1f} %\n", "idle", "", milliseconds(b.per_step(b.idle)),
                        100 * ratio(b.idle, b.window()));
  const Seconds hidden = b.per_step(total(b.hidden));
  const Seconds exposed = b.per_step(total(b.exposed));
  if (hidden.value() + exposed.value() > 0)
    text += fmt::format("  Communication: {:.3f} ms exposed, {:.3f} ms hidden behind compute\n", milliseconds(exposed),
                        milliseconds(hidden));
  if (const auto bytes = exchange_of(loaded, result))
    text += fmt::format("  Dispatch and combine {}\n", text_of(*bytes, loaded.scenario));
  text += "  The busy time rests on:";
  const char* separator = " ";
  for (const auto& [value, name] : kProvenanceNames) {
    if (b.share(value) <= 0) continue;
    text += fmt::format("{}{:.1f} % {}", separator, 100 * b.share(value), name);
    separator = ", ";
  }
  text += "\n";
  if (!result.assumed.empty())
    text += fmt::format("  Assumed, for want of measurements: {}\n", fmt::join(result.assumed, ", "));
  return text;
}

std::string brief_text(const Loaded& loaded, const Result& result, bool head) {
  const Metrics& m = result.metrics;
  std::string text;
  if (head)
    text = fmt::format("{:<26} {:>5} {:>10} {:>9} {:>9}   {:>10} {:>8} {:>9} {:>8}\n", "scenario", "ranks", "TPS",
                       "TPOT ms", "TPS/rank", "published", "error %", "TPOT ms", "error %");
  text +=
      fmt::format("{:<26} {:>5} {:>10} {:>9.3f} {:>9}", loaded.scenario.name, loaded.plan.program.ranks, grouped(m.tps),
                  milliseconds(m.tpot.mean), grouped(m.tps / static_cast<double>(loaded.plan.program.ranks)));
  const auto& published = loaded.scenario.published;
  if (!published) return text + "\n";
  text += published->tps
              ? fmt::format("   {:>10} {:>+8.1f}", grouped(*published->tps), 100 * (m.tps / *published->tps - 1))
              : fmt::format("   {:>10} {:>8}", "-", "-");
  text += published->tpot ? fmt::format(" {:>9.3f} {:>+8.1f}", milliseconds(*published->tpot),
                                        100 * (ratio(m.tpot.mean, *published->tpot) - 1))
                          : fmt::format(" {:>9} {:>8}", "-", "-");
  return text + "\n";
}

}  // namespace foretoken::cli
