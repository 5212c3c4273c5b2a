#include "tests/runtime/small_plan.hpp"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/json_reader.hpp"
#include "plan/machine/topology.hpp"

namespace foretoken::test {
namespace {

// The topology file is named because the format wants one; the machine below is used instead.
constexpr const char* kScenario = R"({
  "kind": "scenario", "schema_version": 1, "name": "small",
  "model": {"name": "tiny", "layers": 3, "hidden": 32, "heads": 4, "head_dim": 8, "experts": 4, "top_k": 2,
            "expert_hidden": 24, "gated": false, "dtype": {"weights": "fp32"}},
  "workload": {"kind": "decode", "sequences": 8, "context": 5},
  "routing": {"kind": "uniform", "seed": 1, "routed_steps": 2},
  "deployment": {"attention": {"tp": 1, "dp": 1}, "experts": {"placement": "colocated", "exchange": "all_reduce"}},
  "cluster": {"topology": "topologies/hgx-h100-2nodes-ndr400.json"},
  "measure": {"warmup_steps": 1, "steps": 2}
})";

// Its memory holds whatever a test asks for: what this machine has is the runtime's to say.
plan::Machine invented_machine(bool nvls, std::int64_t nodes = 1) {
  plan::Topology topology;
  topology.name = "invented";
  topology.device.name = "invented";
  topology.device.memory = Bytes(std::int64_t{1} << 50);
  topology.nvls = nvls;
  topology.nodes = nodes;
  topology.gpus_per_node = 64 / nodes;
  topology.nvlink_bandwidth = topology.pcie_bandwidth = topology.nic_bandwidth = BytesPerSecond(1e9);
  topology.nvlink_latency = topology.pcie_latency = topology.nic_latency = Seconds(1e-6);
  return plan::build_machine(topology);
}

}  // namespace

plan::Plan small_plan(const std::vector<std::string>& settings, bool nvls) {
  JsonDocument document = JsonDocument::from_text(kScenario, "small");
  for (const std::string& setting : settings) document.set(setting);
  const plan::Scenario scenario = plan::parse_scenario(document);
  return plan::make_plan(scenario, invented_machine(nvls, scenario.cluster.nodes.value_or(1)));
}

plan::Plan paper_plan(const std::string& name, const std::vector<std::string>& settings) {
  JsonDocument document =
      JsonDocument::from_file(std::filesystem::path(FORETOKEN_SOURCE_DIR) / "scenarios/paper" / (name + ".json"));
  for (const std::string& setting : settings) document.set(setting);
  const plan::Scenario scenario = plan::parse_scenario(document);
  const plan::Topology topology = plan::read_topology(
      scenario.cluster.topology, plan::TopologyOverrides{scenario.cluster.nodes, scenario.cluster.nic});
  return plan::make_plan(scenario, plan::build_machine(topology));
}

std::vector<std::string> laptop_scenarios() {
  std::vector<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(FORETOKEN_SOURCE_DIR) / "scenarios/laptop"))
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

plan::Plan laptop_plan(const std::string& name, const std::vector<std::string>& settings) {
  JsonDocument document =
      JsonDocument::from_file(std::filesystem::path(FORETOKEN_SOURCE_DIR) / "scenarios/laptop" / (name + ".json"));
  // Nothing divides the sequences, so slices and micro-batches are uneven, the last one too.
  for (const char* setting :
       {"model.hidden=32", "model.head_dim=8", "model.expert_hidden=24", "workload.sequences=11", "workload.context=5",
        "routing.routed_steps=2", R"(measure={"warmup_steps":1,"steps":2})"})
    document.set(setting);
  if (document.json().at("model").contains("dense_hidden")) document.set("model.dense_hidden=40");
  for (const std::string& setting : settings) document.set(setting);
  return plan::make_plan(plan::parse_scenario(document), invented_machine(false));
}

}  // namespace foretoken::test
