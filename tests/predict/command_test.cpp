// foretoken predict and foretoken score, end to end.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "foretoken_places.hpp"
#include "tests/plan/json_schema.hpp"
#include "tools/cli/cli.hpp"
#include "tools/cli/schemas.hpp"

namespace foretoken::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class PredictCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() / fmt::format("foretoken_{}_{}", ::getpid(),
                                                     ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder);
  }
  void TearDown() override { fs::remove_all(folder); }

  std::string file_with(const std::string& text) {
    std::ofstream(folder / "ops.jsonl", std::ios::binary) << text;
    return (folder / "ops.jsonl").string();
  }
  int say(const std::vector<std::string>& arguments) {
    out.str("");
    err.str("");
    return run(arguments, out, err);
  }
  std::vector<json> lines() const {
    std::vector<json> all;
    std::istringstream text(out.str());
    for (std::string line; std::getline(text, line);) all.push_back(json::parse(line));
    return all;
  }

  fs::path folder;
  std::ostringstream out;
  std::ostringstream err;
};

// One of each op, on the machine that is shipped.
const std::string kOps = R"({"op":"gemm","dtype":"bf16","m":128,"n":8192,"k":4096}
{"op":"grouped_gemm","dtype":"fp8","rows":[1,2,0,64],"n":4096,"k":7168,"framework":"trtllm"}
{"op":"attention_decode","batch":8,"context":2048,"heads":32,"kv_heads":8,"head_dim":128,"dtype":"bf16"}
{"op":"attention_prefill","batch":1,"context":2048,"heads":32,"kv_heads":8,"head_dim":128,"kv":"cold"}
{"op":"mla_decode","batch":8,"context":2048,"heads":128,"kv_dtype":"fp8"}
{"op":"mla_prefill","batch":1,"context":2048,"heads":128}
{"op":"moe_module","tokens":64,"hidden":2048,"expert_hidden":768,"experts":128,"top_k":8,"tp":1,"ep":4,"distribution":"uniform"}
{"op":"all_reduce","ranks":16,"nodes":2,"bytes":1048576,"algorithm":"ring"}
{"op":"all_gather","ranks":8,"bytes":1048576}
{"op":"reduce_scatter","ranks":8,"bytes":1048576}
{"op":"all_to_all","ranks":8,"bytes":1048576}
{"op":"send_recv","ranks":2,"nodes":2,"bytes":1048576,"framework":"nccl"}
{"op":"dispatch","ep":16,"nodes":2,"tokens":128,"hidden":7168,"top_k":8,"experts":256,"dtype":"fp8","algorithm":"low_latency"}
{"op":"combine","ep":8,"nodes":1,"tokens":4096,"hidden":7168,"top_k":8,"experts":256,"sms":24}
)";

TEST_F(PredictCommand, AnswersEveryOp) {
  ASSERT_EQ(say({"predict", file_with(kOps)}), 0) << err.str();
  EXPECT_THAT(err.str(), IsEmpty());
  const std::vector<json> answers = lines();
  ASSERT_EQ(answers.size(), 14U);
  const plan::test::JsonSchema schema(json::parse(schema_text("op").value()));
  for (const json& answer : answers) {
    EXPECT_THAT(schema.check(answer), IsEmpty()) << answer;
    EXPECT_GT(answer["time_us"], 0) << answer;
    EXPECT_FALSE(answer.contains("error")) << answer;
  }
}

TEST_F(PredictCommand, ReadsAPipe) {
  const std::string ops = file_with(kOps);
  ASSERT_EQ(say({"predict", ops}), 0);
  const std::string expected = out.str();
  const std::string answers = (folder / "answers.jsonl").string();
  for (const char* more : {"", " -"}) {
    const std::string command = fmt::format("{} predict{} < {} > {}", FORETOKEN_BINARY, more, ops, answers);
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
    std::ostringstream text;
    text << std::ifstream(answers, std::ios::binary).rdbuf();
    EXPECT_EQ(text.str(), expected);
  }
}

TEST_F(PredictCommand, FindsItsMachineFromAnyFolder) {
  const std::string ops = file_with(R"({"op":"gemm","m":1,"n":64,"k":64})");
  const std::string command = fmt::format("cd / && {} predict {} > {}", FORETOKEN_BINARY, ops, (folder / "a").string());
  EXPECT_EQ(std::system(command.c_str()), 0);
}

TEST_F(PredictCommand, AnswersBadLinesInPlaceAndSaysSoInTheEnd) {
  const std::string ops = file_with("{\"op\":\"gemm\",\"m\":1,\"n\":64,\"k\":64}\n{\"op\":\"gemn\",\"id\":3}\n{oops\n" +
                                    std::string("{\"op\":\"gemm\",\"m\":2,\"n\":64,\"k\":64}\n"));
  EXPECT_EQ(say({"predict", ops}), 2);
  const std::vector<json> answers = lines();
  ASSERT_EQ(answers.size(), 4U);
  EXPECT_TRUE(answers[0].contains("time_us"));
  EXPECT_TRUE(answers[3].contains("time_us"));
  EXPECT_EQ(answers[1]["id"], 3);
  EXPECT_THAT(answers[1]["error"].get<std::string>(),
              HasSubstr("ops.jsonl:2#/op: \"gemn\" is not known; did you mean"));
  EXPECT_THAT(answers[2]["error"].get<std::string>(), HasSubstr("ops.jsonl:3: not valid JSON at column 2"));
  EXPECT_THAT(err.str(), HasSubstr("ops.jsonl:3: not valid JSON"));
  EXPECT_THAT(err.str(), HasSubstr("foretoken: 2 of 4 lines are not answered; each says why under \"error\""));
  const plan::test::JsonSchema schema(json::parse(schema_text("op").value()));
  EXPECT_THAT(schema.check(answers[3]), IsEmpty());
}

TEST_F(PredictCommand, DoesNotFillTheScreen) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "{}\n";
  EXPECT_EQ(say({"predict", file_with(text)}), 2);
  EXPECT_EQ(lines().size(), 1000U);
  const std::string told = err.str();
  EXPECT_EQ(std::count(told.begin(), told.end(), '\n'), 11);
  EXPECT_THAT(told, HasSubstr("1,000 of 1,000 lines"));
}

TEST_F(PredictCommand, TakesAsManyLinesAsThereAre) {
  std::string text;
  constexpr int many = 20'000;
  for (int i = 1; i <= many; ++i) text += fmt::format("{{\"op\":\"gemm\",\"m\":{},\"n\":4096,\"k\":4096}}\n", i);
  ASSERT_EQ(say({"predict", file_with(text)}), 0);
  const std::string answers = out.str();
  EXPECT_EQ(std::count(answers.begin(), answers.end(), '\n'), many);
}

TEST_F(PredictCommand, RefusesWhatItCannotUse) {
  const std::string ops = file_with(kOps);
  const auto refusal = [&](std::vector<std::string> arguments) {
    EXPECT_EQ(say(arguments), 2);
    EXPECT_THAT(out.str(), IsEmpty());
    return err.str();
  };
  const std::string repository = FORETOKEN_SOURCE_DIR;
  EXPECT_THAT(refusal({"predict", "missing.jsonl"}), HasSubstr("missing.jsonl: cannot be read"));
  EXPECT_THAT(refusal({"predict", folder.string()}), HasSubstr("is a folder"));
  EXPECT_THAT(refusal({"predict", ops, "--framework", "x"}), HasSubstr("no kernels of \"x\""));
  EXPECT_THAT(refusal({"predict", ops, "--topology", repository + "/topologies/host.json"}), HasSubstr("is a host"));
  EXPECT_THAT(refusal({"predict", ops, "--calibration", ops}), HasSubstr("ops.jsonl"));
  EXPECT_THAT(refusal({"score", ops, "--by", ""}), Not(IsEmpty()));
  EXPECT_THAT(refusal({"score", file_with("")}), HasSubstr("has no op"));
  EXPECT_THAT(refusal({"score", file_with("{\"op\":\"gemm\",\"m\":1,\"n\":64,\"k\":64}")}),
              HasSubstr("1 of 1 lines are not scored"));
}

TEST_F(PredictCommand, ScoresByFamily) {
  const std::string ops = file_with(
      "{\"op\":\"gemm\",\"m\":64,\"n\":4096,\"k\":4096,\"measured_us\":20}\n"
      "{\"op\":\"gemm\",\"m\":64,\"n\":4096,\"k\":4096,\"framework\":\"sglang\",\"measured_us\":1}\n"
      "{\"op\":\"all_gather\",\"ranks\":8,\"bytes\":4096,\"measured_us\":10}\n");
  ASSERT_EQ(say({"score", ops}), 0) << err.str();
  EXPECT_THAT(out.str(), HasSubstr("median abs."));
  EXPECT_THAT(out.str(), HasSubstr("0.0 % of 1"));  // 1 us is in no interval of this GEMM's
  ASSERT_EQ(say({"score", ops, "--json", "--by", "op,framework"}), 0);
  const json scored = json::parse(out.str());
  const plan::test::JsonSchema schema(json::parse(schema_text("score").value()));
  EXPECT_THAT(schema.check(scored), IsEmpty());
  ASSERT_EQ(scored["families"].size(), 3U);
  EXPECT_EQ(scored["families"][0]["family"], json({{"op", "all_gather"}, {"framework", "-"}}));
  EXPECT_EQ(scored["families"][2]["family"], json({{"op", "gemm"}, {"framework", "vllm"}}));
  EXPECT_EQ(scored["all"]["rows"], 3);
}

TEST_F(PredictCommand, ScoresWhatItCanAndNamesTheRest) {
  const std::string ops = file_with(
      "{\"op\":\"gemm\",\"m\":64,\"n\":4096,\"k\":4096,\"measured_us\":20}\n{\"op\":\"gemm\",\"m\":64,\"n\":1,\"k\":1}"
      "\n");
  EXPECT_EQ(say({"score", ops}), 2);
  EXPECT_THAT(out.str(), HasSubstr("gemm"));
  EXPECT_THAT(err.str(), HasSubstr("ops.jsonl:2: the key \"measured_us\" is missing"));
}

}  // namespace
}  // namespace foretoken::cli
