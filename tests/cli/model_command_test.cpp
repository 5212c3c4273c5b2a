// foretoken model: of a Hugging Face config, a description of ours, and a scenario.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/cli/command_line.hpp"
#include "tests/plan/json_schema.hpp"
#include "tools/cli/cli.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::json;
using test::Answer;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Answer model(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "model");
  return test::foretoken_cli(arguments);
}

Json checked_size(const Answer& answer) {
  EXPECT_EQ(answer.code, 0) << answer.err;
  Json json = Json::parse(answer.out);
  std::ostringstream schema;
  std::ostringstream err;
  EXPECT_EQ(run({"schema", "model-size"}, schema, err), 0);
  EXPECT_THAT(plan::test::JsonSchema(Json::parse(schema.str())).check(json), IsEmpty());
  return json;
}

TEST(ModelCommand, DescriptionOfOurs) {
  const Answer text = model({"scenarios/models/deepseek-v3.json"});
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("58 with 256 experts, of which a token visits 8 and 1 shared; 3 dense"));
  EXPECT_THAT(text.out, HasSubstr("35136 elements"));
  const Json json = checked_size(model({"scenarios/models/deepseek-v3.json", "--json"}));
  EXPECT_NEAR(json["parameters"]["total"].get<double>(), 671.0e9, 0.1e9);
  EXPECT_EQ(json["kv_cache_per_token"]["elements"], 35136);
}

TEST(ModelCommand, HuggingFaceConfig) {
  const Json json = checked_size(model({"tests/data/model/small/config.json", "--json"}));
  EXPECT_EQ(json["model"]["latent"]["kv_rank"], 64);
  EXPECT_FALSE(json.contains("roles"));
}

// The paper's scenario: 64 GPUs, each with its share.
TEST(ModelCommand, ScenarioShowsEachRank) {
  const std::string scenario = "scenarios/paper/large-ep64.json";
  EXPECT_THAT(model({scenario}).out, HasSubstr("on each rank of "));
  const Json json = checked_size(model({scenario, "--json", "--set", "model.layers=8"}));
  EXPECT_EQ(json["model"]["layers"], 8);
  EXPECT_GT(json["roles"][0]["memory_bytes"]["weights"].get<double>(), 0);
}

TEST(ModelCommand, RefusesWhatIsNoModel) {
  EXPECT_EQ(model({"nowhere.json"}).code, 2);
  EXPECT_THAT(model({"nowhere.json"}).err, HasSubstr("nowhere.json: no such file; check the path"));
  EXPECT_THAT(model({"topologies/host.json"}).err, HasSubstr("a file of kind \"model\" is wanted here"));
  EXPECT_THAT(model({"scenarios/models/kimi-k2.json", "--set", "layers=3"}).err, HasSubstr("is no scenario"));
}

}  // namespace
}  // namespace foretoken::cli
