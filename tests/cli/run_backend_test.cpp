// The backend of a live run is an option; where it cannot run, that is said in one message with exit code 2.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <sstream>

#include "tools/cli/cli.hpp"

namespace foretoken::cli {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

TEST(RunBackend, CudaIsRefusedWithoutCudaOrGpu) {
  const char* const required = std::getenv("FORETOKEN_REQUIRE_GPU");  // NOLINT(concurrency-mt-unsafe)
  if (required != nullptr) GTEST_SKIP() << "there is to be a GPU";
  std::ostringstream out, err;
  const int code = run({"run", "scenarios/laptop/baseline-r1.json", "--backend", "cuda"}, out, err);
  if (code == 0) GTEST_SKIP() << "there is a GPU";
  EXPECT_EQ(code, 2);
  EXPECT_THAT(err.str(), AnyOf(HasSubstr("built without CUDA"), HasSubstr("no GPU here")));
  EXPECT_THAT(err.str(), HasSubstr("--backend host"));
  EXPECT_EQ(out.str(), "");
}

TEST(RunBackend, OthersAreUnknown) {
  std::ostringstream out, err;
  EXPECT_EQ(run({"run", "scenarios/laptop/baseline-r1.json", "--backend", "abacus"}, out, err), 2);
  EXPECT_THAT(err.str(), HasSubstr("abacus"));
}

}  // namespace
}  // namespace foretoken::cli
