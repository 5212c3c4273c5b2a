#include "plan/layer_sample.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <string>

#include "core/error.hpp"
#include "plan/lower/lower.hpp"
#include "plan/program/validate.hpp"

namespace foretoken::plan {
namespace {

[[noreturn]] void refuse(std::int64_t count, const std::string& found, const std::string& expected) {
  throw input_error(fmt::format("--layers-sampled {}", count), "", found, expected);
}

std::vector<LayerStratum> strata_of(const ModelSpec& model, std::int64_t stages) {
  std::vector<LayerStratum> strata;
  for (std::int64_t stage = 0; stage < stages; ++stage) {
    const Range layers = split(Range{0, model.layers}, stages, stage);
    const std::int64_t border = std::clamp(model.dense_layers, layers.begin, layers.end);
    if (border > layers.begin) strata.push_back({stage, true, {layers.begin, border}, {}});
    if (border < layers.end) strata.push_back({stage, false, {border, layers.end}, {}});
  }
  return strata;
}

// After so many layers experts are on the same ranks again.
std::int64_t period_of(const Scenario& scenario, const LayerStratum& stratum) {
  const DeploymentSpec& deployment = scenario.deployment;
  if (stratum.dense || deployment.placement != ExpertPlacement::round_robin) return 1;
  return deployment.ep / std::gcd(deployment.ep, scenario.model.experts);
}

// How many layers of each stratum.
std::vector<std::int64_t> shares_of(const std::vector<LayerStratum>& strata, std::int64_t stages, std::int64_t layers,
                                    std::int64_t count) {
  std::vector<std::int64_t> shares;
  if (stages == 1) {
    const bool both = strata.size() == 2;
    if (both && count < 2) refuse(count, "the model has dense layers and layers with experts", "take 2 or more");
    for (const LayerStratum& stratum : strata) shares.push_back(!both ? count : stratum.dense ? 1 : count - 1);
    return shares;
  }
  std::int64_t divisor = 0;
  for (const LayerStratum& stratum : strata) divisor = std::gcd(divisor, stratum.layers.size());
  const std::int64_t unit = layers / divisor;  // the least count of which every stratum has its share
  if (count % unit != 0)
    refuse(count,
           fmt::format("{} pipeline stages cannot have the same share of {} of {} layers", stages, count, layers),
           divisor == 1 ? "leave it out: no smaller number of layers can be shared"
                        : fmt::format("take a multiple of {}", unit));
  for (const LayerStratum& stratum : strata) shares.push_back(stratum.layers.size() * count / layers);
  return shares;
}

void choose(LayerStratum& stratum, std::int64_t share, std::int64_t period, std::int64_t count) {
  const std::int64_t layers = stratum.layers.size();
  if (share >= layers) {
    for (std::int64_t layer = stratum.layers.begin; layer < stratum.layers.end; ++layer)
      stratum.sampled.push_back(layer);
    return;
  }
  if (!stratum.dense && share < 2)
    refuse(count, "leaves one layer with experts, which does not show how such layers differ",
           "take more, two with experts at least in every pipeline stage");
  if (share % period != 0)
    refuse(
        count,
        fmt::format("experts are on the same ranks again after {} layers, and {} layers with experts are no multiple",
                    period, share),
        fmt::format("take {} layers more", period - share % period));
  const std::int64_t runs = layers / period;
  const std::int64_t taken = share / period;
  for (std::int64_t i = 0; i < taken; ++i) {
    const std::int64_t run = (2 * i + 1) * runs / (2 * taken);
    for (std::int64_t j = 0; j < period; ++j) stratum.sampled.push_back(stratum.layers.begin + run * period + j);
  }
}

}  // namespace

const LayerStratum& LayerSample::stratum_of(std::int64_t layer) const {
  const auto found = std::find_if(strata.begin(), strata.end(), [&](const LayerStratum& stratum) {
    return layer >= stratum.layers.begin && layer < stratum.layers.end;
  });
  FORETOKEN_CHECK(found != strata.end(), "the stratum of a layer outside the model was asked for");
  return *found;
}

LayerSample sample_layers(const Scenario& scenario, std::int64_t count) {
  const ModelSpec& model = scenario.model;
  const std::int64_t stages = scenario.deployment.stages;
  FORETOKEN_CHECK(count >= 1, "a sample has a layer");
  if (std::any_of(scenario.faults.begin(), scenario.faults.end(),
                  [](const FaultSpec& fault) { return fault.from > Seconds(0); }))
    refuse(count, "a fault begins later than the run, whose times the sample does not have",
           "let faults begin at 0, or leave it out");
  if (model.moe_every > 1)
    refuse(count, "experts are in some layers only (model.moe_every), which are no run of layers", "leave it out");
  if (model.window && !model.window->full_layers.empty())
    refuse(count, "some layers attend to a window only (model.window)", "leave it out");
  LayerSample sample{model.layers, strata_of(model, stages), {}};
  const std::vector<std::int64_t> shares = count >= model.layers
                                               ? std::vector<std::int64_t>(sample.strata.size(), model.layers)
                                               : shares_of(sample.strata, stages, model.layers, count);
  for (std::size_t s = 0; s < sample.strata.size(); ++s) {
    LayerStratum& stratum = sample.strata[s];
    choose(stratum, shares[s], period_of(scenario, stratum), count);
    sample.sampled.insert(sample.sampled.end(), stratum.sampled.begin(), stratum.sampled.end());
  }
  return sample;
}

Plan with_layers(const Plan& whole, const Machine& machine, const LayerSample& sample) {
  Plan plan = whole;
  plan.layers = sample.sampled;
  plan.program = lower(plan.scenario, plan.placement, machine, plan.layers);
  validate(plan.program, plan.placement);
  return plan;
}

}  // namespace foretoken::plan
