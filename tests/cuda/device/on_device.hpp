// Numbers in device memory, for tests of kernels.
//
// Inputs are rounded to the element type first, so that host and device begin with the same numbers; the device then
// differs by one rounding of each result and by the order of its sums.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/dtype.hpp"
#include "runtime/cuda/device/device_array.hpp"
#include "runtime/cuda/device/elements.hpp"
#include "runtime/cuda/device/kernels.hpp"
#include "tests/cuda/device/gpu_test.hpp"

namespace foretoken::test {

using runtime::cuda::DeviceArray;
using runtime::cuda::Queue;
using runtime::cuda::to_bytes;
using runtime::cuda::to_floats;
using Floats = std::vector<float>;

/// Half a unit in the last place, relative, with room for the order of sums.
inline double tolerance(DType dtype) {
  switch (dtype) {
    case DType::fp32: return 1e-5;
    case DType::fp16: return 1.0 / 1024;
    default: return 1.0 / 128;
  }
}

inline Floats rounded(DType dtype, const Floats& values) { return to_floats(dtype, to_bytes(dtype, values)); }

inline Floats drawn(DType dtype, std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> any(-2, 2);
  Floats values(count);
  for (float& value : values) value = any(random);
  return rounded(dtype, values);
}

/// Elements in device memory, with some bytes behind them that must stay as they are.
class OnDevice {
 public:
  OnDevice(DType dtype, const Floats& values) : dtype_(dtype), count_(values.size()) {
    std::vector<std::byte> bytes = to_bytes(dtype, values);
    bytes.insert(bytes.end(), kGuard, std::byte{0x5A});
    memory_ = DeviceArray<std::byte>(std::span<const std::byte>(bytes));
  }
  /// Filled with numbers that no result has.
  OnDevice(DType dtype, std::size_t count) : OnDevice(dtype, Floats(count, -9'999)) {}

  [[nodiscard]] void* data() const { return memory_.data(); }
  [[nodiscard]] Floats read() const {
    const std::vector<std::byte> bytes = memory_.read();
    const std::size_t size = bytes.size() - kGuard;
    EXPECT_TRUE(std::all_of(bytes.begin() + static_cast<std::ptrdiff_t>(size), bytes.end(), [](std::byte b) {
      return b == std::byte{0x5A};
    })) << "written behind the end";
    return to_floats(dtype_, std::span(bytes).first(size));
  }

 private:
  static constexpr std::size_t kGuard = 256;
  DType dtype_;
  std::size_t count_;
  DeviceArray<std::byte> memory_;
};

template <class T>
DeviceArray<T> on_device(const std::vector<T>& values) {
  return DeviceArray<T>(std::span<const T>(values));
}

/// Each within the tolerance of the largest expected number.
inline void expect_near(const Floats& found, const Floats& expected, double relative, const std::string& what) {
  ASSERT_EQ(found.size(), expected.size()) << what;
  double largest = 1e-30;
  for (const float value : expected) largest = std::max(largest, std::abs(static_cast<double>(value)));
  for (std::size_t i = 0; i < found.size(); ++i)
    ASSERT_NEAR(found[i], expected[i], relative * largest) << what << ", element " << i;
}

/// A fixture of tests in each element type.
class KernelTest : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override { FORETOKEN_NEED_GPU(); }
  [[nodiscard]] static DType dtype() { return GetParam(); }
  [[nodiscard]] static Queue queue() { return {nullptr, GetParam()}; }
};

/// Widths that vector loads fit, and one that they do not; rows one and many.
inline const std::vector<std::pair<std::int64_t, std::int64_t>> kShapes{
    {1, 8}, {3, 37}, {5, 512}, {2, 4096}, {300, 96}};

inline std::size_t size_of(std::int64_t rows, std::int64_t cols) { return static_cast<std::size_t>(rows * cols); }

/// Every element type that kernels have.
inline auto element_types() { return testing::Values(DType::fp32, DType::fp16, DType::bf16); }
inline std::string name_of_type(const testing::TestParamInfo<DType>& info) { return std::string(name_of(info.param)); }

}  // namespace foretoken::test
