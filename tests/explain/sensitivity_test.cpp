#include "tools/explain/sensitivity.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/metrics.hpp"

namespace foretoken::explain {
namespace {

struct Loaded {
  plan::Topology topology;
  plan::Plan plan;
  Calibration calibration;
  Seconds tpot;
};

Seconds tpot_of(const plan::Plan& plan, const plan::Topology& topology, const Calibration& calibration) {
  return compute_metrics(sim::simulate(plan, plan::build_machine(topology), calibration)).tpot.mean;
}

Loaded load(
    const std::string& file, const std::vector<std::string>& overrides = {},
    const std::function<void(plan::Topology&)>& change = [](plan::Topology&) {}) {
  JsonDocument document = JsonDocument::from_file(file);
  for (const std::string& assignment : overrides) document.set(assignment);
  const plan::Scenario scenario = plan::parse_scenario(document);
  plan::Topology topology =
      plan::read_topology(scenario.cluster.topology, {scenario.cluster.nodes, scenario.cluster.nic});
  change(topology);
  plan::Plan plan = plan::make_plan(scenario, plan::build_machine(topology));
  Calibration calibration = read_calibration(topology.calibration);
  const Seconds tpot = tpot_of(plan, topology, calibration);
  return {std::move(topology), std::move(plan), std::move(calibration), tpot};
}

void improve_all(Loaded& loaded, double factor) {
  MachineNumbers numbers{loaded.topology, loaded.calibration, loaded.plan.scenario.execution};
  for (const auto& [resource, name] : kResourceNames)
    if (resource != Resource::cores && resource != Resource::messages) improve(resource, factor, numbers);
  loaded.topology = numbers.topology;
  loaded.calibration = numbers.calibration;
  loaded.plan.scenario.execution = numbers.execution;
}

std::map<std::string, double> elasticities(const Loaded& loaded, double factor) {
  const sim::SimulateOptions options;
  std::map<std::string, double> result;
  for (const Sensitivity& one :
       sensitivities({loaded.plan, loaded.topology, loaded.calibration, options, loaded.tpot}, factor, [](Resource) {}))
    result[std::string(name_of(one.resource))] = one.elasticity;
  return result;
}

struct ChangedCluster {
  const char* file;
  std::vector<std::string> overrides;
  std::function<void(plan::Topology&)> change = [](plan::Topology&) {};
};

void to_leaf_spine(plan::Topology& topology) {
  topology.fabric.kind = plan::FabricKind::leaf_spine;
  topology.fabric.nodes_per_leaf = 1;
  topology.fabric.spines = 2;
  topology.fabric.cables_per_spine = 1;
  topology.fabric.oversubscription = 4;
  topology.fabric.uplink_latency = Seconds(1e-6);
}

void to_two_switches(plan::Topology& topology) {
  plan::FabricSpec& fabric = topology.fabric;
  fabric.kind = plan::FabricKind::explicit_list;
  fabric.switches = {"left", "right"};
  fabric.cables.push_back({"left", "right", BytesPerSecond(20e9), Seconds(1e-6), 2});
  for (int node = 0; node < 2; ++node)
    for (std::int64_t nic = 0; nic < plan::nics_of_a_node(topology); ++nic)
      fabric.cables.push_back({"node" + std::to_string(node) + ".nic" + std::to_string(nic),
                               fabric.switches[static_cast<std::size_t>(node)], BytesPerSecond(50e9), Seconds(1e-6),
                               1});
}

// Every rate and every latency of the model belongs to a resource: with all of them better by a factor, time is divided
// by it. Rounding to picoseconds is all that is left.
TEST(Sensitivity, EverythingBetterDividesTpotByTheFactor) {
  const std::vector<ChangedCluster> cases = {
      {"scenarios/paper/baseline-tp8-pp2.json", {}},
      {"scenarios/paper/scaling-ep16.json", {}},
      {"scenarios/paper/baseline-tp8-pp2.json", {"deployment.collectives.all_reduce=nvls"}},
      {"scenarios/paper/baseline-tp8-pp2.json", {"execution={\"mode\":\"eager\"}"}},
      {"scenarios/paper/baseline-tp8-pp2.json",
       {"execution={\"mode\":\"eager\",\"launch\":\"40 us\",\"gap\":\"2 us\"}"}},
      {"scenarios/paper/scaling-ep16.json", {"deployment.collectives.exchange=hierarchical"}},
      {"scenarios/paper/scaling-ep16.json", {}, to_leaf_spine},
      {"scenarios/paper/scaling-ep16.json", {"deployment.collectives.exchange=hierarchical"}, to_two_switches}};
  for (const ChangedCluster& one : cases) {
    Loaded loaded = load(one.file, one.overrides, one.change);
    improve_all(loaded, 2.0);
    const Seconds tpot = tpot_of(loaded.plan, loaded.topology, loaded.calibration);
    EXPECT_NEAR(ratio(loaded.tpot, tpot), 2.0, 1e-4) << one.file << " " << ::testing::PrintToString(one.overrides);
  }
}

// What limits a narrow trunk is the fabric, and with faster NICs alone its cables stay as they are.
TEST(Sensitivity, OfANarrowTrunkTheFabric) {
  const auto all = elasticities(load("scenarios/paper/scaling-ep16.json", {}, to_leaf_spine), 1.1);
  EXPECT_GT(all.at("fabric"), 0.1);
  EXPECT_LT(all.at("nic"), 0.01);
}

// A factor of one changes nothing.
TEST(Sensitivity, OneTimesAsGoodIsTheSame) {
  Loaded loaded = load("scenarios/paper/scaling-ep16.json", {}, to_leaf_spine);
  improve_all(loaded, 1.0);
  EXPECT_EQ(tpot_of(loaded.plan, loaded.topology, loaded.calibration), loaded.tpot);
}

// Decoding reads weights: memory matters most. Its gain cannot exceed the factor, no resource makes it slower by more
// than choices that tip over, and together they are about everything.
TEST(Sensitivity, OfThePaperBaseline) {
  const Loaded loaded = load("scenarios/paper/baseline-tp8-pp2.json");
  const auto all = elasticities(loaded, 1.1);
  ASSERT_EQ(all.size(), 8U);
  double sum = 0;
  for (const auto& [name, elasticity] : all) {
    EXPECT_LE(elasticity, 1.0 + 1e-9) << name;
    EXPECT_GE(elasticity, -0.01) << name;
    EXPECT_LE(elasticity, all.at("memory")) << name;
    sum += elasticity;
  }
  EXPECT_NEAR(sum, 1.0, 0.1);
}

// Of a host: what cores compute, and messages apart from it.
TEST(Sensitivity, OfAHostItsCoresAndItsMessages) {
  MachineNumbers numbers;
  HostCalibration& host = numbers.calibration.host.emplace();
  for (HostTerms& costs : host.unit_costs) costs[HostTerm::norm_elements] = 8;
  HostCommunication& threads = host.communication.emplace_back();
  for (HostTerms& costs : threads.unit_costs) costs[HostTerm::communication_bytes] = 6;
  threads.wake = Seconds(4);
  improve(Resource::cores, 2, numbers);
  for (const HostTerms& costs : host.unit_costs) EXPECT_EQ(costs[HostTerm::norm_elements], 4);
  EXPECT_EQ(threads.unit_costs[0][HostTerm::communication_bytes], 6);
  improve(Resource::messages, 2, numbers);
  for (const HostTerms& costs : threads.unit_costs) EXPECT_EQ(costs[HostTerm::communication_bytes], 3);
  EXPECT_EQ(threads.wake, Seconds(2));
  EXPECT_EQ(host.unit_costs[1][HostTerm::norm_elements], 4);
}

TEST(Sensitivity, SaysWhatItIsAbout) {
  const Loaded loaded = load("scenarios/paper/scaling-ep16.json");
  std::vector<std::string> asked;
  const sim::SimulateOptions options;
  sensitivities({loaded.plan, loaded.topology, loaded.calibration, options, loaded.tpot}, 1.1,
                [&](Resource resource) { asked.emplace_back(name_of(resource)); });
  EXPECT_THAT(asked, ::testing::ElementsAre("memory", "l2", "flops", "launch", "nvlink", "nic", "latency", "kernels"));
}

}  // namespace
}  // namespace foretoken::explain
