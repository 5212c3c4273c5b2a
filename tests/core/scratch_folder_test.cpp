// Tests' own files are met by nobody else.
#include "tests/scratch_folder.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <stdexcept>

namespace foretoken::test {
namespace {

namespace fs = std::filesystem;

TEST(ScratchFolder, IsTheUsersAndTheTestsAlone) {
  const fs::path folder = scratch_folder();
  EXPECT_TRUE(fs::is_directory(folder));
  EXPECT_EQ(folder.filename(), "ScratchFolder_IsTheUsersAndTheTestsAlone");
  EXPECT_EQ(scratch_folder(), folder);
  EXPECT_EQ(fs::status(folder.parent_path()).permissions() & (fs::perms::group_all | fs::perms::others_all),
            fs::perms::none);
}

class ScratchFolderOfNoTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    try {
      static_cast<void>(scratch_folder());
    } catch (const std::logic_error&) {
      refused = true;
    }
  }
  static inline bool refused = false;
};

TEST_F(ScratchFolderOfNoTest, IsRefused) { EXPECT_TRUE(refused); }

}  // namespace
}  // namespace foretoken::test
