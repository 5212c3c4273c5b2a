// Plans of 16,384 ranks: they cost what their distinct roles cost, in text and in ops.
//
// No wall time is asserted here. On two cores of a server, release build: 0.15 to 0.3 s and 11 to 26 MB, machine
// included.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "plan/program/text.hpp"
#include "tests/plan/plan_files.hpp"
#include "tests/plan/scale_scenarios.hpp"

namespace foretoken::plan::test {
namespace {

std::size_t ops_of(const Program& program) {
  std::size_t ops = 0;
  for (const Role& role : program.roles) ops += role.ops.size();
  return ops;
}

class PlanScale : public testing::TestWithParam<ScaleScenario> {};

TEST_P(PlanScale, CostsWhatItsRolesCost) {
  const Plan plan = plan_of_text(GetParam().text());
  const Program& program = plan.program;
  EXPECT_EQ(program.ranks, 16'384);
  EXPECT_EQ(program.role_of_rank.size(), 16'384u);
  std::size_t ranks = 0;
  for (const Role& role : program.roles) ranks += role.ranks.size();
  EXPECT_EQ(ranks, 16'384u);
  EXPECT_EQ(program.roles.size(), GetParam().roles);
  // 61 layers of at most 24 ops, and 7 for each chunk that comes apart; 10 more for a micro-batch's way in and out. A
  // pipeline stage does its share of the layers.
  const DeploymentSpec& deployment = plan.scenario.deployment;
  const std::int64_t layers = (61 + deployment.stages - 1) / deployment.stages;
  const std::int64_t of_role = deployment.micro_batches * (layers * (24 + 7 * deployment.chunks) + 10);
  EXPECT_LE(ops_of(program), GetParam().roles * static_cast<std::size_t>(of_role));
  // Ranks are written as runs, so the text grows with ops: under 400 bytes each, their tensors included.
  EXPECT_LE(to_text(program).size(), 400 * ops_of(program) + 1'000'000);
}

INSTANTIATE_TEST_SUITE_P(Ranks16384, PlanScale, testing::ValuesIn(scale_scenarios()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace foretoken::plan::test
