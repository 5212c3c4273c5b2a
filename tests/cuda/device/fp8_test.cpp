// Weights and rows in fp8 on a GPU, and their products, against the host's own arithmetic of E4M3; and that arithmetic
// against NVIDIA's, which needs no GPU.
#include <cuda_fp8.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtime/cuda/device/gemm.hpp"
#include "runtime/cuda/device/kernels.hpp"
#include "runtime/cuda/e4m3.hpp"
#include "runtime/cuda/model_index.hpp"
#include "tests/cuda/device/on_device.hpp"
#include "tests/runtime/small_plan.hpp"

namespace foretoken::test {
namespace {

using namespace runtime::cuda;  // NOLINT(google-build-using-namespace): all of this file is about it
using Codes = std::vector<std::uint8_t>;

// Every number of bf16, and those of fp32 a large prime apart.
TEST(E4m3, IsNvidias) {
  const auto expect_same = [](std::uint32_t bits) {
    const auto x = std::bit_cast<float>(bits);
    const auto theirs = static_cast<std::uint8_t>(__nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3));
    if (std::isnan(x)) EXPECT_EQ(theirs & 0x7F, to_e4m3(x) & 0x7F);
    else ASSERT_EQ(theirs, to_e4m3(x)) << x;
  };
  for (std::uint32_t high = 0; high < 1U << 16U; ++high) expect_same(high << 16U);
  for (std::uint64_t bits = 0; bits < std::uint64_t{1} << 32U; bits += 10'007)
    expect_same(static_cast<std::uint32_t>(bits));
}

struct Quantised {
  Codes codes;
  Floats scales;  // [row]
};

Quantised quantised_on_host(std::int64_t rows, std::int64_t cols, const Floats& in) {
  Quantised result;
  for (std::int64_t row = 0; row < rows; ++row) {
    float largest = 0;
    for (std::int64_t col = 0; col < cols; ++col)
      largest = std::max(largest, std::abs(in[static_cast<std::size_t>(row * cols + col)]));
    result.scales.push_back(row_scale(largest));
    for (std::int64_t col = 0; col < cols; ++col)
      result.codes.push_back(to_e4m3(in[static_cast<std::size_t>(row * cols + col)] / result.scales.back()));
  }
  return result;
}

TEST(Fp8Kernels, QuantiseRowsAsTheHostDoes) {
  FORETOKEN_NEED_GPU();
  for (const auto& [rows, cols] : kShapes) {
    Floats in = drawn(DType::bf16, size_of(rows, cols), 1);
    std::fill(in.begin(), in.begin() + cols, 0.0F);  // a row of zeros
    const Quantised expected = quantised_on_host(rows, cols, in);
    const OnDevice source(DType::bf16, in);
    const DeviceArray<std::uint8_t> codes(in.size());
    const DeviceArray<float> scales(static_cast<std::size_t>(rows));
    quantise_rows({nullptr, DType::bf16}, rows, cols, 1, nullptr, source.data(), codes.data(), scales.data());
    EXPECT_EQ(codes.read(), expected.codes);
    EXPECT_EQ(scales.read(), expected.scales);
  }
}

TEST(Fp8Kernels, DrawWeightsByColumns) {
  FORETOKEN_NEED_GPU();
  const plan::Plan plan = small_plan({R"(model.dtype={"weights":"fp8","activations":"bf16","kv_cache":"bf16"})",
                                      R"(deployment.attention={"tp":2,"dp":2})", "model.gated=true"});
  const RankId rank(1);
  for (const plan::Tensor& tensor : plan.program.role_of(rank).tensors) {
    if (tensor.kind != plan::TensorKind::weight || tensor.dtype != DType::fp8) continue;
    const WeightIndex index = weight_index(plan, tensor, rank);
    Codes expected(static_cast<std::size_t>(tensor.stack * index.part.rows * index.part.cols));
    for (std::size_t at = 0; at < expected.size(); ++at)
      expected[at] =
          e4m3_weight_element(index.part, index.matrices.data(), index.draw.key, static_cast<std::int64_t>(at));
    const auto matrices = on_device(index.matrices);
    const DeviceArray<std::uint8_t> out(expected.size());
    fill_e4m3_weight(nullptr, std::ssize(expected), index.part, matrices.data(), index.draw.key, out.data());
    EXPECT_EQ(out.read(), expected) << tensor.name;
  }
}

// Both factors being what they are, a product of fp8 differs from that of the same numbers in double by one rounding to
// bf16, 2^-9 of itself, and by what the tensor cores' sums lose: Hopper's keep 14 bits of a partial sum and add those
// up in fp32, so that a partial sum of k = 32 products is off by at most 2^-13 of its largest; 2^-8 of the largest
// result leaves room for both.
TEST(Fp8Products, AreThoseOfTheQuantisedNumbers) {
  FORETOKEN_NEED_GPU();
  Gemm gemm;
  const DeviceArray<std::byte> room(std::size_t{32} << 20);
  const GemmWorkspace workspace{room.data(), room.size()};
  const Queue queue{nullptr, DType::bf16};
  constexpr float alpha = 1.0F / 64;
  for (const auto& [rows_of_expert, n, k] :
       std::vector<std::tuple<std::vector<std::int64_t>, std::int64_t, std::int64_t>>{
           {{1}, 64, 128}, {{8}, 96, 32}, {{130}, 256, 512}, {{3, 0, 17, 1}, 48, 64}}) {
    const auto experts = std::ssize(rows_of_expert);
    std::vector<std::int32_t> first_rows{0};
    for (const std::int64_t rows : rows_of_expert)
      first_rows.push_back(first_rows.back() + static_cast<std::int32_t>(rows));
    const std::int64_t rows = first_rows.back();
    const Floats in = drawn(DType::bf16, size_of(rows, k), 1);
    const Quantised quantised = quantised_on_host(rows, k, in);
    Codes weights;
    for (const float w : drawn(DType::bf16, size_of(experts * n, k), 2)) weights.push_back(to_e4m3(w * 100));
    Floats expected;
    for (std::int64_t expert = 0; expert < experts; ++expert)
      for (std::int64_t row = first_rows[static_cast<std::size_t>(expert)];
           row < first_rows[static_cast<std::size_t>(expert) + 1]; ++row)
        for (std::int64_t col = 0; col < n; ++col) {
          double sum = 0;
          for (std::int64_t i = 0; i < k; ++i)
            sum += static_cast<double>(from_e4m3(quantised.codes[static_cast<std::size_t>(row * k + i)])) *
                   from_e4m3(weights[static_cast<std::size_t>((expert * n + col) * k + i)]);
          expected.push_back(static_cast<float>(alpha * sum * quantised.scales[static_cast<std::size_t>(row)]));
        }
    const OnDevice source(DType::bf16, in);
    const auto firsts = on_device(first_rows);
    const auto stacked = on_device(weights);
    const auto ones = on_device(Floats(static_cast<std::size_t>(n), 1));
    const DeviceArray<std::uint8_t> codes(in.size());
    const DeviceArray<float> scales(static_cast<std::size_t>(scales_max(experts, rows)));
    const OnDevice out(DType::bf16, expected.size());
    quantise_rows(queue, rows, k, experts, firsts.data(), source.data(), codes.data(), scales.data());
    gemm.run_grouped_fp8(queue, workspace, rows_of_expert, n, k,
                         {codes.data(), scales.data(), stacked.data(), ones.data(), alpha}, out.data());
    expect_near(out.read(), expected, 1.0 / 256, std::to_string(rows) + " rows of fp8");
  }
}

}  // namespace
}  // namespace foretoken::test
