// What scenarios are lowered to, as canonical text: two layers are few enough to check every line by hand.
//
// The golden files were checked against the lists of ops below, once, and are compared ever since. A change of them is
// a change of the Plan: look at it line by line before committing it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "plan/lower/layer_lowering.hpp"
#include "plan/program/text.hpp"
#include "tests/plan/plan_files.hpp"

namespace foretoken::plan::test {
namespace {

using testing::ElementsAre;

struct Golden {
  std::string name;
  std::string base;
  std::vector<std::string> overrides;

  [[nodiscard]] std::string command() const {
    std::string text = "foretoken plan tests/data/plan/" + base + ".json --text";
    for (const std::string& assignment : overrides) text += " --set '" + assignment + "'";
    return text;
  }
};

void PrintTo(const Golden& golden, std::ostream* out) { *out << golden.name; }

const std::vector<std::string> kDispatchOnly{"deployment.overlap=none", "deployment.chunks=1"};

std::vector<Golden> goldens() {
  return {
      {"tp2_pp2_colocated_flush", "stages", {}},
      {"tp2_sharded",
       "stages",
       {"deployment.pipeline.stages=1", "deployment.micro_batches=1", "deployment.experts.placement=sharded"}},
      {"ep4_dp4", "dispatch", kDispatchOnly},
      {"ep4_tp2_two_batch",
       "dispatch",
       {"deployment.overlap=two_batch", "deployment.chunks=1", "deployment.attention={\"tp\":2,\"dp\":2}",
        "deployment.micro_batches=2"}},
      {"ep4_micro_stages", "dispatch", {}},
  };
}

Plan plan_with(const std::string& base, const std::vector<std::string>& overrides) {
  JsonDocument document = JsonDocument::from_text(base_scenario(base).dump(), base + ".json");
  for (const std::string& assignment : overrides) document.set(assignment);
  return plan_of(document);
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

class GoldenProgram : public testing::TestWithParam<Golden> {};

TEST_P(GoldenProgram, IsAsCommitted) {
  const Golden& golden = GetParam();
  const std::vector<std::string> expected = lines_of(text_of_file("tests/data/golden/" + golden.name + ".txt"));
  const std::vector<std::string> actual = lines_of(to_text(plan_with(golden.base, golden.overrides).program));
  const auto [left, right] = std::mismatch(expected.begin(), expected.end(), actual.begin(), actual.end());
  if (left == expected.end() && right == actual.end()) return;
  FAIL() << "tests/data/golden/" << golden.name << ".txt line " << left - expected.begin() + 1 << "\n  expected "
         << (left == expected.end() ? "the end" : *left) << "\n  found    "
         << (right == actual.end() ? "the end" : *right) << "\nreplay: " << golden.command();
}

INSTANTIATE_TEST_SUITE_P(Texts, GoldenProgram, testing::ValuesIn(goldens()),
                         [](const auto& tested) { return tested.param.name; });

// ---- the lists that the golden files were checked against -----------------------------------------------------------

std::vector<std::string> names_of(const Role& role, const std::string& prefix) {
  std::vector<std::string> names;
  for (const Op& op : role.ops)
    if (op.name.rfind(prefix, 0) == 0) names.push_back(op.name.substr(prefix.size()));
  return names;
}

const Op& op_of(const Role& role, const std::string& name) {
  const auto found = std::find_if(role.ops.begin(), role.ops.end(), [&](const Op& op) { return op.name == name; });
  if (found == role.ops.end()) throw std::runtime_error("no op " + name);
  return *found;
}

std::vector<std::string> previous_of(const Role& role, const std::string& name) {
  std::vector<std::string> names;
  for (const Dependency& dependency : op_of(role, name).dependencies)
    if (dependency.distance == 1) names.push_back(role.ops[dependency.op.index()].name);
  return names;
}

TEST(Lowering, LayerWhoseExpertsAddUp) {
  const Plan plan = plan_with("stages", {});
  EXPECT_THAT(names_of(plan.program.roles[0], "l0.m0."),
              ElementsAre("attention_norm", "qkv", "rope_kv", "attention", "o_proj", "attention_all_reduce", "mlp_norm",
                          "route", "permute", "expert_up", "expert_activation", "expert_down", "unpermute",
                          "expert_all_reduce"));
  // hidden 8, 4 heads and 2 KV heads of 4 on 2 ranks: 2 x 4 columns of q, 1 x 4 of k and of v on each.
  const auto& qkv = std::get<GemmOp>(op_of(plan.program.roles[0], "l0.m0.qkv").detail);
  EXPECT_EQ(qkv.rows, Extent::fixed(4));  // 8 sequences in 2 micro-batches
  EXPECT_EQ(qkv.n, 2 * 4 + 2 * 1 * 4);
  EXPECT_EQ(qkv.k, 8);
  // 3 tokens in the cache and the new one.
  EXPECT_EQ(std::get<AttentionOp>(op_of(plan.program.roles[0], "l0.m0.attention").detail).context, 4);
  // Gated: gate and up side by side, 2 x 16 columns; 4 experts on 2 ranks.
  const auto& up = std::get<GroupedGemmOp>(op_of(plan.program.roles[0], "l0.m0.expert_up").detail);
  EXPECT_EQ(up.n, 32);
  EXPECT_EQ(up.experts, 2);
}

TEST(Lowering, LayerWhoseTokensTravel) {
  const Plan plan = plan_with("dispatch", kDispatchOnly);
  // Layer 0 is dense, layer 1 has experts; the shared expert needs no token from elsewhere and runs while they travel.
  EXPECT_THAT(names_of(plan.program.roles[0], "l0.m0."),
              ElementsAre("attention_norm", "qkv", "rope_kv", "attention", "o_proj", "mlp_norm", "mlp_up",
                          "mlp_activation", "mlp_down"));
  EXPECT_THAT(names_of(plan.program.roles[0], "l1.m0."),
              ElementsAre("attention_norm", "qkv", "rope_kv", "attention", "o_proj", "mlp_norm", "route", "pack",
                          "dispatch", "shared_up", "shared_activation", "shared_down", "expert_up", "expert_activation",
                          "expert_down", "combine", "unpermute", "add_shared"));
  // 8 sequences on 4 replicas are 2 tokens, each of which visits 2 experts.
  EXPECT_EQ(std::get<ExchangeOp>(op_of(plan.program.roles[0], "l1.m0.dispatch").detail).source_rows, 2 * 2);
}

TEST(Lowering, HostsOfSeveralExpertsSortWhatArrives) {
  const Plan plan = plan_with("dispatch", {"deployment.overlap=none", "deployment.chunks=1", "model.experts=8"});
  const auto names = names_of(plan.program.roles[0], "l1.m0.");
  const auto sorted = std::find(names.begin(), names.end(), "sort");
  ASSERT_NE(sorted, names.end());
  EXPECT_EQ(*(sorted + 1), "expert_up");
  EXPECT_EQ(*(sorted + 4), "unsort");
}

// The next step waits for all tokens of this one (flush), or for the micro-batch's own (flow).
TEST(Lowering, FlushAndFlow) {
  const Plan flush = plan_with("stages", {});
  EXPECT_THAT(previous_of(flush.program.roles[0], "m0.input"), ElementsAre("m1.recv_tokens"));
  EXPECT_THAT(previous_of(flush.program.roles[0], "m1.input"), ElementsAre("m1.recv_tokens"));
  const Plan flow = plan_with("stages", {"deployment.pipeline.schedule=flow"});
  EXPECT_THAT(previous_of(flow.program.roles[0], "m0.input"), ElementsAre("m0.recv_tokens"));
  EXPECT_THAT(previous_of(flow.program.roles[0], "m1.input"), ElementsAre("m1.recv_tokens"));
}

// 4 tokens of a micro-batch: each of 2 ranks sends its 2, and the next stage gathers; or each sends all 4.
TEST(Lowering, TransferBetweenStages) {
  const Plan sliced = plan_with("stages", {});
  EXPECT_EQ(std::get<TransferOp>(op_of(sliced.program.roles[0], "m0.send").detail).rows, 2);
  EXPECT_EQ(op_of(sliced.program.roles[1], "m0.s1.input_all_gather").kind, OpKind::all_gather);
  const Plan whole = plan_with("stages", {"deployment.pipeline.transfer=replicated"});
  EXPECT_EQ(std::get<TransferOp>(op_of(whole.program.roles[0], "m0.send").detail).rows, 4);
  const Role& second = whole.program.roles[1];
  EXPECT_EQ(op_of(second, "l1.m0.attention_norm").inputs.front(), op_of(second, "m0.recv").outputs.front());
}

// Two micro-batches, phase by phase: while one computes the other's collective is under way on its own stream.
TEST(Lowering, TwoBatchInterleaves) {
  const Plan plan = plan_with("dispatch", goldens()[3].overrides);
  std::vector<std::string> attention;
  for (const Op& op : plan.program.roles[0].ops)
    if (op.layer == 1 && (op.kind == OpKind::attention || op.kind == OpKind::reduce_scatter))
      attention.push_back(op.name);
  EXPECT_THAT(attention, ElementsAre("l1.m0.attention", "l1.m0.attention_reduce_scatter", "l1.m1.attention",
                                     "l1.m1.attention_reduce_scatter"));
  for (const Op& op : plan.program.roles[0].ops)
    EXPECT_EQ(op.stream, is_communication(op.kind) ? kCommunication : kCompute);
}

// 9 sequences on 4 replicas are 3, 2, 2, 2: two kinds of rank.
TEST(Lowering, RanksThatDoTheSameShareARole) {
  const Plan plan = plan_with("dispatch", {"deployment.overlap=none", "deployment.chunks=1", "workload.sequences=9"});
  ASSERT_EQ(plan.program.roles.size(), 2u);
  EXPECT_THAT(plan.program.roles[0].ranks, ElementsAre(RankId(0)));
  EXPECT_THAT(plan.program.roles[1].ranks, ElementsAre(RankId(1), RankId(2), RankId(3)));
  EXPECT_THAT(plan.program.role_of_rank, ElementsAre(0, 1, 1, 1));
}

// Dealt out in turn: layer 0's four experts would be on ranks 0 to 3 if it were not dense, layer 1's are on 4 to 7.
TEST(Lowering, RanksWithoutExpertsOnlySend) {
  const Plan plan = plan_with("dispatch", {"deployment.overlap=none", "deployment.chunks=1",
                                           "deployment.attention.dp=8", "deployment.experts.ep=8"});
  ASSERT_EQ(plan.program.roles.size(), 2u);
  EXPECT_THAT(plan.program.role_of_rank, ElementsAre(0, 0, 0, 0, 1, 1, 1, 1));
  const auto& sender = std::get<ExchangeOp>(op_of(plan.program.roles[0], "l1.m0.dispatch").detail);
  EXPECT_TRUE(sender.source && !sender.host);
  const auto& host = std::get<ExchangeOp>(op_of(plan.program.roles[1], "l1.m0.dispatch").detail);
  EXPECT_TRUE(host.source && host.host);
  EXPECT_THAT(names_of(plan.program.roles[0], "l1.m0.expert"), testing::IsEmpty());
}

TEST(Lowering, OneRankCommunicatesWithNobody) {
  const Plan plan =
      plan_with("stages", {"deployment.attention.tp=1", "deployment.experts.ep=1", "deployment.pipeline.stages=1"});
  EXPECT_TRUE(plan.program.communications.empty());
  EXPECT_EQ(plan.program.ranks, 1);
}

TEST(Lowering, AutomaticAlgorithm) {
  // In a node, NVLS above 16 MiB on more than two GPUs; only an all-reduce has a choice.
  const std::int64_t large = (16 << 20) + 1;
  const auto automatic = CollectiveChoice::automatic;
  EXPECT_EQ(choose_algorithm(automatic, OpKind::all_reduce, 8, 1, large, true), CollectiveAlgorithm::nvls);
  EXPECT_EQ(choose_algorithm(automatic, OpKind::all_reduce, 8, 1, large - 1, true), CollectiveAlgorithm::ring);
  // Between nodes trees, with NVLS above 512 KiB.
  EXPECT_EQ(choose_algorithm(automatic, OpKind::all_reduce, 8, 2, large, true), CollectiveAlgorithm::nvls_tree);
  EXPECT_EQ(choose_algorithm(automatic, OpKind::all_reduce, 8, 2, 512 << 10, true), CollectiveAlgorithm::tree);
  EXPECT_EQ(choose_algorithm(CollectiveChoice::nvls_tree, OpKind::all_reduce, 8, 2, 1, true),
            CollectiveAlgorithm::nvls_tree);
  EXPECT_EQ(choose_algorithm(automatic, OpKind::all_gather, 8, 1, large, true), CollectiveAlgorithm::ring);
  EXPECT_EQ(choose_algorithm(CollectiveChoice::direct, OpKind::all_gather, 8, 1, large, true),
            CollectiveAlgorithm::direct);
}

TEST(Lowering, HashesTellProgramsAndRoutingsApart) {
  const Plan plan = plan_with("stages", {});
  EXPECT_EQ(plan.plan_hash, plan_with("stages", {}).plan_hash);
  EXPECT_EQ(plan.plan_hash.size(), 32u);
  const Plan reseeded = plan_with("stages", {"routing.seed=2"});
  EXPECT_EQ(plan.program_hash, reseeded.program_hash);
  EXPECT_NE(plan.routing_hash, reseeded.routing_hash);
  EXPECT_NE(plan.plan_hash, reseeded.plan_hash);
  const Plan longer = plan_with("stages", {"workload.context=4"});
  EXPECT_NE(plan.program_hash, longer.program_hash);
  // The same shapes with other experts on a rank are other work: two experts per rank, side by side or every second.
  const std::vector<std::string> side_by_side{
      "deployment.experts={\"placement\":\"colocated\",\"exchange\":\"all_reduce\"}"};
  const std::vector<std::string> alternating{
      "deployment.experts={\"placement\":\"round_robin\",\"exchange\":\"all_reduce\"}"};
  EXPECT_NE(plan_with("stages", side_by_side).plan_hash, plan_with("stages", alternating).plan_hash);
  // The machine is no part of the work.
  EXPECT_EQ(plan.plan_hash, plan_with("stages", {"cluster.nic=2 GB/s", "cluster.nodes=2"}).plan_hash);
}

}  // namespace
}  // namespace foretoken::plan::test
