#include "calibrate/measure/probe_plan.hpp"

#include "plan/machine/topology.hpp"

namespace foretoken::calibrate {
namespace {

// The format wants a topology file that exists. This one describes the computer, if in other words; nobody reads it.
constexpr const char* kScenario = R"({
  "kind": "scenario", "schema_version": 1, "name": "probe",
  "model": {"name": "probe", "layers": 2, "hidden": 256, "heads": 4, "head_dim": 64, "experts": 8, "top_k": 2,
            "expert_hidden": 256, "gated": false, "dtype": {"weights": "fp32"}},
  "workload": {"kind": "decode", "sequences": 8, "context": 64},
  "routing": {"kind": "uniform", "seed": 1, "routed_steps": 2},
  "deployment": {"attention": {"tp": 1, "dp": 1}, "experts": {"placement": "colocated", "exchange": "all_reduce"}},
  "cluster": {"topology": "/proc/cpuinfo"},
  "measure": {"warmup_steps": 2, "steps": 2}
})";

plan::Machine computer() {
  plan::Topology topology;
  topology.name = "host";
  topology.device.name = "host";
  topology.device.memory = Bytes(std::int64_t{1} << 50);
  topology.nodes = 1;
  topology.gpus_per_node = plan::kRanksPerHostMax;
  topology.cores_per_node = 1;  // no plan depends on how many
  return plan::build_machine(topology);
}

}  // namespace

plan::Plan host_plan(const JsonDocument& scenario) {
  return plan::make_plan(plan::parse_scenario(scenario), computer());
}

plan::Plan probe_plan(const std::string& name, const std::vector<std::string>& settings) {
  JsonDocument document = JsonDocument::from_text(kScenario, name);
  document.set("name=\"" + name + "\"");
  for (const std::string& setting : settings) document.set(setting);
  return host_plan(document);
}

}  // namespace foretoken::calibrate
