// Live runs of deployments x dispatch modes x overlaps x routings against the plain single-rank reference.
//
// By default every two choices meet in some run. FORETOKEN_FULL_MATRIX=1 in the environment runs all combinations.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <ostream>
#include <string>
#include <vector>

#include "runtime/run.hpp"
#include "tests/runtime/agreement.hpp"
#include "tests/runtime/deployment_matrix.hpp"
#include "tests/runtime/small_plan.hpp"

namespace foretoken::test {
namespace {

const char* const kRoundRobin = R"(deployment.experts={"placement":"round_robin","exchange":"dispatch"})";
const char* const kColocated = R"(deployment.experts={"placement":"colocated","exchange":"dispatch"})";
const char* const kFlow = R"(deployment.pipeline={"stages":2,"schedule":"flow"})";

Factor routings() {
  return {{"uniform", {}},
          {"zipf", {R"(routing={"kind":"zipf","exponent":2.5,"seed":3,"routed_steps":2})"}},
          {"model", {R"(routing={"kind":"model","seed":5,"routed_steps":2})"}}};
}

// Once per node there are nodes of 3 ranks, which divide no deployment: gateways differ in number, and groups of 2
// are on one node or on two.
Factor modes_on_nodes() {
  Factor modes = dispatch_modes();
  modes.back().settings.emplace_back("cluster.nodes=21");
  return modes;
}

// Experts are dispatched.
std::vector<Factor> dispatching() {
  return {
      {{"dp4", {kColocated, R"(deployment.attention={"tp":1,"dp":4})", "model.experts=8"}},
       {"dp4_few_experts", {kRoundRobin, R"(deployment.attention={"tp":1,"dp":4})", "model.experts=3"}},
       {"dp4_uneven",
        {kRoundRobin, R"(deployment.attention={"tp":1,"dp":4})", "model.experts=11", "model.top_k=3",
         "workload.sequences=13"}},
       {"tp2_dp2",
        {kRoundRobin, R"(deployment.attention={"tp":2,"dp":2})", "model.shared_experts=2", "model.gated=true"}},
       {"tp4", {kRoundRobin, R"(deployment.attention={"tp":4,"dp":1})", "model.kv_heads=2", "workload.sequences=6"}},
       {"two_groups",
        {R"(deployment.experts={"placement":"colocated","exchange":"dispatch","ep":2})",
         R"(deployment.attention={"tp":1,"dp":4})"}},
       {"dp2_pp2", {kRoundRobin, R"(deployment.attention={"tp":1,"dp":2})", kFlow}},
       {"tp2_dp2_pp2_dense",
        {kRoundRobin, R"(deployment.attention={"tp":2,"dp":2})", kFlow, "model.dense_layers=1", "model.dense_hidden=40",
         "workload.sequences=11"}},
       {"tp2_dp8",
        {kRoundRobin, R"(deployment.attention={"tp":2,"dp":8})", "model.experts=20", "workload.sequences=35"}}},
      modes_on_nodes(),
      overlaps(2),
      routings()};
}

// A planned dispatch cannot know what the model's router will say, nor can one that sends a token once per node.
bool possible_dispatch(const Combination& c) { return !((c[1] == 0 || c[1] == 3) && c[3] == 2); }

// Every rank of a group holds all its tokens.
std::vector<Factor> replicating() {
  Factor overlap = overlaps(1);
  overlap.pop_back();  // micro_stages need a dispatch
  return {{{"one_rank", {}},
           {"tp4", {R"(deployment.attention={"tp":4,"dp":1})", "model.gated=true"}},
           {"tp2_dp2_round_robin",
            {R"(deployment.attention={"tp":2,"dp":2})", "deployment.experts.placement=round_robin", "model.experts=5"}},
           {"tp4_sharded", {R"(deployment.attention={"tp":4,"dp":1})", "deployment.experts.placement=sharded"}},
           {"tp2_pp2", {R"(deployment.attention={"tp":2,"dp":1})", kFlow, "workload.sequences=7"}}},
          overlap,
          routings()};
}

bool always(const Combination&) { return true; }

bool full() {
  const char* const wish = std::getenv("FORETOKEN_FULL_MATRIX");
  return wish != nullptr && std::string(wish) == "1";
}

struct MatrixCase {
  std::string name;
  std::vector<std::string> settings;
};

// What a failure says of it.
void PrintTo(const MatrixCase& one, std::ostream* out) { *out << fmt::format("{}", fmt::join(one.settings, " ")); }

std::vector<MatrixCase> matrix_cases(const std::vector<Factor>& factors, const Possible& possible) {
  std::vector<MatrixCase> list;
  for (const Combination& one : full() ? all_combinations(factors, possible) : pairwise(factors, possible))
    list.push_back({name_of(factors, one), settings_of(factors, one)});
  return list;
}

class Matrix : public testing::TestWithParam<MatrixCase> {};

TEST_P(Matrix, GivesTheActivationsOfOneRank) {
  const plan::Plan plan = small_plan(GetParam().settings);
  const runtime::RunResult result = runtime::run_threads(plan);
  EXPECT_LT(difference(result, expected(plan)), kTolerance);
  EXPECT_EQ(result.routing.has_value(), !plan.routing.known());
  runtime::RunOptions again;
  again.instrumented = false;
  EXPECT_EQ(runtime::run_threads(plan, again).activations_hash, result.activations_hash);
}

std::string shown(const testing::TestParamInfo<MatrixCase>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Dispatch, Matrix, testing::ValuesIn(matrix_cases(dispatching(), possible_dispatch)), shown);
INSTANTIATE_TEST_SUITE_P(AllReduce, Matrix, testing::ValuesIn(matrix_cases(replicating(), always)), shown);

TEST(Pairwise, EveryTwoChoicesMeetAndFewRunsDo) {
  const std::vector<Factor> factors = dispatching();
  const std::vector<Combination> chosen = pairwise(factors, possible_dispatch);
  for (std::size_t a = 0; a < factors.size(); ++a)
    for (std::size_t b = a + 1; b < factors.size(); ++b)
      for (std::size_t x = 0; x < factors[a].size(); ++x)
        for (std::size_t y = 0; y < factors[b].size(); ++y) {
          const auto meets = [&](const std::vector<Combination>& all) {
            return std::any_of(all.begin(), all.end(), [&](const Combination& c) { return c[a] == x && c[b] == y; });
          };
          EXPECT_EQ(meets(chosen), meets(all_combinations(factors, possible_dispatch)))
              << factors[a][x].name << " " << factors[b][y].name;
        }
  // 9 deployments x 4 dispatch modes is the least that can do.
  EXPECT_GE(chosen.size(), 36u);
  EXPECT_LE(chosen.size(), 50u);
}

}  // namespace
}  // namespace foretoken::test
