// Every deployment of scenarios/laptop, with a tiny model, by threads and by MPI processes against the reference.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "runtime/run.hpp"
#include "tests/runtime/agreement.hpp"
#include "tests/runtime/mpi_launch.hpp"
#include "tests/runtime/small_plan.hpp"

namespace foretoken::test {
namespace {

using runtime::run_threads;
using runtime::RunResult;

struct LaptopCase {
  std::string name;
  std::vector<std::string> settings;
};

// What a deployment has to carry, whatever it is.
const std::vector<LaptopCase>& laptop_cases() {
  static const std::vector<LaptopCase> list{
      {"uneven", {}},
      {"skewed", {R"(routing={"kind":"zipf","exponent":4,"seed":3,"routed_steps":2})", "workload.sequences=5"}},
      {"one_token", {"workload.sequences=1"}}};
  return list;
}

// Experts of a layer that no token visits in the step whose activations are compared.
std::size_t idle_experts(const plan::Plan& plan) {
  const plan::ModelSpec& model = plan.scenario.model;
  const std::int64_t step = (plan.scenario.measure.warmup_steps + plan.scenario.measure.steps - 1) % 2;
  std::size_t idle = 0;
  for (std::int64_t layer = model.dense_layers; layer < model.layers; ++layer) {
    std::set<std::int32_t> visited;
    std::vector<std::int32_t> chosen(static_cast<std::size_t>(model.top_k));
    for (std::int64_t token = 0; token < plan.scenario.workload.sequences; ++token) {
      plan.routing.experts_of(step, layer, token, chosen);
      visited.insert(chosen.begin(), chosen.end());
    }
    idle += static_cast<std::size_t>(model.experts) - visited.size();
  }
  return idle;
}

class Laptop : public testing::TestWithParam<std::string> {};

TEST_P(Laptop, GivesTheActivationsOfOneRank) {
  for (const LaptopCase& one : laptop_cases()) {
    const plan::Plan plan = laptop_plan(GetParam(), one.settings);
    EXPECT_LT(difference(run_threads(plan), expected(plan)), kTolerance) << one.name;
    if (one.name != "uneven") {
      EXPECT_GT(idle_experts(plan), 0u) << one.name;
    }
  }
}

// The comparison above would notice one wrong weight, and one token at one wrong expert.
TEST_P(Laptop, OneWeightOrOneTokenMattersToTheComparison) {
  const plan::Plan plan = laptop_plan(GetParam());
  const plan::ModelSpec& model = plan.scenario.model;
  const RunResult result = run_threads(plan);
  const std::int64_t faulty_layer = model.layers - 1;
  const std::int64_t faulty_token = plan.scenario.workload.sequences - 1;

  // A weight of an expert that the token visits.
  std::int32_t visited = -1;
  ReferenceFaults look;
  look.experts = [&](std::int64_t layer, std::int64_t token, std::vector<std::int32_t>& experts) {
    if (layer == faulty_layer && token == faulty_token) visited = experts.front();
  };
  ASSERT_LT(difference(result, expected(plan, look)), kTolerance);
  ASSERT_GE(visited, 0);
  ReferenceFaults weight;
  weight.expert_up = [&](std::int64_t layer, std::int64_t expert, std::int64_t row, std::int64_t col, double value) {
    return layer == faulty_layer && expert == visited && row == 3 && col == 4 ? value + 1 : value;
  };
  EXPECT_GT(difference(result, expected(plan, weight)), 10 * kTolerance);

  ReferenceFaults token;
  token.experts = [&](std::int64_t layer, std::int64_t at, std::vector<std::int32_t>& experts) {
    if (layer != faulty_layer || at != faulty_token) return;
    std::int32_t other = 0;  // the first that it does not visit; every laptop model has one
    while (std::find(experts.begin(), experts.end(), other) != experts.end()) ++other;
    ASSERT_LT(other, model.experts);
    experts.front() = other;
  };
  EXPECT_GT(difference(result, expected(plan, token)), 10 * kTolerance);
}

std::string laptop_case_name(const testing::TestParamInfo<std::string>& tested) {
  std::string name = tested.param;
  for (char& c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(Run, Laptop, testing::ValuesIn(laptop_scenarios()), laptop_case_name);

TEST(LaptopScenarios, CoverTheRankCounts) {
  std::map<std::int64_t, int> scenarios;
  for (const std::string& name : laptop_scenarios()) ++scenarios[laptop_plan(name).program.ranks];
  for (const int ranks : {1, 2, 4, 16, 64}) EXPECT_GE(scenarios[ranks], 2) << ranks;
}

#ifdef FORETOKEN_MPI

// ---- by MPI --------------------------------------------------------------------------------------------------------

/// Calls do(label, plan) for every scenario with that many ranks and every case, always in the same order.
template <class Do>
void for_each_plan(std::int64_t ranks, const Do& call) {
  for (const std::string& name : laptop_scenarios())
    for (const LaptopCase& one : laptop_cases()) {
      const plan::Plan plan = laptop_plan(name, one.settings);
      if (plan.program.ranks == ranks) call(name + "/" + one.name, plan);
    }
}

// One launch carries out all plans of its number of ranks: starting processes takes longer than any of them.
TEST(MpiLaptopRank, DISABLED_Runs) {
  runtime::MpiProcess mpi;
  try {
    std::ostringstream hashes;
    runtime::RunOptions options;
    options.instrumented = false;
    for_each_plan(mpi.ranks(), [&](const std::string& label, const plan::Plan& plan) {
      if (const auto result = runtime::run_mpi(mpi, plan, options))
        hashes << label << ' ' << result->activations_hash << '\n';
    });
    if (mpi.rank() == 0) std::ofstream(environment("FORETOKEN_TEST_OUT")) << hashes.str();
  } catch (const Error& error) {
    mpi.end_all(error);
  }
}

class MpiLaptop : public testing::TestWithParam<int> {};

TEST_P(MpiLaptop, AgreesWithThreadsToTheBit) {
  if (!have_mpirun()) GTEST_SKIP() << "no mpirun here (apt-get install openmpi-bin), or a sanitizer build";
  const MpiLaunch mpi = launch_mpi(GetParam(), "MpiLaptopRank.DISABLED_Runs", {});
  ASSERT_EQ(mpi.exit_code, 0) << mpi.said;
  std::ostringstream hashes;
  runtime::RunOptions options;
  options.instrumented = false;
  for_each_plan(GetParam(), [&](const std::string& label, const plan::Plan& plan) {
    hashes << label << ' ' << run_threads(plan, options).activations_hash << '\n';
  });
  EXPECT_EQ(mpi.written, hashes.str());
}

INSTANTIATE_TEST_SUITE_P(Ranks, MpiLaptop, testing::Values(1, 2, 4, 16), testing::PrintToStringParamName());

#endif

}  // namespace
}  // namespace foretoken::test
