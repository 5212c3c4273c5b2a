// The text rules hold what they say. Forbidden words are put together here, so that this file passes its own test.
#include "tests/style/text_rules.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace foretoken::style {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using namespace std::string_literals;

TEST(TextRules, RejectPathsOfAMachine) {
  EXPECT_THAT(check_text("README.md", "cd /"s + "home/ada/foretoken"), SizeIs(1));
  EXPECT_THAT(check_text("core/a.cpp", "open(\"/"s + "Users/ada/x.json\")"), SizeIs(1));
  EXPECT_THAT(check_text("scenarios/a.json", "{\"cluster\": \"/"s + "mnt/x.json\"}"), SizeIs(1));
}

TEST(TextRules, AllowPathsThatEverybodyHas) {
  EXPECT_THAT(check_text("tools/cmake/cuda.cmake", "find_program(nvcc PATHS /usr/local/cuda/bin)"), IsEmpty());
  EXPECT_THAT(check_text("README.md", "x.json#/root/0: \"400\" has no unit"), IsEmpty());
  EXPECT_THAT(check_text("README.md", "see https://example.org/home/page"), IsEmpty());
  EXPECT_THAT(check_text("tools/a", "cd \"$HOME/foretoken\""), IsEmpty());
}

TEST(TextRules, RejectPathsIntoFoldersThatAreNotOurs) {
  EXPECT_THAT(check_text("README.md", "see shared"s + "/DESIGN.md"), SizeIs(1));
  EXPECT_THAT(check_text("README.md", "see ../shared"s + "/reference"), SizeIs(1));
  EXPECT_THAT(check_text("core/a.cpp", "std::shared_ptr<int> shared_experts;  // shared"), IsEmpty());
}

TEST(TextRules, RejectUnfinishedWorkInCodeAlone) {
  const std::string mark = "// TO"s + "DO: think\n";
  EXPECT_THAT(check_text("core/a.cpp", mark), SizeIs(1));
  EXPECT_THAT(check_text("tools/b", "#!/usr/bin/env bash\n# FIX"s + "ME\n"), SizeIs(1));
  EXPECT_THAT(check_text("README.md", mark), IsEmpty());
  EXPECT_THAT(check_text("core/a.cpp", "mkstemp(\"nameXXXXXX\")"), IsEmpty());
}

TEST(TextRules, TellScriptsByTheirFirstLine) {
  EXPECT_TRUE(is_shell_script("#!/usr/bin/env bash\necho\n"));
  EXPECT_TRUE(is_shell_script("#!/bin/sh"));
  EXPECT_FALSE(is_shell_script("#!/usr/bin/env python3\n"));
  EXPECT_FALSE(is_shell_script("echo bash"));
  EXPECT_FALSE(is_shell_script(""));
}

TEST(TextRules, FindLocalLinks) {
  EXPECT_THAT(local_links("[a](core/README.md), [b](tools/#cli) and [c](https://example.org) [d](#here)"),
              ElementsAre("core/README.md", "tools/"));
}

}  // namespace
}  // namespace foretoken::style
