// foretoken calibrate cuda: refused without a GPU, and on one that is made up all its files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "core/calibration.hpp"
#include "core/error.hpp"
#include "tests/measure/invented_gpu.hpp"
#include "tools/cli/calibrate_cuda_command.hpp"
#include "tools/cli/cli.hpp"
#include "tools/cli/interrupted.hpp"

namespace foretoken::cli {
namespace {

namespace fs = std::filesystem;
using testing::AnyOf;
using testing::HasSubstr;

class CalibrateCuda : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("foretoken_calibrate_cuda_" + std::to_string(getpid()) +
                                           testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
  std::ostringstream out_, err_;
};

TEST_F(CalibrateCuda, IsRefusedWithoutCudaOrGpu) {
  if (std::getenv("FORETOKEN_REQUIRE_GPU") != nullptr) GTEST_SKIP() << "there is to be a GPU";  // NOLINT
  const int code = run({"calibrate", "cuda", "--out", folder_.string(), "--budget", "1"}, out_, err_);
  if (code == 0) GTEST_SKIP() << "there is a GPU";
  EXPECT_EQ(code, 2);
  EXPECT_THAT(err_.str(), AnyOf(HasSubstr("built without CUDA"), HasSubstr("no GPU here")));
  EXPECT_EQ(out_.str(), "");
  EXPECT_FALSE(fs::exists(folder_));
}

TEST_F(CalibrateCuda, GoesOnAfterCtrlCAndWritesAll) {
  CalibrateCudaOptions options;
  options.out = folder_;
  runtime::cuda::AloneBootstrap alone;
  {
    test::InventedGpu gpu(test::InventedPhysics::of_h100(), 0, 1);
    try {
      calibrate_on(
          gpu, alone, options, [&] { return gpu.prepared == 10; }, out_, err_);
      FAIL() << "it was not interrupted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), kInterrupted);
      EXPECT_THAT(error.what(), HasSubstr("10 of "));
    }
  }
  EXPECT_TRUE(fs::exists(folder_ / "unfinished.jsonl"));
  EXPECT_FALSE(fs::exists(folder_ / "calibration.json"));
  test::InventedGpu gpu(test::InventedPhysics::of_h100(), 0, 1);
  calibrate_on(gpu, alone, options, {}, out_, err_);
  EXPECT_THAT(err_.str(), HasSubstr("10 of "));
  for (const char* name : {"calibration.json", "samples.csv", "README.md", "raw-samples.jsonl"})
    EXPECT_TRUE(fs::exists(folder_ / name)) << name;
  const Calibration calibration = read_calibration(folder_ / "calibration.json");
  EXPECT_EQ(calibration.compute.default_framework, "foretoken");
  EXPECT_EQ(calibration.device.name, "h100-sxm5-80gb");
}

// The calibration that was measured is one that a simulation takes.
TEST_F(CalibrateCuda, IsSimulatedWith) {
  CalibrateCudaOptions options;
  options.out = folder_;
  runtime::cuda::AloneBootstrap alone;
  test::InventedGpu gpu(test::InventedPhysics::of_h100(), 0, 1);
  calibrate_on(gpu, alone, options, {}, out_, err_);
  EXPECT_EQ(run({"simulate", "scenarios/paper/baseline-tp8-pp2.json", "--calibration",
                 (folder_ / "calibration.json").string()},
                out_, err_),
            0)
      << err_.str();
}

}  // namespace
}  // namespace foretoken::cli
