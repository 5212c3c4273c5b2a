#include "core/json_reader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace foretoken {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

JsonDocument document(const std::string& text) { return JsonDocument::from_text(text, "x.json"); }

/// The member "v" of {"v": <value>}.
JsonReader value(const std::string& text) { return JsonObject(document("{\"v\": " + text + "}").root()).require("v"); }

/// The message of the invalid_input Error that `read` ends in.
std::string message(const std::function<void()>& read) {
  try {
    read();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input) << error.what();
    return error.what();
  }
  return "(no error)";
}

std::string message_of_text(const std::string& text) {
  return message([&] { static_cast<void>(document(text)); });
}

// ---- texts ---------------------------------------------------------------------------------------------------------

TEST(JsonDocument, NamesLineAndColumnOfASyntaxError) {
  EXPECT_THAT(message_of_text("{\n  \"a\": 1,\n  \"b\": x\n}"),
              HasSubstr("x.json: not valid JSON at line 3, column 8"));
}

TEST(JsonDocument, SaysThatATextEndsTooEarly) {
  EXPECT_THAT(message_of_text("{\"a\": [1, 2"), HasSubstr("the text ends too early"));
  EXPECT_THAT(message_of_text(""), HasSubstr("not valid JSON at line 1, column 1"));
}

TEST(JsonDocument, RefusesWhatJsonIsNot) {
  for (const char* text : {"NaN", "{\"a\": Infinity}", "{'a': 1}", "{\"a\": 1,}", "{} {}", "{\"a\": 01}", "{\"a\": +1}",
                           "/* */ {}", "{\"a\": \"\xff\"}", "{\"a\" 1}"})
    EXPECT_THAT(message_of_text(text), HasSubstr("not valid JSON")) << text;
}

TEST(JsonDocument, RefusesADuplicateKeyAndNamesIt) {
  EXPECT_THAT(message_of_text(R"({"a": {"b": 1, "b": 2}})"), HasSubstr("\"b\" appears twice"));
  // The same key in two objects is no duplicate.
  EXPECT_EQ(message_of_text(R"([{"b": 1}, {"b": 2}])"), "(no error)");
}

// 64 levels are read, 65 are not; a million are refused without recursion.
TEST(JsonDocument, BoundsItsDepth) {
  const auto nested = [](std::size_t levels) { return std::string(levels, '[') + std::string(levels, ']'); };
  EXPECT_EQ(message_of_text(nested(64)), "(no error)");
  EXPECT_THAT(message_of_text(nested(66)), HasSubstr("nested deeper than 64 levels"));
  EXPECT_THAT(message_of_text(nested(1'000'000)), HasSubstr("nested deeper than 64 levels"));
}

TEST(JsonDocument, RefusesANumberThatNoDoubleHolds) {
  EXPECT_THAT(message_of_text(R"({"a": 1e999})"), HasSubstr("too large"));
}

TEST(JsonDocument, ReadsAFileAndKnowsItsDirectory) {
  const auto directory = std::filesystem::path(::testing::TempDir()) / ("foretoken_json_" + std::to_string(::getpid()));
  std::filesystem::create_directories(directory);
  std::ofstream(directory / "a.json") << R"({"v": 3})";
  const JsonDocument read = JsonDocument::from_file(directory / "a.json");
  EXPECT_EQ(read.directory(), directory);
  EXPECT_EQ(read.name(), (directory / "a.json").string());
  EXPECT_EQ(JsonObject(read.root()).require("v").as_integer(0, 9), 3);
  EXPECT_THAT(message([&] { static_cast<void>(JsonDocument::from_file(directory / "b.json")); }),
              HasSubstr("b.json: no such file"));
  EXPECT_THAT(message([&] { static_cast<void>(JsonDocument::from_file(directory)); }), HasSubstr("not a regular file"));
  std::filesystem::remove_all(directory);
}

// A sparse file of 65 MiB costs no disk; it is refused by its size, before it is read.
TEST(JsonDocument, RefusesAFileThatIsTooLarge) {
  const auto path =
      std::filesystem::path(::testing::TempDir()) / ("foretoken_large_" + std::to_string(::getpid()) + ".json");
  { std::ofstream create(path); }
  std::filesystem::resize_file(path, std::uintmax_t{65} << 20);
  EXPECT_THAT(message([&] { static_cast<void>(JsonDocument::from_file(path)); }), HasSubstr("larger than 64 MiB"));
  std::filesystem::remove(path);
}

// ---- values --------------------------------------------------------------------------------------------------------

TEST(JsonReader, IntegersAreWholeAndWithinBounds) {
  EXPECT_EQ(value("8").as_integer(1, 8), 8);
  EXPECT_EQ(value("-3").as_integer(-3, 8), -3);
  EXPECT_EQ(value("9223372036854775807").as_integer(0, kMax), kMax);
  const auto fails = [](const std::string& text) {
    return message([&] { static_cast<void>(value(text).as_integer(1, 8)); });
  };
  EXPECT_EQ(fails("9"), "x.json#/v: 9 is out of range; write a whole number from 1 to 8");
  EXPECT_THAT(fails("0"), HasSubstr("out of range"));
  EXPECT_THAT(fails("1000000000000"), HasSubstr("out of range"));
  EXPECT_THAT(fails("9223372036854775808"), HasSubstr("out of range"));
  EXPECT_THAT(fails("1e30"), HasSubstr("out of range"));
  EXPECT_THAT(fails("1.5"), HasSubstr("1.5 is not a whole number"));
  EXPECT_THAT(fails("\"4\""), HasSubstr("\"4\" is not a number"));
  EXPECT_THAT(fails("true"), HasSubstr("true is not a number"));
  EXPECT_THAT(fails("null"), HasSubstr("null is not a number"));
}

TEST(JsonReader, NumbersAreFiniteAndWithinBounds) {
  EXPECT_DOUBLE_EQ(value("0.5").as_number(0, 1), 0.5);
  EXPECT_DOUBLE_EQ(value("1").as_number(0, 1), 1);
  EXPECT_THAT(message([] { static_cast<void>(value("1.01").as_number(0, 1)); }), HasSubstr("1.01 is out of range"));
  EXPECT_THAT(message([] { static_cast<void>(value("[]").as_number(0, 1)); }), HasSubstr("[] is not a number"));
}

TEST(JsonReader, BoolsAreTrueOrFalse) {
  EXPECT_TRUE(value("true").as_bool());
  EXPECT_FALSE(value("false").as_bool());
  EXPECT_THAT(message([] { static_cast<void>(value("1").as_bool()); }), HasSubstr("1 is not true or false"));
}

TEST(JsonReader, StringsAreBounded) {
  EXPECT_EQ(value("\"a\"").as_string(), "a");
  EXPECT_EQ(value("\"\"").as_string(true), "");
  EXPECT_THAT(message([] { static_cast<void>(value("\"\"").as_string()); }), HasSubstr("the string is empty"));
  EXPECT_EQ(value("\"" + std::string(4096, 'a') + "\"").as_string().size(), 4096u);
  EXPECT_THAT(message([] { static_cast<void>(value("\"" + std::string(4097, 'a') + "\"").as_string()); }),
              HasSubstr("the string has 4097 bytes"));
}

TEST(JsonReader, QuantitiesNeedTheirUnit) {
  EXPECT_EQ(value("\"80 GB\"").as_bytes(Bytes(0), Bytes(kMax)), Bytes(80'000'000'000));
  EXPECT_EQ(value("\"400 Gb/s\"").as_bandwidth(BytesPerSecond(0), BytesPerSecond(1e15)), BytesPerSecond(50e9));
  EXPECT_EQ(value("\"1 s\"").as_duration(Seconds(0), Seconds(1)), Seconds(1));
  EXPECT_EQ(value("\"2 TFLOP/s\"").as_flop_rate(FlopsPerSecond(0), FlopsPerSecond(1e18)), FlopsPerSecond(2e12));
  const auto fails = [](const std::string& text) {
    return message([&] { static_cast<void>(value(text).as_bandwidth(BytesPerSecond(1), BytesPerSecond(1e15))); });
  };
  EXPECT_EQ(fails("\"400\""), "x.json#/v: \"400\" has no unit; write for example \"400 Gb/s\" or \"50 GB/s\"");
  EXPECT_THAT(fails("400"), HasSubstr("400 has no unit"));
  EXPECT_THAT(fails("\"400 GB\""), HasSubstr("not a number with a unit of this kind"));
  EXPECT_THAT(fails("{}"), HasSubstr("{} is not a quantity"));
  EXPECT_THAT(fails("\"0 GB/s\""), HasSubstr("out of range"));
}

enum class Fruit { apple, pear };
constexpr std::array<std::pair<Fruit, std::string_view>, 2> kFruitNames{
    {{Fruit::apple, "apple"}, {Fruit::pear, "pear"}}};

TEST(JsonReader, EnumsListTheirNames) {
  EXPECT_EQ(value("\"pear\"").as_enum(kFruitNames), Fruit::pear);
  EXPECT_THAT(message([] { static_cast<void>(value("\"plum\"").as_enum(kFruitNames)); }),
              HasSubstr("\"plum\" is not known; write one of \"apple\", \"pear\""));
  EXPECT_THAT(message([] { static_cast<void>(value("\"aple\"").as_enum(kFruitNames)); }),
              HasSubstr("did you mean \"apple\"?"));
  EXPECT_THAT(message([] { static_cast<void>(value("0").as_enum(kFruitNames)); }), HasSubstr("0 is not a string"));
}

TEST(JsonReader, ListsAreBoundedAndTheirElementsHavePointers) {
  EXPECT_THAT(value("[1, 2, 3]").as_integers(1, 3, 0, 9), ElementsAre(1, 2, 3));
  EXPECT_THAT(value("[0.5]").as_numbers(1, 3, 0, 9), ElementsAre(0.5));
  EXPECT_THAT(message([] { static_cast<void>(value("[1, 2]").as_integers(3, 4, 0, 9)); }),
              HasSubstr("the list has 2 elements; write 3 to 4"));
  EXPECT_THAT(message([] { static_cast<void>(value("[1, 99]").as_integers(1, 4, 0, 9)); }),
              HasSubstr("x.json#/v/1: 99 is out of range"));
  EXPECT_THAT(message([] { static_cast<void>(value("{}").as_array(0, 4)); }), HasSubstr("{} is not a list"));
}

// A message stays a line, whatever the file holds.
TEST(JsonReader, ShowsLongValuesShortened) {
  const std::string text = value("\"" + std::string(10'000, 'a') + "\"").shown();
  EXPECT_LE(text.size(), 90u);
  EXPECT_THAT(text, HasSubstr("..."));
}

// ---- objects -------------------------------------------------------------------------------------------------------

TEST(JsonObject, RejectsWhatNobodyAskedFor) {
  JsonObject object(document(R"({"layers": 4, "layrs": 5})").root());
  EXPECT_EQ(object.require("layers").as_integer(0, 9), 4);
  EXPECT_THAT(message([&] { object.finish(); }),
              HasSubstr("x.json#/layrs: the key \"layrs\" is not known here; did you mean \"layers\"?"));
}

TEST(JsonObject, ListsKnownKeysWhenNoneIsNear) {
  JsonObject object(document(R"({"a": 4, "something": 5})").root());
  static_cast<void>(object.require("a"));
  static_cast<void>(object.optional("b"));
  EXPECT_THAT(message([&] { object.finish(); }), HasSubstr("known keys: a, b"));
}

TEST(JsonObject, NamesTheMissingKey) {
  JsonObject object(document("{}").root());
  EXPECT_THAT(message([&] { static_cast<void>(object.require("nodes")); }),
              HasSubstr("x.json: the key \"nodes\" is missing"));
  EXPECT_FALSE(object.optional("about").has_value());
  EXPECT_FALSE(object.has("about"));
  object.finish();
}

TEST(JsonObject, NeedsAnObject) {
  EXPECT_THAT(message([] { JsonObject object(document("[1]").root()); }), HasSubstr("[1] is not an object"));
}

TEST(JsonObject, HandsOutAllMembersSorted) {
  JsonObject object(document(R"({"b": 2, "a": 1})").root());
  std::vector<std::string> names;
  for (const auto& [name, member] : object.members()) names.push_back(name + member.pointer());
  EXPECT_THAT(names, ElementsAre("a/a", "b/b"));
  object.finish();
}

// RFC 6901: '~' is written ~0 and '/' is written ~1.
TEST(JsonObject, EscapesKeysInPointers) {
  JsonObject object(document(R"({"a/b~c": 1})").root());
  EXPECT_EQ(object.require("a/b~c").pointer(), "/a~1b~0c");
}

// ---- overrides -----------------------------------------------------------------------------------------------------

TEST(JsonOverride, ReplacesAddsAndIndexes) {
  JsonDocument overridden = document(R"({"a": {"b": 1}, "list": [1, 2]})");
  overridden.set("a.b=8");
  overridden.set("a.c=\"x\"");
  overridden.set("a.d=plain text");
  overridden.set("list.1=7");
  overridden.set("new.deep=true");
  JsonObject root(overridden.root());
  JsonObject a(root.require("a"));
  EXPECT_EQ(a.require("b").as_integer(0, 9), 8);
  EXPECT_EQ(a.require("c").as_string(), "x");
  EXPECT_EQ(a.require("d").as_string(), "plain text");
  EXPECT_THAT(root.require("list").as_integers(2, 2, 0, 9), ElementsAre(1, 7));
  EXPECT_TRUE(JsonObject(root.require("new")).require("deep").as_bool());
}

TEST(JsonOverride, IsNamedByErrorsBelowIt) {
  JsonDocument overridden = document(R"({"a": {"b": 1}})");
  overridden.set("a.b=-4");
  JsonObject root(overridden.root());
  JsonObject a(root.require("a"));
  EXPECT_THAT(message([&] { static_cast<void>(a.require("b").as_integer(0, 9)); }),
              HasSubstr("--set a.b=-4 (x.json)#/a/b: -4 is out of range"));
}

TEST(JsonOverride, RefusesPathsThatLeadNowhere) {
  const auto fails = [](const std::string& assignment) {
    return message([&] {
      JsonDocument overridden = document(R"({"a": 1, "list": [1]})");
      overridden.set(assignment);
    });
  };
  EXPECT_THAT(fails("a"), HasSubstr("is not key=value"));
  EXPECT_THAT(fails("=5"), HasSubstr("is not key=value"));
  EXPECT_THAT(fails("a.b=5"), HasSubstr("no members"));
  EXPECT_THAT(fails("a..b=5"), HasSubstr("empty part"));
  EXPECT_THAT(fails("list.1=5"), HasSubstr("no element of a list of 1"));
  EXPECT_THAT(fails("list.-1=5"), HasSubstr("no element of a list of 1"));
}

// What --set brings in obeys the same bounds as a file: no depth that would exhaust the stack when it is shown.
TEST(JsonOverride, BoundsItsDepth) {
  JsonDocument overridden = document("{}");
  const std::string deep = "a=" + std::string(50'000, '[') + std::string(50'000, ']');
  EXPECT_THAT(message([&] { overridden.set(deep); }), HasSubstr("nested deeper than 64 levels"));
}

// ---- spelling ------------------------------------------------------------------------------------------------------

TEST(NearestWord, ProposesWhatIsOneSlipAway) {
  const std::vector<std::string_view> words{"layers", "hidden", "heads"};
  EXPECT_EQ(nearest_word("layer", words), "layers");
  EXPECT_EQ(nearest_word("hiden", words), "hidden");
  EXPECT_EQ(nearest_word("completely_else", words), "");
  EXPECT_EQ(nearest_word("layers", {}), "");
  EXPECT_EQ(nearest_word(std::string(100'000, 'x'), words), "");
}

}  // namespace
}  // namespace foretoken
