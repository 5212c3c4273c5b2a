#include "tools/explain/sensitivity.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "core/metrics.hpp"

namespace foretoken::explain {
namespace {

struct Loaded {
  plan::Topology topology;
  plan::Plan plan;
  Calibration calibration;
  Seconds tpot;
};

Loaded load(const std::string& file) {
  const JsonDocument document = JsonDocument::from_file(file);
  const plan::Scenario scenario = plan::parse_scenario(document);
  plan::Topology topology =
      plan::read_topology(scenario.cluster.topology, {scenario.cluster.nodes, scenario.cluster.nic});
  const plan::Machine machine = plan::build_machine(topology);
  plan::Plan plan = plan::make_plan(scenario, machine);
  Calibration calibration = read_calibration(topology.calibration);
  const Seconds tpot = compute_metrics(sim::simulate(plan, machine, calibration)).tpot.mean;
  return {std::move(topology), std::move(plan), std::move(calibration), tpot};
}

std::map<std::string, double> elasticities(const Loaded& loaded, double factor) {
  const sim::SimulateOptions options;
  std::map<std::string, double> result;
  for (const Sensitivity& one :
       sensitivities({loaded.plan, loaded.topology, loaded.calibration, options, loaded.tpot}, factor, [](Resource) {}))
    result[std::string(name_of(one.resource))] = one.elasticity;
  return result;
}

// Every rate and every latency of the model belongs to a resource: with all of them better by a factor, time is divided
// by it. Rounding to picoseconds is all that is left.
TEST(Sensitivity, EverythingBetterDividesTpotByTheFactor) {
  for (const char* file : {"scenarios/paper/baseline-tp8-pp2.json", "scenarios/paper/scaling-ep16.json"}) {
    Loaded loaded = load(file);
    for (const auto& [resource, name] : kResourceNames)
      if (resource != Resource::cores && resource != Resource::messages)
        improve(resource, 2.0, loaded.topology, loaded.calibration);
    const Seconds tpot =
        compute_metrics(sim::simulate(loaded.plan, plan::build_machine(loaded.topology), loaded.calibration)).tpot.mean;
    EXPECT_NEAR(ratio(loaded.tpot, tpot), 2.0, 1e-4) << file;
  }
}

// A factor of one changes nothing.
TEST(Sensitivity, OneTimesAsGoodIsTheSame) {
  Loaded loaded = load("scenarios/paper/scaling-ep16.json");
  for (const auto& [resource, name] : kResourceNames)
    if (resource != Resource::cores && resource != Resource::messages)
      improve(resource, 1.0, loaded.topology, loaded.calibration);
  const Seconds tpot =
      compute_metrics(sim::simulate(loaded.plan, plan::build_machine(loaded.topology), loaded.calibration)).tpot.mean;
  EXPECT_EQ(tpot, loaded.tpot);
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
  Calibration calibration;
  HostCalibration& host = calibration.host.emplace();
  for (HostTerms& costs : host.unit_costs) costs[HostTerm::norm_elements] = 8;
  HostCommunication& threads = host.communication.emplace_back();
  for (HostTerms& costs : threads.unit_costs) costs[HostTerm::communication_bytes] = 6;
  threads.wake = Seconds(4);
  plan::Topology topology;
  improve(Resource::cores, 2, topology, calibration);
  for (const HostTerms& costs : host.unit_costs) EXPECT_EQ(costs[HostTerm::norm_elements], 4);
  EXPECT_EQ(threads.unit_costs[0][HostTerm::communication_bytes], 6);
  improve(Resource::messages, 2, topology, calibration);
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
