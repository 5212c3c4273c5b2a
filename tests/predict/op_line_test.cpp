#include "tools/predict/op_line.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/predict/files.hpp"

namespace foretoken::predict {
namespace {

using test::op_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string refusal(const std::string& line) {
  try {
    op_of(line);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    return error.what();
  }
  return "no error";
}

TEST(OpLine, ReadsWhatAnOpTakes) {
  const OpLine gemm = op_of(R"({"op":"gemm","dtype":"fp8","m":1,"n":2,"k":3,"framework":"trtllm"})");
  EXPECT_EQ(gemm.op, "gemm");
  EXPECT_EQ(gemm.dtype, DType::fp8);
  EXPECT_EQ(gemm.framework, "trtllm");
  EXPECT_EQ(std::get<Gemm>(gemm.shape).k, 3);
  for (const char* rows : {"rows", "rows_per_expert"}) {
    const OpLine grouped = op_of(std::string(R"({"op":"grouped_gemm","n":2,"k":3,")") + rows + R"(":[4,0,5]})");
    EXPECT_THAT(std::get<GroupedGemm>(grouped.shape).rows, ElementsAre(4, 0, 5));
    EXPECT_EQ(grouped.dtype, DType::bf16);
  }
  EXPECT_EQ(op_of(R"({"op":"gemm","dtype":"half","m":1,"n":2,"k":3})").dtype, DType::fp16);
}

TEST(OpLine, AttentionIsRepeatedUnlessItIsSaidToBeCold) {
  const std::string line = R"({"op":"attention_decode","batch":4,"context":100,"heads":32,"kv_heads":8,"head_dim":128)";
  const auto decode = std::get<Attention>(op_of(line + "}").shape);
  EXPECT_EQ(decode.shape.query, 1);
  EXPECT_EQ(decode.shape.kv, sim::Residency::repeated);
  EXPECT_EQ(decode.shape.kv_dtype, DType::bf16);
  const auto cold = std::get<Attention>(op_of(line + R"(,"kv":"cold","kv_dtype":"fp8"})").shape);
  EXPECT_EQ(cold.shape.kv, sim::Residency::cold);
  EXPECT_EQ(cold.shape.kv_dtype, DType::fp8);
  EXPECT_EQ(cold.shape.dtype, DType::bf16);
}

TEST(OpLine, PrefillIsAllNewUnlessItIsSaidHowMuch) {
  const std::string line =
      R"({"op":"attention_prefill","batch":4,"context":100,"heads":32,"kv_heads":8,"head_dim":128)";
  EXPECT_EQ(std::get<Attention>(op_of(line + "}").shape).shape.query, 100);
  EXPECT_EQ(std::get<Attention>(op_of(line + R"(,"query":10})").shape).shape.query, 10);
  EXPECT_THAT(refusal(line + R"(,"query":101})"), HasSubstr("ops#/query: 101 new tokens are more than the context"));
}

TEST(OpLine, LatentAttentionHasTheDimensionsOfItsPhase) {
  const auto decode = std::get<Attention>(op_of(R"({"op":"mla_decode","batch":1,"context":9,"heads":16})").shape);
  EXPECT_TRUE(decode.shape.latent);
  EXPECT_EQ(decode.shape.kv_heads, 1);
  EXPECT_EQ(decode.shape.head_dim, 576);
  EXPECT_EQ(decode.shape.value_dim, 512);
  const auto prefill = std::get<Attention>(op_of(R"({"op":"mla_prefill","batch":1,"context":9,"heads":16})").shape);
  EXPECT_FALSE(prefill.shape.latent);
  EXPECT_EQ(prefill.shape.kv_heads, 16);
  EXPECT_EQ(prefill.shape.head_dim, 192);
  EXPECT_EQ(prefill.shape.value_dim, 128);
  const auto absorbed =
      std::get<Attention>(op_of(R"({"op":"mla_prefill","batch":1,"context":9,"heads":16,"absorbed":true})").shape);
  EXPECT_TRUE(absorbed.shape.latent);
  EXPECT_EQ(absorbed.shape.head_dim, 576);
}

TEST(OpLine, MoeModuleSharesItsExpertsOut) {
  const auto moe = std::get<MoeModule>(
      op_of(R"({"op":"moe_module","tokens":64,"hidden":4096,"expert_hidden":14336,"experts":8,"top_k":2,"tp":2,"ep":4,
                "distribution":"power_law_1.2"})")
          .shape);
  EXPECT_EQ(moe.module.expert_hidden, 7168);
  EXPECT_EQ(moe.ep, 4);
  EXPECT_EQ(moe.load.kind, sim::ExpertLoad::Kind::power_law);
  EXPECT_EQ(moe.load.exponent, 1.2);
}

TEST(OpLine, CommunicationsHaveNamedAlgorithms) {
  const auto ring = std::get<Communication>(
      op_of(R"({"op":"all_reduce","ranks":16,"nodes":2,"bytes":1024,"algorithm":"ring"})").shape);
  EXPECT_EQ(ring.query.algorithm, "ring");
  EXPECT_EQ(ring.nodes, 2);
  const auto dispatch =
      op_of(R"({"op":"dispatch","ep":16,"nodes":2,"tokens":128,"hidden":7168,"top_k":8,"experts":256})");
  EXPECT_EQ(dispatch.dtype, DType::fp8);  // as DeepEP sends
  EXPECT_EQ(std::get<Communication>(dispatch.shape).query.algorithm, "auto");
  EXPECT_EQ(std::get<Communication>(dispatch.shape).query.ranks, 16);
}

TEST(OpLine, LeavesTheUsersOwnMembersAlone) {
  EXPECT_EQ(op_of(R"({"op":"gemm","m":1,"n":2,"k":3,"id":7,"notes":"cold","measured_us":1.5,"kv":{"x":1}})").op,
            "gemm");
}

// line without its braces -> part of the message
TEST(OpLine, SaysWhatIsWrong) {
  const std::string gemm = R"("op":"gemm","m":1,"n":2,"k":3)";
  const std::string exchange = R"("op":"dispatch","tokens":1,"hidden":64)";
  const std::string moe = R"("op":"moe_module","tokens":1,"hidden":64)";
  const std::vector<std::pair<std::string, std::string>> cases{
      {R"("m":1)", R"(ops: the key "op" is missing)"},
      {R"("op":7)", "ops#/op"},
      {R"("op":"gem")", R"(did you mean "gemm"?)"},
      {R"("op":"gemm","m":1,"n":2)", R"(the key "k" is missing)"},
      {R"("op":"gemm","m":0,"n":2,"k":3)", "ops#/m: 0 is out of range"},
      {R"("op":"gemm","m":-1,"n":2,"k":3)", "ops#/m: -1 is out of range"},
      {R"("op":"gemm","m":1.5,"n":2,"k":3)", "1.5 is not a whole number"},
      {R"("op":"gemm","m":"1","n":2,"k":3)", R"("1" is not a number)"},
      {R"("op":"gemm","m":null,"n":2,"k":3)", "null is not a number"},
      {R"("op":"gemm","m":1e30,"n":2,"k":3)", "out of range"},
      {gemm + R"(,"dtype":"fp4")", "ops#/dtype"},
      {gemm + R"(,"DType":"fp8")", R"(the key "DType" is not known; did you mean "dtype"?)"},
      {gemm + R"(,"framework":"")", "ops#/framework"},
      {R"("op":"grouped_gemm","rows":[],"n":2,"k":3)", "ops#/rows"},
      {R"("op":"grouped_gemm","rows":[1,-1],"n":2,"k":3)", "ops#/rows/1"},
      {R"("op":"grouped_gemm","rows":4,"n":2,"k":3)", "4 is not a list"},
      {R"("op":"attention_decode","batch":1,"context":9,"heads":6,"kv_heads":4,"head_dim":64)",
       "6 heads do not share 4 KV heads evenly"},
      {R"("op":"mla_decode","batch":1,"context":9,"heads":16,"kv":"warm")", "ops#/kv"},
      {R"("op":"mla_decode","batch":1,"context":9,"heads":16,"kvDtype":"fp8")", R"(did you mean "kv_dtype"?)"},
      {moe + R"(,"expert_hidden":64,"experts":8,"top_k":9)", "a token cannot have 9 of 8 experts"},
      {moe + R"(,"expert_hidden":64,"experts":8,"top_k":2,"ep":3)", "8 experts are spread unevenly over 3 GPUs"},
      {moe + R"(,"expert_hidden":64,"experts":8,"top_k":2,"tp":3)", "3 does not divide the experts' width, 64"},
      {moe + R"(,"expert_hidden":64,"experts":8,"top_k":2,"distribution":"zipf")", "ops#/distribution"},
      {moe + R"(,"expert_hidden":64,"experts":8,"top_k":2,"distribution":"power_law_-1")", "ops#/distribution"},
      {moe + R"(,"expert_hidden":64,"experts":8,"top_k":2,"gated":1)", "1 is not true or false"},
      {R"("op":"all_reduce","ranks":16,"nodes":3,"bytes":8)", "16 ranks are spread unevenly over 3 nodes"},
      {R"("op":"all_reduce","ranks":16,"node":2,"bytes":8)", R"(did you mean "nodes"?)"},
      {R"("op":"all_reduce","ranks":16,"bytes":8,"algorithm":"pairwise")", "ops#/algorithm"},
      {R"("op":"all_to_all","ranks":16,"bytes":8,"algorithm":"ring")", "ops#/algorithm"},
      {exchange + R"(,"ep":3,"top_k":1,"experts":8)", "8 experts are spread unevenly over 3 ranks"},
      {exchange + R"(,"ep":4,"top_k":9,"experts":8)", "a token cannot have 9 of 8 experts"},
      {exchange + R"(,"ep":4,"top_k":1,"experts":8,"algorithm":"ring")", "ops#/algorithm"}};
  for (const auto& [line, message] : cases) EXPECT_THAT(refusal("{" + line + "}"), HasSubstr(message)) << line;
  for (const char* other : {"[]", "3", "\"gemm\"", "null"})
    EXPECT_THAT(refusal(other), HasSubstr("is not an object")) << other;
}

}  // namespace
}  // namespace foretoken::predict
