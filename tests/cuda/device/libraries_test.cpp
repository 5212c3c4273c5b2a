// The libraries that are loaded when needed have every function that is asked of them. No GPU is needed for that.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "core/error.hpp"
#include "runtime/cuda/device/gemm.hpp"
#include "runtime/cuda/device/loaded_library.hpp"
#include "runtime/cuda/device/nccl_communicator.hpp"
#include "tests/cuda/device/gpu_test.hpp"

namespace foretoken::test {
namespace {

using runtime::cuda::NcclLibrary;
using testing::HasSubstr;

// Whether an error says that the library is not there at all.
bool is_missing(const Error& error) {
  return std::string(error.what()).find("cannot be loaded") != std::string::npos && !gpu_required();
}

TEST(Libraries, NcclIsLoadedWithAllItsFunctions) {
  try {
    EXPECT_THAT(NcclLibrary().version(), testing::MatchesRegex("2\\.[0-9]+\\.[0-9]+"));
  } catch (const Error& error) {
    if (is_missing(error)) GTEST_SKIP() << error.what();
    throw;
  }
}

// Without a GPU cuBLASLt refuses to be initialised, once all functions have been found.
TEST(Libraries, CublasLtIsLoadedWithAllItsFunctions) {
  try {
    EXPECT_THAT(runtime::cuda::Gemm().version(), HasSubstr("cuBLASLt 1"));
  } catch (const Error& error) {
    if (is_missing(error)) GTEST_SKIP() << error.what();
    if (runtime::cuda::visible_gpus() > 0) throw;
    EXPECT_THAT(error.what(), HasSubstr("cublasLtCreate failed"));
  }
}

TEST(Libraries, AreMissedWithAHint) {
  try {
    const runtime::cuda::LoadedLibrary library({"libforetoken_has_no_such.so"}, "the package of that name");
    FAIL() << "it was loaded";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    EXPECT_THAT(error.what(), HasSubstr("install the package of that name"));
  }
}

// NCCL is told what the plan names, and does not get it from elsewhere too.
TEST(Libraries, AlgorithmsOfTheEnvironmentMustBeThePlans) {
  unsetenv("NCCL_ALGO");  // NOLINT(concurrency-mt-unsafe): one thread
  EXPECT_NO_THROW(NcclLibrary::force("allreduce:ring"));
  EXPECT_STREQ(std::getenv("NCCL_ALGO"), "allreduce:ring");  // NOLINT(concurrency-mt-unsafe)
  EXPECT_NO_THROW(NcclLibrary::force("allreduce:ring"));
  EXPECT_NO_THROW(NcclLibrary::force(""));
  try {
    NcclLibrary::force("allreduce:tree");
    FAIL() << "the environment was overruled";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    EXPECT_THAT(error.what(), HasSubstr("unset it"));
  }
  unsetenv("NCCL_ALGO");  // NOLINT(concurrency-mt-unsafe)
}

}  // namespace
}  // namespace foretoken::test
