// Hugging Face configs that must be refused, each with its whole message: a published model's dimensions with one thing
// wrong (tests/data/model/malformed_configs.json).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "core/error.hpp"
#include "foretoken_places.hpp"
#include "plan/scenario/hf_config.hpp"

namespace foretoken::plan {
namespace {

using Json = nlohmann::json;

Json table(const std::string& file) {
  return Json::parse(std::ifstream(std::string(FORETOKEN_SOURCE_DIR) + "/tests/data/model/" + file));
}

Json cases() {
  static const Json all = table("malformed_configs.json");
  return all;
}

Json base(const std::string& name) {
  static const Json all = table("published.json");
  for (const Json& entry : all)
    if (entry.at("name") == name) return entry.at("config");
  throw std::runtime_error(name);
}

// "__NaN__" in the table is a bare NaN in the config.
std::string text_of(const Json& config) {
  std::string text = config.dump();
  for (const std::string word : {"NaN", "Infinity", "-Infinity"})
    for (std::size_t at = 0; (at = text.find("\"__" + word + "__\"", at)) != std::string::npos;)
      text.replace(at, word.size() + 6, word);
  return text;
}

std::string refusal_of(const std::string& text) {
  try {
    static_cast<void>(read_hf_config(text, "config.json"));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    return error.what();
  }
  return "accepted";
}

class MalformedConfig : public testing::TestWithParam<std::size_t> {};

TEST_P(MalformedConfig, IsRefusedWithAMessageThatMendsIt) {
  const Json bad = cases().at(GetParam());
  Json config = base(bad.at("base"));
  ASSERT_EQ(refusal_of(config.dump()), "accepted");
  const Json changes = bad.value("set", Json::object());
  for (const auto& [pointer, value] : changes.items()) config[Json::json_pointer(pointer)] = value;
  for (const Json& pointer : bad.value("remove", Json::array())) {
    const Json::json_pointer place(pointer.get<std::string>());
    config.at(place.parent_pointer()).erase(place.back());
  }
  EXPECT_EQ(refusal_of(text_of(config)), bad.at("message"));
}

INSTANTIATE_TEST_SUITE_P(Cases, MalformedConfig, testing::Range(std::size_t{0}, cases().size()),
                         [](const auto& tested) {
                           return cases().at(tested.param).at("name").template get<std::string>();
                         });

TEST(MalformedConfigs, OtherTexts) {
  EXPECT_EQ(refusal_of("[]"), "config.json: [] is not an object; write an object in braces");
  EXPECT_THAT(refusal_of(""), testing::HasSubstr("config.json: not valid JSON at line 1, column 1"));
  EXPECT_THAT(refusal_of(R"({"model_type": "mixtral", "model_type": "mixtral"})"),
              testing::HasSubstr("config.json#/model_type: the key \"model_type\" appears twice"));
  EXPECT_EQ(refusal_of("NaN"), "config.json: \"NaN\" is not an object; write an object in braces");
  EXPECT_THAT(refusal_of(R"({"hidden_size": NaNs})"), testing::HasSubstr("not valid JSON at line 1"));
}

TEST(MalformedConfigs, FilesThatAreNone) {
  const auto refusal = [](const std::filesystem::path& file) {
    try {
      static_cast<void>(read_hf_config(file));
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(refusal("nowhere/config.json"), "nowhere/config.json: no such file; check the path");
  EXPECT_EQ(refusal("."), ".: no such file; check the path");
}

}  // namespace
}  // namespace foretoken::plan
