#include "core/error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace foretoken {
namespace {

// The example of the house rules, part by part: file, pointer, what was found, how to mend it.
TEST(InputError, SaysWhereWhatAndHow) {
  const Error error =
      input_error("h200.json", "/links/3/bandwidth", "\"400\" has no unit", "write \"400 Gb/s\" or \"400 GB/s\"");
  EXPECT_STREQ(error.what(), "h200.json#/links/3/bandwidth: \"400\" has no unit; write \"400 Gb/s\" or \"400 GB/s\"");
  EXPECT_EQ(error.code(), ErrorCode::invalid_input);
}

TEST(InputError, LeavesOutWhatThereIsNot) {
  EXPECT_STREQ(input_error("a.json", "", "no such file", "check the path").what(),
               "a.json: no such file; check the path");
  EXPECT_STREQ(input_error("", "", "no scenario was named", "").what(), "no scenario was named");
  EXPECT_STREQ(input_error("a.json", "/x", "is odd", "").what(), "a.json#/x: is odd");
}

// The numbers are the process exit codes, so they are part of the interface.
TEST(ErrorCode, IsTheExitCode) {
  EXPECT_EQ(static_cast<int>(ErrorCode::internal), 1);
  EXPECT_EQ(static_cast<int>(ErrorCode::invalid_input), 2);
  EXPECT_EQ(static_cast<int>(ErrorCode::infeasible), 3);
  EXPECT_EQ(static_cast<int>(ErrorCode::gate_failed), 4);
  EXPECT_EQ(static_cast<int>(ErrorCode::unhealthy), 5);
  EXPECT_EQ(static_cast<int>(ErrorCode::rank_failed), 6);
}

TEST(Check, SaysWhichInvariantBrokeAndWhere) {
  try {
    FORETOKEN_CHECK(1 + 1 == 3, "sums are off");
    FAIL() << "the check did not throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::internal);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("error_test.cpp:"));
    EXPECT_THAT(error.what(), ::testing::HasSubstr("sums are off"));
    EXPECT_THAT(error.what(), ::testing::HasSubstr("1 + 1 == 3"));
  }
}

// The message is built only when the check fails: checks stand in inner loops.
TEST(Check, BuildsItsMessageOnlyOnFailure) {
  int built = 0;
  const auto message = [&built] {
    ++built;
    return std::string("never seen");
  };
  FORETOKEN_CHECK(true, message());
  EXPECT_EQ(built, 0);
}

}  // namespace
}  // namespace foretoken
