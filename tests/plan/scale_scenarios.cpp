#include "tests/plan/scale_scenarios.hpp"

#include <nlohmann/json.hpp>

#include "tests/plan/plan_files.hpp"

namespace foretoken::plan::test {

using Json = nlohmann::json;

std::string ScaleScenario::text() const {
  // 61 layers of which 3 are dense, 256 experts of which a token visits 8, one shared expert. Grouped-query attention
  // with 8 KV heads stands in for latent attention.
  Json scenario = Json::parse(R"({
    "kind": "scenario",
    "schema_version": 1,
    "name": "scale",
    "model": {
      "name": "671b-a37b", "layers": 61, "dense_layers": 3, "dense_hidden": 18432, "hidden": 7168, "heads": 128,
      "kv_heads": 8, "head_dim": 128, "experts": 256, "top_k": 8, "expert_hidden": 2048, "gated": true,
      "shared_experts": 1, "dtype": { "weights": "fp8", "activations": "bf16", "kv_cache": "fp8" }
    },
    "workload": { "kind": "decode", "sequences": 1048576, "context": 1024 },
    "routing": { "kind": "uniform", "seed": 1, "routed_steps": 1 },
    "cluster": { "nodes": 2048 },
    "measure": { "warmup_steps": 1, "steps": 1 }
  })");
  scenario["deployment"] = Json::parse(deployment);
  scenario["cluster"]["topology"] = repository_file("topologies/hgx-h100-8nodes-ndr400.json");
  return scenario.dump();
}

std::vector<ScaleScenario> scale_scenarios() {
  return {
      // Every rank holds one expert of each MoE layer and 64 sequences: all do the same.
      {"Tp1Ep256",
       R"({"attention": {"tp": 1, "dp": 16384}, "experts": {"placement": "colocated", "exchange": "dispatch", "ep": 256}})",
       1},
      // 256 experts of 61 layers dealt to 2,048 ranks in turn: layer l's are on the 256 ranks from 256 (l mod 8) on, so
      // there are eight kinds of rank.
      {"Tp8Ep2048",
       R"({"attention": {"tp": 8, "dp": 2048}, "experts": {"placement": "round_robin", "exchange": "dispatch", "ep": 2048}})",
       8},
      // One role per stage.
      {"Tp8Pp8",
       R"({"attention": {"tp": 8, "dp": 256}, "pipeline": {"stages": 8}, "micro_batches": 16,
           "experts": {"placement": "colocated", "exchange": "all_reduce"}})",
       8},
      // As the first, in 8 chunks of 32 source ranks: one role per chunk of which a rank is the source.
      {"Tp1Ep256MicroStages",
       R"({"attention": {"tp": 1, "dp": 16384}, "overlap": "micro_stages", "chunks": 8,
           "experts": {"placement": "colocated", "exchange": "dispatch", "ep": 256}})",
       8},
  };
}

}  // namespace foretoken::plan::test
