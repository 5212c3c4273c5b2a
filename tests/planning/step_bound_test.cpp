// What rules candidates out without a simulation must never be more than what the simulation says.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/calibration.hpp"
#include "core/error.hpp"
#include "plan/machine/topology.hpp"
#include "tools/planning/estimate.hpp"

namespace foretoken::planning {
namespace {

/// Four layers, the first of them dense: simulated whole.
nlohmann::json scenario_on(const char* topology) {
  return nlohmann::json::parse(fmt::format(R"({{
      "kind": "scenario", "schema_version": 1, "name": "bound",
      "model": {{"name": "small", "layers": 4, "hidden": 2048, "heads": 16, "kv_heads": 8, "head_dim": 128, "experts": 16,
                 "top_k": 2, "expert_hidden": 2048, "gated": true, "dense_layers": 0,
                 "dtype": {{"weights": "bf16", "activations": "bf16", "kv_cache": "bf16"}}}},
      "workload": {{"kind": "decode", "sequences": 1, "context": 1024}},
      "routing": {{"kind": "zipf", "exponent": 0.8, "seed": 1, "routed_steps": 1}},
      "cluster": {{"topology": "{}"}},
      "measure": {{"warmup_steps": 1, "steps": 1}}}})",
                                           std::filesystem::absolute(topology).string()));
}

TEST(StepBound, IsNeverAboveTheSimulation) {
  const char* const file = "topologies/hgx-h100-2nodes-ndr400.json";
  const plan::Machine machine = plan::build_machine(plan::read_topology(file));
  const Calibration calibration = read_calibration("topologies/calibrations/h100-sxm.json");
  const nlohmann::json scenario = scenario_on(file);
  const EstimateBasis basis{scenario, machine, calibration, nullptr, {}};
  Candidate plain;
  plain.dp = 16;
  const plan::ModelSpec model = scenario_of(basis, plain).model;
  double logs = 0;
  int simulated = 0;
  for (const std::int64_t gpus : {8, 16})
    for (Candidate candidate : deployments(model, gpus, 8, SearchSpace{}))
      for (const std::int64_t batch : {8, 128}) {
        candidate.batch = batch;
        Seconds bound;
        PointFigures figures;
        try {
          bound = tpot_bound(basis, candidate);
          figures = estimate(basis, candidate);
        } catch (const Error& error) {
          ASSERT_EQ(error.code(), ErrorCode::invalid_input) << error.what();
          continue;
        }
        EXPECT_LE(bound.value() * 1e3, figures.tpot_ms_mean) << candidate.label();
        logs += std::log(bound.value() * 1e3 / figures.tpot_ms_mean);
        ++simulated;
      }
  // A bound that says little would pass, too.
  EXPECT_GT(simulated, 100);
  EXPECT_GT(std::exp(logs / simulated), 0.7);
}

}  // namespace
}  // namespace foretoken::planning
