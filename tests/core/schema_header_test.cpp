#include "core/schema_header.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace foretoken {
namespace {

using ::testing::HasSubstr;

std::int64_t read(const std::string& text, std::int64_t newest) {
  JsonObject root(JsonDocument::from_text(text, "x.json").root());
  const std::int64_t version = read_schema_header(root, "topology", newest);
  root.finish();
  return version;
}

std::string message(const std::string& text, std::int64_t newest) {
  try {
    static_cast<void>(read(text, newest));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    return error.what();
  }
  return "(no error)";
}

// Version 2 of a reader takes files of versions 1 and 2 and says which it got, so that it can migrate the older one.
TEST(SchemaHeader, AcceptsEveryVersionUpToTheReaders) {
  EXPECT_EQ(read(R"({"kind": "topology", "schema_version": 1})", 2), 1);
  EXPECT_EQ(read(R"({"kind": "topology", "schema_version": 2})", 2), 2);
}

TEST(SchemaHeader, IgnoresWhatIsForEditors) {
  EXPECT_EQ(read(R"({"$schema": "../x.schema.json", "kind": "topology", "schema_version": 1})", 1), 1);
}

TEST(SchemaHeader, SaysThatTheProgramIsTooOld) {
  const std::string text = message(R"({"kind": "topology", "schema_version": 3})", 2);
  EXPECT_THAT(text, HasSubstr("x.json#/schema_version: schema_version 3 is newer than this program"));
  EXPECT_THAT(text, HasSubstr("update foretoken"));
}

TEST(SchemaHeader, SaysWhatKindIsWanted) {
  EXPECT_THAT(
      message(R"({"kind": "scenario", "schema_version": 1})", 1),
      HasSubstr("x.json#/kind: this is a file of kind \"scenario\"; a file of kind \"topology\" is wanted here"));
}

TEST(SchemaHeader, RefusesWhatIsMissingOrNoVersion) {
  EXPECT_THAT(message(R"({"schema_version": 1})", 1),
              HasSubstr("x.json: the key \"kind\" is missing; add it if this is a file of kind \"topology\": such a"));
  EXPECT_THAT(message(R"({"kind": "topology"})", 1), HasSubstr("\"schema_version\" is missing"));
  EXPECT_THAT(message(R"({"kind": "topology", "schema_version": 0})", 1), HasSubstr("out of range"));
  EXPECT_THAT(message(R"({"kind": "topology", "schema_version": "1"})", 1), HasSubstr("not a number"));
  EXPECT_THAT(message(R"({"$schema": 5, "kind": "topology", "schema_version": 1})", 1), HasSubstr("not a string"));
}

}  // namespace
}  // namespace foretoken
