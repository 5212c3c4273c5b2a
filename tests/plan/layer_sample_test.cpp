// Which layers stand for all, and the plan that has them alone.
#include "plan/layer_sample.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "plan/machine/topology.hpp"
#include "plan/program/text.hpp"
#include "tests/plan/plan_files.hpp"

namespace foretoken::plan {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// Only what a sample depends on.
Scenario scenario_of(std::int64_t layers, std::int64_t dense, std::int64_t stages) {
  Scenario scenario;
  scenario.model.layers = layers;
  scenario.model.dense_layers = dense;
  scenario.model.experts = 16;
  scenario.deployment.stages = stages;
  scenario.deployment.ep = 16;
  return scenario;
}

std::string refusal(const Scenario& scenario, std::int64_t count) {
  try {
    sample_layers(scenario, count);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    return error.what();
  }
  return "";
}

// Of 58 layers with experts, 3: in the middles of thirds, at 58/6, 174/6 and 290/6, after the 3 dense ones.
TEST(LayerSample, TakesOneDenseLayerAndSpreadsTheOthers) {
  const LayerSample sample = sample_layers(scenario_of(61, 3, 1), 4);
  EXPECT_THAT(sample.sampled, ElementsAre(1, 3 + 9, 3 + 29, 3 + 48));
  ASSERT_THAT(sample.strata, SizeIs(2));
  EXPECT_TRUE(sample.strata[0].dense);
  EXPECT_EQ(sample.strata[0].weight(), 3);
  EXPECT_EQ(sample.strata[1].weight(), 58.0 / 3);
  EXPECT_EQ(&sample.stratum_of(2), &sample.strata[0]);
  EXPECT_EQ(&sample.stratum_of(3), &sample.strata[1]);
}

TEST(LayerSample, OfAllLayersIsEveryOne) {
  for (const std::int64_t count : {6, 7, 1000}) {
    const LayerSample sample = sample_layers(scenario_of(6, 2, 3), count);
    EXPECT_THAT(sample.sampled, ElementsAre(0, 1, 2, 3, 4, 5));
    for (const LayerStratum& stratum : sample.strata) EXPECT_EQ(stratum.weight(), 1);
  }
}

TEST(LayerSample, OfDenseLayersNeedsOne) {
  EXPECT_THAT(sample_layers(scenario_of(8, 8, 1), 1).sampled, ElementsAre(4));
}

// Stages of 8, 4 each; and with 8 dense layers, which are the first stage, 4 of each kind.
TEST(LayerSample, GivesPipelineStagesTheSameShare) {
  EXPECT_THAT(sample_layers(scenario_of(16, 0, 2), 4).sampled, ElementsAre(2, 6, 10, 14));
  EXPECT_THAT(sample_layers(scenario_of(16, 8, 2), 4).sampled, ElementsAre(2, 6, 10, 14));
  EXPECT_THAT(refusal(scenario_of(16, 0, 2), 5), HasSubstr("take a multiple of 2"));
  EXPECT_THAT(refusal(scenario_of(16, 4, 2), 2), HasSubstr("take a multiple of 4"));  // strata of 4, 4 and 8
  EXPECT_THAT(refusal(scenario_of(15, 0, 2), 4), HasSubstr("no smaller number"));     // of 8 and 7
  EXPECT_THAT(refusal(scenario_of(16, 0, 4), 3), HasSubstr("--layers-sampled 3: 4 pipeline stages"));
}

TEST(LayerSample, RefusesWhatShowsNoSpread) {
  EXPECT_THAT(refusal(scenario_of(16, 0, 1), 1), HasSubstr("two with experts at least"));
  EXPECT_THAT(refusal(scenario_of(16, 3, 1), 1), HasSubstr("take 2 or more"));
  EXPECT_THAT(refusal(scenario_of(16, 3, 1), 2), HasSubstr("two with experts at least"));
  EXPECT_EQ(refusal(scenario_of(16, 15, 1), 2), "");  // the only one with experts
}

// 16 experts over 64 ranks in turn: layers 0, 4, 8, ... have them on the same ranks, so runs of four are taken.
TEST(LayerSample, KeepsRunsTogetherWhereExpertsGoRound) {
  Scenario scenario = scenario_of(32, 0, 1);
  scenario.deployment.ep = 64;
  EXPECT_EQ(refusal(scenario, 3), "");  // colocated
  scenario.deployment.placement = ExpertPlacement::round_robin;
  EXPECT_THAT(sample_layers(scenario, 8).sampled, ElementsAre(8, 9, 10, 11, 24, 25, 26, 27));
  EXPECT_THAT(refusal(scenario, 6), HasSubstr("take 2 layers more"));
}

TEST(LayerSample, RefusesFaultsThatComeLater) {
  Scenario scenario = scenario_of(16, 0, 1);
  scenario.faults.emplace_back();
  EXPECT_EQ(refusal(scenario, 4), "");
  scenario.faults.back().from = Seconds(1e-3);
  EXPECT_THAT(refusal(scenario, 4), HasSubstr("a fault begins later than the run"));
}

// A sampled layer's ops are the whole plan's, name for name.
TEST(LayerSample, PlansTheSameOpsUnderTheirOwnNumbers) {
  const JsonDocument document = JsonDocument::from_text(
      test::edited(test::base_scenario("dispatch"), {{"/model/layers", "12"}}).dump(), "case.json");
  const Scenario scenario = parse_scenario(document);
  const Machine machine = build_machine(read_topology(scenario.cluster.topology, {}));
  const Plan whole = make_plan(scenario, machine);
  const LayerSample sample = sample_layers(scenario, 4);
  const Plan plan = with_layers(whole, machine, sample);
  EXPECT_EQ(plan.plan_hash, whole.plan_hash);
  EXPECT_EQ(plan.layers, sample.sampled);
  ASSERT_EQ(plan.program.role_of_rank, whole.program.role_of_rank);
  for (std::size_t r = 0; r < plan.program.roles.size(); ++r) {
    std::vector<std::string> expected;
    for (const Op& op : whole.program.roles[r].ops)
      if (op.layer < 0 || std::binary_search(sample.sampled.begin(), sample.sampled.end(), op.layer))
        expected.push_back(op.name);
    std::vector<std::string> names;
    for (const Op& op : plan.program.roles[r].ops) names.push_back(op.name);
    EXPECT_EQ(names, expected);
  }
  // And of all layers, the plan itself.
  EXPECT_EQ(to_text(with_layers(whole, machine, sample_layers(scenario, 12)).program), to_text(whole.program));
}

}  // namespace
}  // namespace foretoken::plan
