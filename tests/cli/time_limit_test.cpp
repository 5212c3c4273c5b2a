// What takes long to simulate is refused, and says what to do; who allows the time gets the result.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "tools/cli/cli.hpp"

namespace foretoken::cli {
namespace {

using ::testing::HasSubstr;

TEST(TimeLimit, OfSharingLinksIsAnOption) {
  const std::vector<std::string> simulate{"simulate", "scenarios/paper/large-ep64.json", "--brief"};
  const auto within = [&](const char* seconds) {
    std::vector<std::string> all = simulate;
    all.insert(all.end(), {"--time-limit", seconds});
    return all;
  };
  std::ostringstream out, err;
  EXPECT_EQ(run(within("1e-3"), out, err), 2);
  EXPECT_THAT(err.str(), HasSubstr("expert exchanges of up to"));
  EXPECT_THAT(err.str(), HasSubstr("--accuracy 1e-3"));
  EXPECT_THAT(err.str(), HasSubstr("or allow the time (--time-limit "));
  EXPECT_EQ(run(within("3600"), out, err), 0) << err.str();
}

}  // namespace
}  // namespace foretoken::cli
