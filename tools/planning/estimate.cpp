#include "tools/planning/estimate.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "plan/lower/lower.hpp"
#include "plan/memory.hpp"
#include "plan/plan.hpp"
#include "tools/explain/bounds.hpp"
#include "tools/explain/critical_path.hpp"
#include "tools/explain/layer_sampling.hpp"
#include "tools/planning/step_bound.hpp"

namespace foretoken::planning {
namespace {

constexpr std::int64_t kWholeMax = 6;     // layers of a model that is simulated whole
constexpr std::int64_t kSampledMax = 16;  // layers that are simulated of a deeper one

/// A plan with the sample's layers alone. Nobody compares it with others, so that it has no hashes.
plan::Plan sampled_plan(const EstimateBasis& basis, const plan::Scenario& scenario, const plan::LayerSample& sample) {
  plan::Placement placement(scenario.model, scenario.workload, scenario.deployment);
  plan::Routing routing(scenario.routing, scenario.model.layers, scenario.model.experts, scenario.model.top_k);
  plan::Program program = plan::lower(scenario, placement, basis.machine, sample.sampled);
  return {scenario, std::move(placement), std::move(routing), sample.sampled, std::move(program), {}, "", "", ""};
}

plan::LayerSample require_layers(const plan::Scenario& scenario) {
  auto sample = layers_of(scenario);
  if (!sample)
    throw Error(ErrorCode::invalid_input, "its stages cannot have equal shares of a few layers that stand for all");
  return *std::move(sample);
}

}  // namespace

plan::Scenario scenario_of(const EstimateBasis& basis, const Candidate& candidate) {
  nlohmann::json json = basis.scenario;
  json["deployment"] = candidate.deployment_json();
  json["workload"]["sequences"] = candidate.sequences();
  return plan::parse_scenario(JsonDocument::from_text(json.dump(), candidate.label()));
}

PointMemory memory_of(const EstimateBasis& basis, const Candidate& candidate) {
  const plan::Scenario scenario = scenario_of(basis, candidate);
  const plan::Placement placement(scenario.model, scenario.workload, scenario.deployment);
  std::vector<std::int64_t> layers;
  for (std::int64_t layer = 0; layer < scenario.model.layers; ++layer) layers.push_back(layer);
  const plan::Program program = plan::lower(scenario, placement, basis.machine, layers);
  PointMemory fullest;
  for (const plan::Role& role : program.roles) {
    const plan::MemoryUse use = plan::memory_of(role, scenario, placement);
    if (use.total() > fullest.total()) fullest = {use.weights, use.kv_cache, use.activations, 0};
  }
  fullest.device = static_cast<double>(basis.machine.device().memory.value());
  return fullest;
}

std::optional<plan::LayerSample> layers_of(const plan::Scenario& scenario) {
  if (scenario.model.layers <= kWholeMax) return plan::sample_layers(scenario, scenario.model.layers);
  for (std::int64_t count = 2; count <= std::min(kSampledMax, scenario.model.layers); ++count) {
    try {
      return plan::sample_layers(scenario, count);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::invalid_input) throw;
    }
  }
  return std::nullopt;
}

Seconds tpot_bound(const EstimateBasis& basis, const Candidate& candidate) {
  const plan::Scenario scenario = scenario_of(basis, candidate);
  const plan::LayerSample sample = require_layers(scenario);
  const plan::Plan plan = sampled_plan(basis, scenario, sample);
  return least_tpot(plan, sample, basis.machine, basis.calibration, basis.simulation.framework) *
         (1 - kBoundSlack - 2 * basis.simulation.accuracy);
}

PointFigures estimate(const EstimateBasis& basis, const Candidate& candidate) {
  const plan::Scenario scenario = scenario_of(basis, candidate);
  const plan::LayerSample sample = require_layers(scenario);
  const plan::Plan plan = sampled_plan(basis, scenario, sample);
  const Trace trace = sim::simulate(plan, basis.machine, basis.calibration, basis.simulation);
  const explain::SampledRun run = explain::scale_to_all_layers(trace, plan, sample);
  PointFigures figures;
  figures.gpus = trace.ranks;
  figures.sequences = run.metrics.sequences;
  figures.tps = run.metrics.tps;
  figures.tpot_ms_mean = run.metrics.tpot.mean.value() * 1e3;
  figures.tpot_ms_p50 = run.metrics.tpot.p50.value() * 1e3;
  figures.tpot_ms_p95 = run.metrics.tpot.p95.value() * 1e3;
  figures.tpot_ms_p99 = run.metrics.tpot.p99.value() * 1e3;
  figures.exposed_ms = run.breakdown.per_step(total(run.breakdown.exposed)).value() * 1e3;
  figures.hidden_ms = run.breakdown.per_step(total(run.breakdown.hidden)).value() * 1e3;
  const explain::CriticalPath path = explain::find_critical_path(trace);
  const double sampling = run.error.value() / run.metrics.tpot.mean.value();
  const double model =
      basis.errors == nullptr ? 0 : relative_error(error_shares(path, trace, *basis.errors), *basis.errors);
  figures.relative_error = std::hypot(model, sampling);
  for (const explain::PathShare& share : explain::bounds_of(path, trace, plan, basis.machine))
    figures.bounds.emplace_back(share.name,
                                static_cast<double>(share.time.value()) / static_cast<double>(path.window().value()));
  return figures;
}

}  // namespace foretoken::planning
