#include "tests/runtime/small_plan.hpp"

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
plan::Machine invented_machine(bool nvls) {
  plan::Topology topology;
  topology.name = "invented";
  topology.device.name = "invented";
  topology.device.memory = Bytes(std::int64_t{1} << 50);
  topology.nvls = nvls;
  topology.nodes = 1;
  topology.gpus_per_node = 64;
  topology.nvlink_bandwidth = topology.pcie_bandwidth = topology.nic_bandwidth = BytesPerSecond(1e9);
  topology.nvlink_latency = topology.pcie_latency = topology.nic_latency = Seconds(1e-6);
  return plan::build_machine(topology);
}

}  // namespace

plan::Plan small_plan(const std::vector<std::string>& settings, bool nvls) {
  JsonDocument document = JsonDocument::from_text(kScenario, "small");
  for (const std::string& setting : settings) document.set(setting);
  return plan::make_plan(plan::parse_scenario(document), invented_machine(nvls));
}

}  // namespace foretoken::test
