// `cmake --install` into a fresh folder, and what was installed at work from elsewhere.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>

#include "foretoken_places.hpp"
#include "tests/cli/command_line.hpp"

namespace foretoken::cli {
namespace {

namespace fs = std::filesystem;
using test::text_of;

class Installed : public testing::Test {
 protected:
  void SetUp() override {
    prefix_ = fs::temp_directory_path() / ("foretoken install " + std::to_string(getpid()));
    fs::create_directories(prefix_ / "elsewhere");
    const fs::path build = fs::path(FORETOKEN_BINARY).parent_path();
    ASSERT_EQ(shell("cmake --install '" + build.string() + "' --prefix '" + prefix_.string() + "'"), 0) << said();
  }
  void TearDown() override { fs::remove_all(prefix_); }

  /// Runs a command in a folder that knows nothing of the repository. @return its exit code
  int shell(const std::string& command) const {
    const std::string whole = "cd '" + (prefix_ / "elsewhere").string() + "' && " + command + " >said 2>&1";
    return WEXITSTATUS(std::system(whole.c_str()));  // NOLINT(concurrency-mt-unsafe)
  }
  std::string said() const { return text_of(prefix_ / "elsewhere/said"); }

  fs::path prefix_;
};

TEST_F(Installed, CommandDataAndCompletions) {
  // The command finds all that an installed scenario names.
  ASSERT_EQ(shell("../bin/foretoken simulate ../share/foretoken/scenarios/paper/large-ep64.json --brief"), 0) << said();
  EXPECT_THAT(said(), testing::HasSubstr("paper/large-ep64"));
  ASSERT_EQ(shell("../bin/foretoken run ../share/foretoken/scenarios/laptop/shape-r1-small-ops.json "
                  "--set 'measure={\"warmup_steps\":1,\"steps\":4}'"),
            0)
      << said();
  EXPECT_THAT(said(), testing::HasSubstr("activations "));

  // The completions are those of the command that was installed.
  for (const auto& [name, file] :
       {std::pair("bash", "bash-completion/completions/foretoken"), std::pair("zsh", "zsh/site-functions/_foretoken"),
        std::pair("fish", "fish/vendor_completions.d/foretoken.fish")}) {
    ASSERT_EQ(shell(std::string("../bin/foretoken completion ") + name), 0) << said();
    EXPECT_EQ(text_of(prefix_ / "share" / file), said()) << name;
  }
}

}  // namespace
}  // namespace foretoken::cli
