#include "tests/explain/hand_results.hpp"

namespace foretoken::test {
namespace {

using Json = nlohmann::json;

void add(Trace& trace, std::int32_t rank, std::int64_t step, std::int32_t op, std::int64_t posted, std::int64_t begun,
         std::int64_t ended) {
  trace.rank.push_back(rank);
  trace.step.push_back(static_cast<std::int32_t>(step));
  trace.op.push_back(op);
  trace.posted.emplace_back(posted);
  trace.begun.emplace_back(begun);
  trace.ended.emplace_back(ended);
  trace.provenance.push_back(Provenance::measured);
}

Json distribution_json(const Distribution& d) {
  return {{"mean", d.mean.value() * 1e3},
          {"p50", d.p50.value() * 1e3},
          {"p95", d.p95.value() * 1e3},
          {"p99", d.p99.value() * 1e3}};
}

Json numbers(const std::vector<SimTime>& times) {
  Json list = Json::array();
  for (const SimTime time : times) list.push_back(time.value());
  return list;
}

}  // namespace

Trace empty_trace(std::int64_t ranks, std::int64_t steps) {
  Trace trace;
  trace.clock = "simulated";
  trace.ranks = ranks;
  trace.warmup_steps = 1;
  trace.steps = steps;
  trace.role_of_rank.assign(static_cast<std::size_t>(ranks), 0);
  trace.roles = {{{"l0.qkv", "gemm", "compute", false, 0, 0},
                  {"l0.reduce", "all_reduce", "communication", true, 0, 0},
                  {"l1.norm", "norm", "compute", false, 1, 0},
                  {"end", "step_end", "compute", false, -1, 0}}};
  return trace;
}

void add_rank(Trace& trace, std::int32_t rank, const StepShape& shape, std::int64_t start) {
  add(trace, rank, 0, 3, start, start, start);
  std::int64_t now = start;
  for (std::int64_t step = 1; step <= trace.steps; ++step) {
    const std::int64_t gemm_end = now + shape.gemm;
    const std::int64_t met = gemm_end + shape.waiting;
    const std::int64_t reduced = met + shape.all_reduce;
    const std::int64_t normed = reduced + shape.norm;
    add(trace, rank, step, 0, now, now, gemm_end);
    add(trace, rank, step, 1, gemm_end, met, reduced);
    add(trace, rank, step, 2, reduced, reduced, normed);
    now = normed + shape.idle;
    add(trace, rank, step, 3, now, now, now);
  }
}

explain::StoredResult steady(const StepShape& shape, std::int64_t steps) {
  explain::StoredResult result;
  result.file = "steady.json";
  result.scenario = "invented";
  result.build = "0.1.0 abc";
  result.topology = "round-machine";
  result.calibration = "invented";
  result.clock = "simulated";
  result.plan_hash = "0123456789abcdef0123456789abcdef";
  result.seed = 1;
  const Seconds step = to_seconds(SimTime(shape.whole()));
  result.tps = 8 / step.value();
  result.tpot = result.step = {step, step, step, step};
  result.scenario_document = {{"name", "invented"}, {"deployment", {{"micro_batches", 1}}}};
  result.trace = empty_trace(1, steps);
  add_rank(result.trace, 0, shape);
  return result;
}

Json stored_json(const explain::StoredResult& result) {
  const Trace& trace = result.trace;
  Json roles = Json::array();
  for (const auto& role : trace.roles) {
    Json ops = Json::array();
    for (const TraceOp& op : role) ops.push_back(Json::array({op.name, op.kind, op.stream, op.layer, op.micro_batch}));
    roles.push_back(std::move(ops));
  }
  Json ranks = Json::array();
  for (std::int64_t rank = 0; rank < trace.ranks; ++rank) ranks.push_back(rank);
  Json provenance = Json::array();
  for (const Provenance p : trace.provenance) provenance.push_back(static_cast<int>(p));
  Json json{{"schema_version", 1},
            {"kind", "result"},
            {"foretoken", {{"version", "0.1.0"}, {"commit", "abc"}}},
            {"scenario", result.scenario},
            {"topology", result.topology},
            {"calibration", result.calibration},
            {"plan_hash", result.plan_hash},
            {"clock", result.clock},
            {"seed", result.seed},
            {"ranks", trace.ranks},
            {"tps", result.tps},
            {"tpot_ms", distribution_json(result.tpot)},
            {"step_ms", distribution_json(result.step)},
            {"breakdown", {{"rank", result.slowest_rank}}},
            {"resolved_scenario", result.scenario_document},
            {"trace",
             {{"time_unit", "ps"},
              {"warmup_steps", trace.warmup_steps},
              {"steps", trace.steps},
              {"ranks", ranks},
              {"role_of_rank", trace.role_of_rank},
              {"op_columns", {"name", "kind", "stream", "layer", "micro_batch"}},
              {"roles", roles},
              {"events",
               {{"rank", trace.rank},
                {"op", trace.op},
                {"step", trace.step},
                {"posted", numbers(trace.posted)},
                {"begun", numbers(trace.begun)},
                {"ended", numbers(trace.ended)},
                {"provenance", provenance}}}}}};
  if (!trace.cpu.empty()) json["trace"]["events"]["cpu"] = numbers(trace.cpu);
  if (result.cpu_step) json["cpu_step_ms"] = result.cpu_step->value() * 1e3;
  if (result.overhead) json["live"] = {{"instrumentation_overhead", *result.overhead}};
  if (result.published) {
    json["published"] = {{"source", result.published->source}};
    if (result.published->tps) json["published"]["tps"] = *result.published->tps;
    if (result.published->tpot) json["published"]["tpot_ms"] = result.published->tpot->value() * 1e3;
  }
  return json;
}

}  // namespace foretoken::test
