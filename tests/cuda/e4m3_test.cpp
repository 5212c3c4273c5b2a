// Numbers of fp8 and what they cost in precision, through the functions that the kernels call.
#include "runtime/cuda/e4m3.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "runtime/cuda/device_layout.hpp"
#include "runtime/cuda/limits.hpp"
#include "runtime/cuda/model_index.hpp"
#include "runtime/model/weights.hpp"
#include "tests/runtime/small_plan.hpp"

namespace foretoken::test {
namespace {

using namespace runtime::cuda;  // NOLINT(google-build-using-namespace): all of this file is about it

// The value of a code by the format's definition: 4 bits of exponent with bias 7, 3 of mantissa.
double value_of_code(int code) {
  const int exponent = code >> 3 & 15;
  const int mantissa = code & 7;
  const double magnitude = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(1 + mantissa / 8.0, exponent - 7);
  return code & 0x80 ? -magnitude : magnitude;
}

// The nearest of all codes, of two the even one, by search.
int nearest_code(float x) {
  int best = 0;
  for (int code = 0; code < 0x7F; ++code) {
    const double magnitude = std::abs(static_cast<double>(x));
    const double distance = std::abs(value_of_code(code) - magnitude);
    const double least = std::abs(value_of_code(best) - magnitude);
    if (distance < least || (distance == least && code % 2 == 0)) best = code;
  }
  return best | (std::signbit(x) ? 0x80 : 0);
}

TEST(E4m3, HasTheValuesOfItsDefinition) {
  for (int code = 0; code < 256; ++code) {
    const float value = from_e4m3(static_cast<std::uint8_t>(code));
    if ((code & 0x7F) == 0x7F) {
      EXPECT_TRUE(std::isnan(value));
      EXPECT_EQ(to_e4m3(value), code);
      continue;
    }
    EXPECT_EQ(value, value_of_code(code)) << code;
    EXPECT_EQ(to_e4m3(value), code);
  }
  EXPECT_EQ(from_e4m3(0x7E), kE4m3Max);
}

TEST(E4m3, RoundsToTheNearestAndTiesToEven) {
  std::vector<float> numbers;
  // Half-way between neighbours, and next to it on both sides; the smallest numbers of all are among them.
  for (int code = 0; code < 0x7E; ++code) {
    const auto middle = static_cast<float>((value_of_code(code) + value_of_code(code + 1)) / 2);
    numbers.insert(numbers.end(), {middle, std::nextafterf(middle, 0), std::nextafterf(middle, 1000)});
  }
  std::mt19937 random(3);
  std::uniform_real_distribution<float> exponent(-14, 9);
  for (int i = 0; i < 20'000; ++i) numbers.push_back(std::exp2(exponent(random)));
  for (const float x : numbers) {
    ASSERT_EQ(to_e4m3(x), nearest_code(x)) << x;
    ASSERT_EQ(to_e4m3(-x), nearest_code(-x)) << -x;
  }
}

TEST(E4m3, EndsAtItsLargest) {
  for (const float x : {448.0F, 449.0F, 464.0F, 1e30F, std::numeric_limits<float>::infinity()}) {
    EXPECT_EQ(to_e4m3(x), 0x7E) << x;
    EXPECT_EQ(to_e4m3(-x), 0xFE) << x;
  }
  EXPECT_EQ(to_e4m3(0.0F), 0);
  EXPECT_EQ(to_e4m3(-0.0F), 0x80);
  EXPECT_EQ(to_e4m3(std::numeric_limits<float>::denorm_min()), 0);
}

TEST(E4m3, RowsAreScaledToTheLargestNumber) {
  EXPECT_EQ(row_scale(448), 1);
  EXPECT_EQ(row_scale(7), 1.0F / 64);
  EXPECT_EQ(row_scale(0), 1);  // of a row of zeros
}

// Every expert's scales begin at a multiple of 4 numbers, behind those of the one before, and end within the room.
TEST(E4m3, ScalesOfExpertsAreAlignedAndApart) {
  std::mt19937 random(9);
  for (int trial = 0; trial < 200; ++trial) {
    const auto places = static_cast<std::int64_t>(1 + random() % 9);
    std::int64_t first = 0;
    std::int64_t end = 0;
    for (std::int64_t place = 0; place < places; ++place) {
      const std::int64_t at = first_scale(place, first);
      EXPECT_EQ(at % 4, 0);
      EXPECT_GE(at, end);
      const auto rows = static_cast<std::int64_t>(random() % 11);
      first += rows;
      end = at + rows;
    }
    EXPECT_LE(end, scales_max(places, first));
  }
}

// Weights are the host's integers, rounded, and stored by columns; the scale is a power of two and changes nothing.
TEST(E4m3, DrawsTheHostsModelByColumns) {
  const std::string fp8 = R"(model.dtype={"weights":"fp8","activations":"bf16","kv_cache":"bf16"})";
  for (const plan::Plan& plan :
       {small_plan({fp8, R"(deployment.attention={"tp":2,"dp":2})"}),
        small_plan({fp8, "model.gated=true", R"(deployment.attention={"tp":1,"dp":2})",
                    R"(deployment.experts={"placement":"round_robin","exchange":"dispatch"})"})}) {
    const RankId rank(1);
    int drawn = 0;
    for (const plan::Tensor& tensor : plan.program.role_of(rank).tensors) {
      if (tensor.kind != plan::TensorKind::weight || tensor.dtype != DType::fp8) continue;
      ++drawn;
      const WeightIndex index = weight_index(plan, tensor, rank);
      const std::int64_t rows = index.part.rows;
      const std::int64_t cols = index.part.cols;
      std::vector<float> truth(static_cast<std::size_t>(tensor.stack * rows * cols));
      runtime::fill_weight(plan, tensor, rank, truth);
      EXPECT_EQ(index.draw.offset, 0);
      for (std::int64_t matrix = 0; matrix < tensor.stack; ++matrix)
        for (std::int64_t row = 0; row < rows; ++row)
          for (std::int64_t col = 0; col < cols; ++col) {
            const std::uint8_t code = e4m3_weight_element(index.part, index.matrices.data(), index.draw.key,
                                                          (matrix * cols + col) * rows + row);
            const float integer =
                truth[static_cast<std::size_t>((matrix * rows + row) * cols + col)] / index.draw.scale;
            ASSERT_EQ(code, nearest_code(integer)) << tensor.name << " at " << row << ", " << col;
          }
    }
    EXPECT_GT(drawn, 0);
  }
}

// What a product loses, derived: a weight w and an element x of a row with scale s become w (1 + d) and x (1 + e) + f
// with |d|, |e| <= 2^-4 where numbers have 4 significant bits, and |f| <= 2^-10 s below 2^-6 s (then e = 0); integers
// from 1 to 255 are never below. So the sum is off by at most
//
//   sum |w| (|x| (1 + 2^-4)^2 - |x|) + sum |w| (1 + 2^-4) 2^-10 s  =  0.1290 sum |w x| + 2^-9.91 s sum |w|
//
// and, signs being what they are, by far less: errors of zero mean and a uniform mantissa have a root mean square of
// 0.026 each (2^-4 / sqrt 3 times the mean of 1 / mantissa, and 3 % less), two of them 0.037, of the root of sum
// (w x)^2, which is what the sum itself is like. The test holds the first to the letter and the second within 15 %.
TEST(E4m3, ProductsLoseWhatTheDerivationSays) {
  constexpr int k = 512;
  constexpr int products = 400;
  std::mt19937 random(21);
  std::normal_distribution<float> any(0, 1);
  double errors = 0;
  double sizes = 0;
  for (int product = 0; product < products; ++product) {
    std::vector<float> row(k);
    for (float& x : row) x = any(random);
    float largest = 0;
    for (const float x : row) largest = std::max(largest, std::abs(x));
    const float scale = row_scale(largest);
    double exact = 0;
    double found = 0;
    double bound = 0;
    for (const float x : row) {
      const auto w = static_cast<float>(static_cast<int>(random() % 256) * 2 - 255);
      exact += static_cast<double>(w) * x;
      found += static_cast<double>(from_e4m3(to_e4m3(w))) * from_e4m3(to_e4m3(x / scale)) * scale;
      bound += 0.1290 * std::abs(static_cast<double>(w) * x) + std::exp2(-9.91) * scale * std::abs(w);
      sizes += static_cast<double>(w) * x * w * x;
    }
    ASSERT_LE(std::abs(found - exact), bound);
    errors += (found - exact) * (found - exact);
  }
  EXPECT_NEAR(std::sqrt(errors / sizes), 0.037, 0.15 * 0.037);
}

// ---- plans ---------------------------------------------------------------------------------------------------------

const char* const kFp8 = R"(model.dtype={"weights":"fp8","activations":"bf16","kv_cache":"bf16"})";

TEST(Fp8Plans, HaveRoomForQuantisedRows) {
  const plan::Plan plan = small_plan({kFp8, "model.expert_hidden=48"});
  ASSERT_NO_THROW(require_cuda_can_run(plan));
  const runtime::RowTables tables(plan, RankId(0));
  const DeviceLayout layout = device_layout(plan, RankId(0), tables, 132, ExpertProducts::each);
  ASSERT_EQ(layout.quantised.size(), 1u);
  // 8 tokens with 2 experts each, and the widest input of a product is 48 columns, of 16 rows in 4 experts.
  EXPECT_EQ(layout.quantised.front().bytes, 16 * 48);
  EXPECT_EQ(layout.scales.front().bytes, (16 + 3 + 4 * 4) * 4);
  const plan::Role& role = plan.program.roles.front();
  for (std::size_t t = 0; t < role.tensors.size(); ++t)
    if (role.tensors[t].name == "l0.w_qkv") {
      EXPECT_EQ(layout.tensors[t].bytes, 32 * 3 * 32);
    }
  // Others have none.
  const plan::Plan narrow = small_plan({R"(model.dtype={"weights":"bf16"})"});
  const DeviceLayout none =
      device_layout(narrow, RankId(0), runtime::RowTables(narrow, RankId(0)), 132, ExpertProducts::each);
  EXPECT_EQ(none.quantised.front().bytes, 0);
}

TEST(Fp8Plans, AreRefusedByNameWhereCublasLtHasNoProduct) {
  const auto refused = [](const std::vector<std::string>& settings) {
    try {
      require_cuda_can_run(small_plan(settings));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_input);
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(refused({kFp8, "model.expert_hidden=48"}), "");
  // 24 columns are no multiple of 16.
  const std::string odd = refused({kFp8, "model.expert_hidden=24"});
  EXPECT_NE(odd.find("from 32 columns to 24"), std::string::npos) << odd;
  const std::string fp16 =
      refused({R"(model.dtype={"weights":"fp8","activations":"fp16","kv_cache":"fp16"})", "model.expert_hidden=48"});
  EXPECT_NE(fp16.find("activations in fp16"), std::string::npos) << fp16;
  const std::string cache = refused({R"(model.dtype={"weights":"fp8","activations":"bf16","kv_cache":"fp8"})"});
  EXPECT_NE(cache.find("fp8"), std::string::npos) << cache;
  const std::string router = R"(routing={"kind":"model","seed":1,"routed_steps":1})";
  const std::string batch = refused({kFp8, "model.expert_hidden=48", router});
  EXPECT_NE(batch.find("--set deployment.experts.dispatch_mode=exact"), std::string::npos) << batch;
  EXPECT_EQ(refused({kFp8, "model.expert_hidden=48", router,
                     R"(deployment.experts={"placement":"colocated","exchange":"dispatch","dispatch_mode":"exact"})"}),
            "");
}

// A strided batch has no scales for each expert's rows.
TEST(Fp8Plans, HaveAProductForEachExpert) {
  EXPECT_EQ(expert_products(small_plan({kFp8}), ExpertProducts::batch), ExpertProducts::each);
}

}  // namespace
}  // namespace foretoken::test
