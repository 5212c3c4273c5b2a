// Scenario files that must be refused: each with the exit code and the message that the user gets.
//
// Every case is a valid scenario of tests/data/plan with one thing wrong (tests/data/plan/malformed_scenarios.json), or
// a text that is no scenario at all (below), taken the whole way from JSON to Plan. Exit code 2 is a file to mend, 3 a
// scenario that no device of the machine can hold.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "tests/plan/plan_files.hpp"
#include "tests/scratch_folder.hpp"

namespace foretoken::plan::test {
namespace {

using testing::HasSubstr;

struct Case {
  std::string name;
  std::string text;     // of the scenario
  std::string message;  // what the error has to say
  ErrorCode code = ErrorCode::invalid_input;
};

void PrintTo(const Case& bad, std::ostream* out) { *out << bad.name; }

// Each entry of the data file changes ("set") or removes ("remove") values of a base scenario.
std::vector<Case> cases_of_file() {
  std::vector<Case> cases;
  for (const auto& entry : nlohmann::json::parse(text_of_file("tests/data/plan/malformed_scenarios.json"))) {
    std::vector<Edit> edits;
    if (entry.contains("set"))
      for (const auto& item : entry["set"].items()) edits.push_back({item.key(), item.value().dump()});
    if (entry.contains("remove"))
      for (const auto& pointer : entry["remove"]) edits.push_back({pointer, ""});
    cases.push_back({entry["name"], edited(base_scenario(entry["base"]), edits).dump(2), entry["message"],
                     static_cast<ErrorCode>(entry.value("code", 2))});
  }
  return cases;
}

// Cases that are too long for a line, or name a file of this machine.
std::vector<Case> generated_cases() {
  const auto stages_with = [](const std::string& pointer, const std::string& text) {
    return edited(base_scenario("stages"), {{pointer, nlohmann::json(text).dump()}}).dump(2);
  };
  return {
      {"LongName", stages_with("/name", std::string(4097, 'x')),
       "case.json#/name: the string has 4097 bytes; at most 4096 are allowed"},
      {"EndlessKey", stages_with("/" + std::string(5000, 'k'), ""), "kkk...\" is not known here; known keys: $schema"},
      {"EndlessValue", stages_with("/model/layers", std::string(5000, 'v')), "vvv...\" is not a number; write"},
      // 40 characters of two bytes each and the opening quote: the message is cut between characters, not within one.
      {"ValueCutBetweenCharacters",
       stages_with("/model/layers",
                   [] {
                     std::string text;
                     for (int i = 0; i < 40; ++i) text += "\u00e9";
                     return text;
                   }()),
       "\u00e9...\" is not a number; write"},
      {"TopologyIsAScenario", stages_with("/cluster/topology", repository_file("tests/data/plan/stages.json")),
       "stages.json#/kind: this is a file of kind \"scenario\"; a file of kind \"topology\" is wanted here"},
  };
}

std::vector<Case> all_cases() {
  std::vector<Case> all = cases_of_file();
  for (Case& bad : generated_cases()) all.push_back(std::move(bad));
  return all;
}

class MalformedScenario : public testing::TestWithParam<Case> {};

TEST_P(MalformedScenario, IsRefusedWithAMessageThatMendsIt) {
  const Case& bad = GetParam();
  try {
    static_cast<void>(plan_of_text(bad.text));
    FAIL() << "was accepted:\n" << bad.text;
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(bad.code)) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(bad.message));
    EXPECT_LT(std::string(error.what()).size(), 10'000u);
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, MalformedScenario, testing::ValuesIn(all_cases()),
                         [](const auto& tested) { return tested.param.name; });

TEST(MalformedScenarios, BasesAreFine) {
  EXPECT_NO_THROW(static_cast<void>(plan_of_base("stages")));
  EXPECT_NO_THROW(static_cast<void>(plan_of_base("dispatch")));
  std::set<std::string> names;
  for (const Case& bad : all_cases()) EXPECT_TRUE(names.insert(bad.name).second) << bad.name;
}

// ---- texts that are no JSON, or JSON that no scenario is -----------------------------------------------------------

std::string refusal_of(const std::string& text) {
  try {
    static_cast<void>(plan_of_text(text));
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), 2) << error.what();
    return error.what();
  }
  return "accepted";
}

std::string with(const std::string& from, const std::string& to) {
  std::string text = base_scenario("stages").dump(2);
  const auto at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(MalformedScenarios, EmptyText) {
  EXPECT_THAT(refusal_of(""), HasSubstr("case.json: not valid JSON at line 1, column 1 (the text ends too early)"));
  EXPECT_THAT(refusal_of(" \n\n"), HasSubstr("the file may be truncated"));
}

TEST(MalformedScenarios, TruncatedAnywhere) {
  const std::string text = base_scenario("stages").dump(1);
  // The last byte is the closing brace, so every shorter text is cut off.
  for (std::size_t size = 0; size < text.size(); ++size)
    ASSERT_THAT(refusal_of(text.substr(0, size)), HasSubstr("case.json: not valid JSON at line ")) << size;
}

TEST(MalformedScenarios, OtherRoots) {
  EXPECT_THAT(refusal_of("[]"), HasSubstr("case.json: [] is not an object; write an object in braces"));
  EXPECT_THAT(refusal_of("null"), HasSubstr("case.json: null is not an object"));
  EXPECT_THAT(refusal_of("7"), HasSubstr("case.json: 7 is not an object"));
  EXPECT_THAT(refusal_of("{}"), HasSubstr("case.json: the key \"kind\" is missing; add it"));
}

TEST(MalformedScenarios, NumbersThatJsonDoesNotHave) {
  const std::string hint = "check quotes, commas and brackets there (JSON has no NaN, no comments)";
  for (const char* number : {"NaN", "Infinity", "-Infinity", "0x10", "+8", "08", ".5", "1.", "1e"})
    EXPECT_THAT(refusal_of(with("\"sequences\": 8", "\"sequences\": " + std::string(number))), HasSubstr(hint))
        << number;
}

// 10^400 is above the largest double, 1.8 x 10^308.
TEST(MalformedScenarios, NumbersThatNoDoubleHolds) {
  EXPECT_THAT(refusal_of(with("\"sequences\": 8", "\"sequences\": 1e400")),
              HasSubstr("case.json#/workload/sequences: the number is too large; write a number below 1e308"));
  EXPECT_THAT(refusal_of(with("\"tps\": 1000", "\"tps\": -1e999")), HasSubstr("case.json#/published/tps: the number"));
  EXPECT_THAT(
      refusal_of(with("\"sequences\": 8", "\"sequences\": 99999999999999999999")),
      HasSubstr("case.json#/workload/sequences: 1e+20 is out of range; write a whole number from 1 to 16777216"));
  EXPECT_THAT(refusal_of(R"({"a": [1, {}, [2], 1e999]})"), HasSubstr("case.json#/a/3: the number is too large"));
}

TEST(MalformedScenarios, DuplicateKeys) {
  EXPECT_THAT(refusal_of(with("\"layers\": 2", "\"layers\": 2, \"layers\": 4")),
              HasSubstr("case.json#/model/layers: the key \"layers\" appears twice in one object; keep one of them"));
  EXPECT_THAT(refusal_of(R"({"a": [{"b": 1}, {"c": 1, "c": 2}]})"),
              HasSubstr("case.json#/a/1/c: the key \"c\" appears"));
}

TEST(MalformedScenarios, DeepNesting) {
  const std::size_t depth = 100'000;
  EXPECT_THAT(refusal_of(std::string(depth, '[')), HasSubstr("case.json: nested deeper than 64 levels"));
  EXPECT_THAT(refusal_of(std::string(depth, '[') + std::string(depth, ']')), HasSubstr("nested deeper than 64 levels"));
  std::string objects;
  for (std::size_t i = 0; i < depth; ++i) objects += "{\"a\":";
  EXPECT_THAT(refusal_of(objects), HasSubstr("nested deeper than 64 levels"));
}

TEST(MalformedScenarios, BytesThatAreNoText) {
  // A lone continuation byte, a character cut off, a surrogate, and a zero byte inside a string.
  for (const std::string& bytes :
       {std::string("\x80"), std::string("\xC3"), std::string("\xED\xA0\x80"), std::string(1, '\0')})
    EXPECT_THAT(refusal_of(with("\"tiny\"", "\"ti" + bytes + "ny\"")), HasSubstr("case.json: not valid JSON at line "));
  EXPECT_THAT(refusal_of(std::string("\x7F"
                                     "ELF\x02\x01\x01\0\0",
                                     9)),
              HasSubstr("not valid JSON at line 1, column 1"));
}

TEST(MalformedScenarios, TextAfterTheEnd) {
  EXPECT_THAT(refusal_of(base_scenario("stages").dump() + '\0' + "}"), HasSubstr("(a NUL byte)"));
  EXPECT_THAT(refusal_of(base_scenario("stages").dump() + "}"),
              HasSubstr("case.json: not valid JSON at line 1, column "));
}

// ---- files that cannot be read -------------------------------------------------------------------------------------

std::string refusal_of_file(const std::filesystem::path& path) {
  try {
    static_cast<void>(JsonDocument::from_file(path));
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), 2);
    return error.what();
  }
  return "accepted";
}

TEST(MalformedScenarios, FilesThatAreNone) {
  EXPECT_EQ(refusal_of_file("nowhere/scenario.json"), "nowhere/scenario.json: no such file; check the path");
  EXPECT_EQ(refusal_of_file(""), "no such file; check the path");
  EXPECT_EQ(refusal_of_file("."), ".: not a regular file; name a JSON file");
  EXPECT_EQ(refusal_of_file("/dev/zero"), "/dev/zero: not a regular file; name a JSON file");
  EXPECT_THAT(refusal_of_file(std::string(5000, 'x')), HasSubstr("no such file"));
}

TEST(MalformedScenarios, FileBeyondTheLimit) {
  const auto path = foretoken::test::scratch_folder() / "foretoken_too_large.json";
  std::ofstream(path, std::ios::binary) << "{";
  // A sparse file: 65 MiB long, one block on disk.
  std::filesystem::resize_file(path, std::uintmax_t{65} << 20);
  EXPECT_THAT(refusal_of_file(path), HasSubstr("foretoken_too_large.json: larger than 64 MiB"));
}

// ---- --set ---------------------------------------------------------------------------------------------------------

std::string refusal_of_set(const std::string& assignment) {
  JsonDocument document = JsonDocument::from_text(base_scenario("stages").dump(), "case.json");
  try {
    document.set(assignment);
    static_cast<void>(plan_of(document));
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), 2) << error.what();
    return error.what();
  }
  return "accepted";
}

TEST(MalformedOverride, SaysWhichAssignmentIsWrong) {
  EXPECT_EQ(refusal_of_set("deployment.micro_batches=4"), "accepted");
  EXPECT_THAT(refusal_of_set("micro_batches"), HasSubstr("--set micro_batches: is not key=value"));
  EXPECT_THAT(refusal_of_set("=8"), HasSubstr("is not key=value"));
  EXPECT_THAT(refusal_of_set("deployment..micro_batches=8"), HasSubstr("has an empty part in its path"));
  EXPECT_THAT(
      refusal_of_set("deployment.micro_batches=zero"),
      HasSubstr("--set deployment.micro_batches=zero (case.json)#/deployment/micro_batches: \"zero\" is not a number"));
  EXPECT_THAT(refusal_of_set("deployment.micro_batch=8"), HasSubstr("did you mean \"micro_batches\"?"));
  EXPECT_THAT(refusal_of_set("workload.sequences=1e400"), HasSubstr("#/workload/sequences: \"1e400\" is not a number"));
  EXPECT_THAT(refusal_of_set("name.first=a"), HasSubstr("runs through a value that has no members"));
  EXPECT_THAT(refusal_of_set("open_choices.2.reason=x"), HasSubstr("\"2\" is no element of a list of 2"));
  EXPECT_THAT(refusal_of_set("open_choices.-1.reason=x"), HasSubstr("\"-1\" is no element of a list of 2"));
  EXPECT_THAT(refusal_of_set("name=ti\xFFny"), HasSubstr("the value is not UTF-8 text"));
  EXPECT_THAT(refusal_of_set(R"(model={"a":1,"a":2})"), HasSubstr("the key \"a\" appears twice"));
}

TEST(MalformedOverride, CannotNestWithoutEnd) {
  EXPECT_THAT(refusal_of_set("published.tps=" + std::string(60'000, '[') + std::string(60'000, ']')),
              HasSubstr("nested deeper than 64 levels"));
  std::string path = "published.tps";
  for (int i = 0; i < 60'000; ++i) path += ".a";
  EXPECT_THAT(refusal_of_set(path + "=1"), HasSubstr("its path is longer than 64 parts"));
}

}  // namespace
}  // namespace foretoken::plan::test
