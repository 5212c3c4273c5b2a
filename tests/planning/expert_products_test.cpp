// Experts' products one by one or as a batch: what the calibration makes of either.
#include "tools/planning/expert_products.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/calibration.hpp"
#include "plan/machine/topology.hpp"
#include "plan/plan.hpp"
#include "plan/program/resolve.hpp"

namespace foretoken::planning {
namespace {

using runtime::cuda::ExpertProducts;

constexpr const char* kTopology = "topologies/hgx-h100-2nodes-ndr400.json";

// One layer on one GPU.
plan::Plan plan_with(std::int64_t experts, std::int64_t top_k, std::int64_t sequences, double exponent) {
  const std::string text = fmt::format(
      R"({{"kind": "scenario", "schema_version": 1, "name": "experts",
          "model": {{"name": "small", "layers": 1, "hidden": 2048, "heads": 16, "kv_heads": 8, "head_dim": 128,
                     "experts": {}, "top_k": {}, "expert_hidden": 1024, "gated": true, "dtype": {{"weights": "bf16"}}}},
          "workload": {{"kind": "decode", "sequences": {}, "context": 1024}},
          "routing": {{"kind": "zipf", "exponent": {}, "seed": 1, "routed_steps": 1}},
          "deployment": {{"attention": {{"tp": 1, "dp": 1}},
                          "experts": {{"placement": "colocated", "exchange": "all_reduce"}}}},
          "cluster": {{"topology": "{}"}}, "measure": {{"warmup_steps": 1, "steps": 1}}}})",
      experts, top_k, sequences, exponent, std::filesystem::absolute(kTopology).string());
  return plan::make_plan(plan::parse_scenario(JsonDocument::from_text(text, "experts.json")),
                         plan::build_machine(plan::read_topology(kTopology)));
}

sim::ComputeCost cost_of(const plan::Machine& machine) {
  return sim::ComputeCost(read_calibration("topologies/calibrations/h100-sxm.json").compute, machine.device());
}

class ExpertProductsTest : public testing::Test {
 protected:
  plan::Machine machine_ = plan::build_machine(plan::read_topology(kTopology));
  sim::ComputeCost cost_ = cost_of(machine_);
};

// A batch of one is the product itself, and the copies are on top: 64 rows of 2048 and of 2048 columns for the first
// product, of 1024 and of 2048 for the second, each read and written.
TEST_F(ExpertProductsTest, OfASingleExpertAreNoBatch) {
  const ExpertProductTimes times = expert_product_times(plan_with(1, 1, 64, 0), cost_);
  Seconds copies{};
  for (const std::int64_t cols : {2048, 2048, 1024, 2048})
    copies += cost_.memory_bound(Bytes(std::int64_t{2} * 64 * cols * 2)).time;
  EXPECT_NEAR((times.batch - times.each).value(), copies.value(), 1e-12);
  EXPECT_EQ(times.faster(), ExpertProducts::each);
}

// 128 experts with about a row each: no kernel is shorter than the calibration's floor, and there are 128 of them for
// either product where a batch is one and two copies.
TEST_F(ExpertProductsTest, OfManyExpertsWithFewRowsAreABatch) {
  const ExpertProductTimes times = expert_product_times(plan_with(128, 8, 16, 0), cost_);
  EXPECT_EQ(times.faster(), ExpertProducts::batch);
}

// Nearly all of 8192 rows are the first expert's: a batch of 16 would compute almost 16 times as much.
TEST_F(ExpertProductsTest, OfExpertsThatDifferMuchAreNoBatch) {
  const plan::Plan plan = plan_with(16, 1, 8192, 4);
  const ExpertProductTimes times = expert_product_times(plan, cost_);
  EXPECT_EQ(times.faster(), ExpertProducts::each);
  EXPECT_GT(times.batch.value() / times.each.value(), 4);
}

}  // namespace
}  // namespace foretoken::planning
