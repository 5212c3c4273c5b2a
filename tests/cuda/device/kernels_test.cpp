// Every kernel against the host's verb for it, or a plain loop, in each element type.
//
// Inputs are rounded to the element type first, so that host and device begin with the same numbers; the device then
// differs by one rounding of each result and by the order of its sums.
#include "runtime/cuda/device/kernels.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "runtime/cuda/arrivals.hpp"
#include "runtime/cuda/device/device_array.hpp"
#include "runtime/cuda/device/elements.hpp"
#include "runtime/cuda/device/gemm.hpp"
#include "runtime/cuda/model_index.hpp"
#include "runtime/cuda/split_kv.hpp"
#include "runtime/cuda/top_k.hpp"
#include "runtime/host/verbs.hpp"
#include "runtime/model/weights.hpp"
#include "tests/cuda/device/gpu_test.hpp"
#include "tests/runtime/small_plan.hpp"

namespace foretoken::test {
namespace {

using namespace runtime::cuda;  // NOLINT(google-build-using-namespace): all of this file is about it
namespace host = runtime::host;
using Floats = std::vector<float>;

// Half a unit in the last place, relative, with room for the order of sums.
double tolerance(DType dtype) {
  switch (dtype) {
    case DType::fp32: return 1e-5;
    case DType::fp16: return 1.0 / 1024;
    default: return 1.0 / 128;
  }
}

Floats rounded(DType dtype, const Floats& values) { return to_floats(dtype, to_bytes(dtype, values)); }

Floats drawn(DType dtype, std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> any(-2, 2);
  Floats values(count);
  for (float& value : values) value = any(random);
  return rounded(dtype, values);
}

// Elements in device memory, with a page behind them that must stay as it is.
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

// Each within the tolerance of the largest expected number.
void expect_near(const Floats& found, const Floats& expected, double relative, const std::string& what) {
  ASSERT_EQ(found.size(), expected.size()) << what;
  double largest = 1e-30;
  for (const float value : expected) largest = std::max(largest, std::abs(static_cast<double>(value)));
  for (std::size_t i = 0; i < found.size(); ++i)
    ASSERT_NEAR(found[i], expected[i], relative * largest) << what << ", element " << i;
}

class Kernels : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override { FORETOKEN_NEED_GPU(); }
  [[nodiscard]] static DType dtype() { return GetParam(); }
  [[nodiscard]] static Queue queue() { return {nullptr, GetParam()}; }
};

// Widths that vector loads fit, and one that they do not; rows one and many.
const std::vector<std::pair<std::int64_t, std::int64_t>> kShapes{{1, 8}, {3, 37}, {5, 512}, {2, 4096}, {300, 96}};

std::size_t size_of(std::int64_t rows, std::int64_t cols) { return static_cast<std::size_t>(rows * cols); }

TEST_P(Kernels, NormIsTheHosts) {
  for (const auto& [rows, cols] : kShapes) {
    const Floats x = drawn(dtype(), size_of(rows, cols), 1);
    const Floats weight = drawn(dtype(), size_of(1, cols), 2);
    Floats expected(x.size());
    host::norm(rows, cols, x.data(), weight.data(), expected.data());
    const OnDevice out(dtype(), x.size());
    const OnDevice in(dtype(), x);
    const OnDevice weights(dtype(), weight);
    norm(queue(), rows, cols, in.data(), weights.data(), out.data());
    expect_near(out.read(), expected, tolerance(dtype()), "norm");
  }
}

TEST_P(Kernels, ResidualNormIsTheHostsOfTheRoundedSum) {
  for (const auto& [rows, cols] : kShapes) {
    const Floats x = drawn(dtype(), size_of(rows, cols), 1);
    const Floats addend = drawn(dtype(), size_of(rows, cols), 2);
    const Floats weight = drawn(dtype(), size_of(1, cols), 3);
    Floats sum(x.size());
    host::add(rows * cols, x.data(), addend.data(), sum.data());
    sum = rounded(dtype(), sum);
    Floats expected(x.size());
    host::norm(rows, cols, sum.data(), weight.data(), expected.data());
    const OnDevice summed(dtype(), x.size());
    const OnDevice out(dtype(), x.size());
    const OnDevice in(dtype(), x);
    const OnDevice more(dtype(), addend);
    const OnDevice weights(dtype(), weight);
    residual_norm(queue(), rows, cols, in.data(), more.data(), weights.data(), summed.data(), out.data());
    EXPECT_EQ(summed.read(), sum);  // one addition, rounded once: to the bit
    expect_near(out.read(), expected, tolerance(dtype()), "residual norm");
  }
}

TEST_P(Kernels, AddIsExactlyRounded) {
  for (const auto& [rows, cols] : kShapes) {
    const Floats a = drawn(dtype(), size_of(rows, cols), 1);
    const Floats b = drawn(dtype(), size_of(rows, cols), 2);
    Floats expected(a.size());
    host::add(rows * cols, a.data(), b.data(), expected.data());
    const OnDevice out(dtype(), a.size());
    const OnDevice left(dtype(), a);
    const OnDevice right(dtype(), b);
    add(queue(), rows * cols, left.data(), right.data(), out.data());
    EXPECT_EQ(out.read(), rounded(dtype(), expected));
  }
}

TEST_P(Kernels, ActivationIsTheHosts) {
  for (const auto& [rows, cols] : kShapes) {
    for (const bool gated : {false, true}) {
      const Floats in = drawn(dtype(), size_of(rows, gated ? 2 * cols : cols), 1);
      Floats expected(size_of(rows, cols));
      host::activation(rows, cols, gated, in.data(), expected.data());
      const OnDevice out(dtype(), expected.size());
      const OnDevice source(dtype(), in);
      activation(queue(), Activation::silu, rows, cols, gated, source.data(), out.data());
      expect_near(out.read(), expected, tolerance(dtype()), "SiLU");
      for (std::int64_t row = 0; row < rows; ++row) {
        for (std::int64_t col = 0; col < cols; ++col) {
          const float* const gate = in.data() + row * (gated ? 2 * cols : cols);
          const float x = gate[col];
          const float value = 0.5F * x * (1.0F + std::erf(x / std::sqrt(2.0F)));
          expected[static_cast<std::size_t>(row * cols + col)] = gated ? value * gate[cols + col] : value;
        }
      }
      activation(queue(), Activation::gelu, rows, cols, gated, source.data(), out.data());
      expect_near(out.read(), expected, tolerance(dtype()), "GELU");
    }
  }
}

TEST_P(Kernels, SampleTakesTheFirstOfTheLargest) {
  Floats in = drawn(dtype(), size_of(4, 1'000), 1);
  in[17] = in[300] = in[999] = 5;                  // row 0: the first
  in[1'000] = 5;                                   // row 1: its first element
  in[2'999] = 5;                                   // row 2: its last
  std::fill(in.begin() + 3'000, in.end(), -1.0F);  // row 3: all equal
  const OnDevice source(dtype(), in);
  const DeviceArray<std::int32_t> tokens(4);
  sample(queue(), 4, 1'000, source.data(), tokens.data());
  EXPECT_EQ(tokens.read(), (std::vector<std::int32_t>{17, 0, 999, 0}));
}

// ---- attention -----------------------------------------------------------------------------------------------------

struct Heads {
  std::int64_t sequences, context, heads, kv_heads, head_dim;
};
// Multi-head, grouped and multi-query; groups that fill a block's heads, fall short, and need two blocks; widths for
// each size of team, one odd.
const std::vector<Heads> kHeads{{1, 1, 1, 1, 8},        {3, 70, 4, 4, 32}, {2, 300, 8, 2, 64},  {2, 129, 6, 2, 128},
                                {1, 1'000, 32, 2, 128}, {2, 65, 5, 1, 80}, {1, 200, 4, 2, 256}, {2, 33, 4, 2, 37}};

TEST_P(Kernels, RopeTurnsAndAppendsAsTheHostDoes) {
  for (const Heads& h : kHeads) {
    const std::int64_t cols = (h.heads + 2 * h.kv_heads) * h.head_dim;
    const std::int64_t kv_cols = 2 * h.kv_heads * h.head_dim;
    const Floats qkv = drawn(dtype(), size_of(h.sequences, cols), 1);
    Floats kv = drawn(dtype(), size_of(h.sequences * h.context, kv_cols), 2);
    const OnDevice cache(dtype(), kv);
    Floats q(size_of(h.sequences, h.heads * h.head_dim));
    const host::RopeAngles angles = host::rope_angles(h.head_dim, h.context - 1);
    host::rope_kv({h.sequences, h.context, h.heads, h.kv_heads, h.head_dim}, angles, qkv.data(), q.data(), kv.data());
    const OnDevice source(dtype(), qkv);
    const OnDevice queries(dtype(), q.size());
    const auto cos = on_device(angles.cos);
    const auto sin = on_device(angles.sin);
    rope_kv(queue(), {h.sequences, h.context, h.heads, h.kv_heads, h.head_dim}, cos.data(), sin.data(), source.data(),
            queries.data(), cache.data());
    expect_near(queries.read(), q, tolerance(dtype()), "q");
    expect_near(cache.read(), kv, tolerance(dtype()), "KV cache");
  }
}

TEST_P(Kernels, DecodeAttentionIsTheHostsForAnyNumberOfSplits) {
  for (const Heads& h : kHeads) {
    const std::int64_t kv_cols = 2 * h.kv_heads * h.head_dim;
    const Floats q = drawn(dtype(), size_of(h.sequences, h.heads * h.head_dim), 1);
    const Floats kv = drawn(dtype(), size_of(h.sequences * h.context, kv_cols), 2);
    Floats expected(q.size());
    Floats scores(size_of(h.heads / h.kv_heads, h.context));
    host::attention({h.sequences, h.context, h.heads, h.kv_heads, h.head_dim}, q.data(), kv.data(), expected.data(),
                    scores.data());
    const OnDevice queries(dtype(), q);
    const OnDevice cache(dtype(), kv);
    for (const std::int64_t splits : {std::int64_t{1}, std::min<std::int64_t>(2, h.context),
                                      std::min<std::int64_t>(7, h.context), std::min(kSplitsMax, h.context)}) {
      const OnDevice out(dtype(), q.size());
      const OnDevice room(DType::fp32, static_cast<std::size_t>(h.sequences * h.heads * splits * (h.head_dim + 2)));
      decode_attention(queue(), {h.sequences, h.context, h.heads, h.kv_heads, h.head_dim}, splits, queries.data(),
                       cache.data(), out.data(), static_cast<float*>(room.data()));
      expect_near(
          out.read(), expected, tolerance(dtype()),
          "attention over " + std::to_string(h.context) + " positions in " + std::to_string(splits) + " splits");
      static_cast<void>(room.read());  // looks behind its end
    }
  }
}

TEST_P(Kernels, CausalSoftmaxHidesTheFuture) {
  constexpr std::int64_t matrices = 2;
  constexpr std::int64_t rows = 5;
  constexpr std::int64_t cols = 300;  // 295 cached positions before them
  constexpr std::int64_t dim = 16;
  const Floats scores = drawn(dtype(), size_of(matrices * rows, cols), 1);
  Floats expected(scores.size());
  for (std::int64_t row = 0; row < matrices * rows; ++row) {
    const std::int64_t seen = row % rows + cols - rows + 1;
    const float* const x = scores.data() + row * cols;
    const double largest = *std::max_element(x, x + seen);
    double sum = 0;
    for (std::int64_t i = 0; i < seen; ++i) sum += std::exp((static_cast<double>(x[i]) - largest) / 4);
    for (std::int64_t i = 0; i < seen; ++i)
      expected[static_cast<std::size_t>(row * cols + i)] =
          static_cast<float>(std::exp((static_cast<double>(x[i]) - largest) / 4) / sum);
  }
  const OnDevice out(dtype(), scores);
  causal_softmax(queue(), matrices, rows, cols, dim, out.data());
  expect_near(out.read(), expected, tolerance(dtype()), "causal softmax");
}

// ---- routing -------------------------------------------------------------------------------------------------------

TEST_P(Kernels, RowsMoveToTheBit) {
  for (const auto& [rows, cols] : kShapes) {
    const Floats in = drawn(dtype(), size_of(rows, cols), 1);
    std::vector<std::int32_t> order(static_cast<std::size_t>(rows));
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937(5));
    const auto table = on_device(order);
    const OnDevice source(dtype(), in);
    Floats expected(in.size());
    host::gather_rows(order, cols, in.data(), expected.data());
    const OnDevice gathered(dtype(), in.size());
    gather_rows(queue(), rows, cols, table.data(), source.data(), gathered.data());
    EXPECT_EQ(gathered.read(), expected);
    const OnDevice scattered(dtype(), in.size());
    scatter_rows(queue(), rows, cols, table.data(), gathered.data(), scattered.data());
    EXPECT_EQ(scattered.read(), in);
  }
}

TEST_P(Kernels, UnpermuteIsTheHosts) {
  constexpr std::int64_t tokens = 9;
  constexpr std::int64_t top_k = 3;
  for (const std::int64_t cols : {8, 37, 512}) {
    std::vector<std::int32_t> row_of(static_cast<std::size_t>(tokens * top_k));
    std::iota(row_of.begin(), row_of.end(), 0);
    std::shuffle(row_of.begin(), row_of.end(), std::mt19937(3));
    row_of[4] = row_of[20] = -1;                            // choices that are elsewhere
    std::fill(row_of.begin() + 6, row_of.begin() + 9, -1);  // a token without any
    const Floats in = drawn(dtype(), size_of(tokens * top_k, cols), 1);
    const Floats routes = drawn(DType::fp32, size_of(tokens, 2 * top_k), 2);
    Floats expected(size_of(tokens, cols));
    host::unpermute(tokens, cols, top_k, in.data(), routes.data(), row_of.data(), expected.data());
    const OnDevice out(dtype(), expected.size());
    const OnDevice source(dtype(), in);
    const auto table = on_device(row_of);
    const auto weights = on_device(routes);
    unpermute(queue(), tokens, cols, top_k, source.data(), weights.data(), table.data(), out.data());
    expect_near(out.read(), expected, tolerance(dtype()), "unpermute");
  }
}

TEST_P(Kernels, SlotsHoldEveryRowBehindTheirHeaders) {
  const std::vector<std::int32_t> first_rows{0, 3, 3, 8, 9};  // 4 places, one empty
  for (const Slots slots : {Slots{4, 6, 0}, Slots{4, 9, 2}}) {
    for (const std::int64_t cols : {8, 37}) {
      const Floats in = drawn(dtype(), size_of(9, cols), 1);
      const auto firsts = on_device(first_rows);
      const OnDevice source(dtype(), in);
      const OnDevice spread(dtype(), size_of(4 * slots.block_rows, cols));
      spread_rows(queue(), 9, cols, slots, firsts.data(), source.data(), spread.data());
      const Floats found = spread.read();
      for (std::int64_t row = 0; row < 9; ++row) {
        const std::int64_t slot = slot_of_row(first_rows.data(), slots, row);
        for (std::int64_t c = 0; c < cols; ++c)
          EXPECT_EQ(found[static_cast<std::size_t>(slot * cols + c)], in[static_cast<std::size_t>(row * cols + c)]);
      }
      const OnDevice back(dtype(), in.size());
      collect_rows(queue(), 9, cols, slots, firsts.data(), spread.data(), back.data());
      EXPECT_EQ(back.read(), in);
    }
  }
}

// Launched for the most rows that there could be, kernels leave off where the device's count ends.
TEST_P(Kernels, EndWhereTheDevicesCountDoes) {
  constexpr std::int64_t cols = 24;
  const auto count = on_device(std::vector<std::int32_t>{3});
  const Rows rows(7, count.data());
  const Floats in = drawn(dtype(), size_of(7, 2 * cols), 1);
  const OnDevice source(dtype(), in);
  const auto order = on_device(std::vector<std::int32_t>{6, 0, 2, 1, 1, 1, 1});
  const auto untouched = [&](const OnDevice& out, std::size_t first) {
    const Floats found = out.read();
    return std::all_of(found.begin() + static_cast<std::ptrdiff_t>(first), found.end(),
                       [&](float x) { return x == rounded(dtype(), {-9'999.0F}).front(); });
  };
  const OnDevice gathered(dtype(), size_of(7, cols));
  gather_rows(queue(), rows, cols, order.data(), source.data(), gathered.data());
  EXPECT_TRUE(untouched(gathered, size_of(3, cols)));
  EXPECT_EQ(gathered.read()[0], in[size_of(6, cols)]);
  const OnDevice activated(dtype(), size_of(7, cols));
  activation(queue(), Activation::silu, rows, cols, true, source.data(), activated.data());
  EXPECT_TRUE(untouched(activated, size_of(3, cols)));
  EXPECT_FALSE(untouched(activated, size_of(2, cols)));
}

// ---- the model's numbers -------------------------------------------------------------------------------------------

// The integers are the host's; what does not fit the element type is rounded (norm weights in bf16).
TEST_P(Kernels, DrawTheHostsModel) {
  const std::string type(name_of(dtype()));
  for (const plan::Plan& plan :
       {small_plan({R"(deployment.attention={"tp":2,"dp":2})", R"(model.dtype={"weights":")" + type + R"("})"}),
        small_plan({R"(deployment.experts={"placement":"round_robin","exchange":"dispatch"})", "model.gated=true",
                    R"(deployment.attention={"tp":1,"dp":4})", R"(model.dtype={"weights":")" + type + R"("})"})}) {
    const RankId rank(1);
    const plan::Role& role = plan.program.role_of(rank);
    for (const plan::Tensor& tensor : role.tensors) {
      if (tensor.kind != plan::TensorKind::weight) continue;
      const WeightIndex index = weight_index(plan, tensor, rank);
      Floats expected(static_cast<std::size_t>(tensor.stack * index.part.rows * index.part.cols));
      runtime::fill_weight(plan, tensor, rank, expected);
      const OnDevice out(dtype(), expected.size());
      const auto matrices = on_device(index.matrices);
      fill_weight(queue(), static_cast<std::int64_t>(expected.size()), index.part, matrices.data(), index.draw,
                  out.data());
      EXPECT_EQ(out.read(), rounded(dtype(), expected)) << tensor.name;
    }
    for (const plan::Op& op : role.ops) {
      if (op.kind != plan::OpKind::rope_kv) continue;
      const plan::Tensor& tensor = role.tensors[op.outputs[1].index()];
      Floats expected(static_cast<std::size_t>(tensor.rows.count * tensor.cols));
      runtime::fill_kv_cache(plan, tensor, op.micro_batch, rank, expected);
      const OnDevice out(dtype(), expected.size());
      fill_kv_cache(queue(), static_cast<std::int64_t>(expected.size()), kv_index(plan, tensor, op.micro_batch, rank),
                    out.data());
      EXPECT_EQ(out.read(), rounded(dtype(), expected)) << tensor.name;
    }
  }
}

// ---- products ------------------------------------------------------------------------------------------------------

TEST_P(Kernels, ProductsAreTheHosts) {
  Gemm gemm;
  const DeviceArray<std::byte> room(std::size_t{32} << 20);
  const GemmWorkspace workspace{room.data(), room.size()};
  for (const auto& [rows, n, k] : std::vector<std::tuple<std::int64_t, std::int64_t, std::int64_t>>{
           {1, 64, 128}, {8, 96, 32}, {130, 256, 512}, {3, 40, 24}}) {
    const Floats in = drawn(dtype(), size_of(rows, k), 1);
    const Floats weight = drawn(dtype(), size_of(k, n), 2);
    Floats expected(size_of(rows, n));
    host::gemm(rows, n, k, in.data(), weight.data(), expected.data());
    const OnDevice source(dtype(), in);
    const OnDevice weights(dtype(), weight);
    const OnDevice out(dtype(), expected.size());
    gemm.run(queue(), workspace, {rows, n, k}, source.data(), weights.data(), out.data());
    expect_near(out.read(), expected, tolerance(dtype()), "product");
    const OnDevice logits(DType::fp32, expected.size());
    GemmShape shape{rows, n, k};
    shape.fp32_out = true;
    gemm.run(queue(), workspace, shape, source.data(), weights.data(), logits.data());
    expect_near(logits.read(), expected, 1e-5, "product in fp32");
  }
}

TEST_P(Kernels, GroupedProductsAreTheHosts) {
  Gemm gemm;
  const DeviceArray<std::byte> room(std::size_t{32} << 20);
  const GemmWorkspace workspace{room.data(), room.size()};
  constexpr std::int64_t n = 48;
  constexpr std::int64_t k = 64;
  const std::vector<std::int64_t> rows_of_expert{3, 0, 17, 1};
  const Floats in = drawn(dtype(), size_of(21, k), 1);
  const Floats weights = drawn(dtype(), size_of(4 * k, n), 2);
  Floats expected(size_of(21, n));
  host::grouped_gemm(rows_of_expert, n, k, in.data(), weights.data(), expected.data());
  const OnDevice source(dtype(), in);
  const OnDevice stacked(dtype(), weights);
  const OnDevice out(dtype(), expected.size());
  gemm.run_grouped(queue(), workspace, rows_of_expert, n, k, source.data(), stacked.data(), out.data());
  expect_near(out.read(), expected, tolerance(dtype()), "grouped product");
}

// Rows in slots, a strided batch over all experts, and back: what a grouped product is, too. NaNs stand in the slots
// that have no row.
TEST_P(Kernels, ExpertsAsABatchAreTheSame) {
  Gemm gemm;
  const DeviceArray<std::byte> room(std::size_t{32} << 20);
  const GemmWorkspace workspace{room.data(), room.size()};
  constexpr std::int64_t n = 48;
  constexpr std::int64_t k = 64;
  const std::vector<std::int64_t> rows_of_expert{3, 0, 17, 1};
  const auto first_rows = on_device(std::vector<std::int32_t>{0, 3, 3, 20, 21});
  const Floats in = drawn(dtype(), size_of(21, k), 1);
  const Floats weights = drawn(dtype(), size_of(4 * k, n), 2);
  Floats expected(size_of(21, n));
  host::grouped_gemm(rows_of_expert, n, k, in.data(), weights.data(), expected.data());
  const OnDevice source(dtype(), in);
  const OnDevice stacked(dtype(), weights);
  for (const std::int64_t most : {17, 40}) {  // as many as the largest has, or as any could
    const Slots slots{4, most, 0};
    const OnDevice slots_in(dtype(), Floats(size_of(4 * most, k), std::nanf("")));
    const OnDevice slots_out(dtype(), size_of(4 * most, n));
    const OnDevice out(dtype(), expected.size());
    spread_rows(queue(), 21, k, slots, first_rows.data(), source.data(), slots_in.data());
    gemm.run(queue(), workspace, {most, n, k, 4}, slots_in.data(), stacked.data(), slots_out.data());
    collect_rows(queue(), 21, n, slots, first_rows.data(), slots_out.data(), out.data());
    expect_near(out.read(), expected, tolerance(dtype()), "batch of experts");
  }
}

std::string name_of_type(const testing::TestParamInfo<DType>& info) { return std::string(name_of(info.param)); }

INSTANTIATE_TEST_SUITE_P(Types, Kernels, testing::Values(DType::fp32, DType::fp16, DType::bf16), name_of_type);

// ---- in fp32 alone -------------------------------------------------------------------------------------------------

TEST(RouteKernel, IsTheHostsForPlannedExperts) {
  FORETOKEN_NEED_GPU();
  constexpr std::int64_t rows = 11;
  constexpr std::int64_t experts = 40;
  constexpr std::int64_t top_k = 6;
  constexpr std::int64_t hidden = 16;
  const Floats in = drawn(DType::fp32, size_of(rows, hidden), 1);
  const Floats weight = drawn(DType::fp32, size_of(hidden, experts), 2);
  std::vector<std::int32_t> chosen;
  std::mt19937 random(9);
  for (std::int64_t row = 0; row < rows; ++row) {
    std::vector<std::int32_t> all(experts);
    std::iota(all.begin(), all.end(), 0);
    std::shuffle(all.begin(), all.end(), random);
    chosen.insert(chosen.end(), all.begin(), all.begin() + top_k);
  }
  Floats expected(size_of(rows, 2 * top_k));
  Floats logits(size_of(rows, experts));
  host::route(rows, hidden, experts, top_k, in.data(), weight.data(), chosen.data(), expected.data(), logits.data());
  const auto scores = on_device(logits);
  const auto planned = on_device(chosen);
  const OnDevice routes(DType::fp32, expected.size());
  route(nullptr, rows, experts, top_k, scores.data(), planned.data(), static_cast<float*>(routes.data()));
  expect_near(routes.read(), expected, 1e-6, "routes");
}

TEST(RouteKernel, SelectsTheLargestLogits) {
  FORETOKEN_NEED_GPU();
  std::mt19937 random(4);
  for (const std::int64_t experts : {4, 31, 64, 256}) {
    constexpr std::int64_t rows = 37;
    const std::int64_t top_k = std::min<std::int64_t>(8, experts);
    Floats logits(size_of(rows, experts));
    for (float& logit : logits) logit = static_cast<float>(random() % 50) / 8;  // with ties
    const auto scores = on_device(logits);
    const OnDevice routes(DType::fp32, size_of(rows, 2 * top_k));
    route(nullptr, rows, experts, top_k, scores.data(), nullptr, static_cast<float*>(routes.data()));
    const Floats found = routes.read();
    for (std::int64_t row = 0; row < rows; ++row) {
      const float* const own = logits.data() + row * experts;
      std::vector<std::int32_t> order(static_cast<std::size_t>(experts));
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) { return own[a] > own[b]; });
      double sum = 0;
      for (std::int64_t j = 0; j < top_k; ++j) sum += std::exp(own[order[static_cast<std::size_t>(j)]] - own[order[0]]);
      for (std::int64_t j = 0; j < top_k; ++j) {
        const std::int32_t expert = order[static_cast<std::size_t>(j)];
        const float* const route_of_row = found.data() + row * 2 * top_k;
        EXPECT_EQ(route_of_row[j], static_cast<float>(expert)) << "row " << row << ", choice " << j;
        EXPECT_NEAR(route_of_row[top_k + j], std::exp(own[expert] - own[order[0]]) / sum, 1e-6);
      }
    }
  }
}

TEST(OrderRows, IsTheOrderOfTheRowTables) {
  FORETOKEN_NEED_GPU();
  std::mt19937 random(8);
  for (const RowPacking packing : {RowPacking::exact, RowPacking::capacity}) {
    for (const std::int64_t choices : {0, 1, 700}) {
      constexpr std::int64_t places = 13;
      constexpr std::int64_t capacity = 700;
      constexpr std::int64_t top_k = 2;
      std::vector<std::int32_t> place_of_choice(static_cast<std::size_t>(choices));
      for (std::int32_t& place : place_of_choice) place = static_cast<std::int32_t>(random() % (places + 1)) - 1;
      // As the host counts: places in their order, choices in theirs.
      std::vector<std::int32_t> first_rows(places + 1, 0);
      for (const std::int32_t place : place_of_choice)
        for (std::int64_t p = place + 1; place >= 0 && p <= places; ++p) ++first_rows[static_cast<std::size_t>(p)];
      std::vector<std::int64_t> next(first_rows.begin(), first_rows.end() - 1);
      if (packing == RowPacking::capacity)
        for (std::int64_t p = 0; p < places; ++p) next[static_cast<std::size_t>(p)] = p * capacity;
      std::vector<std::int32_t> row_of(place_of_choice.size(), -1);
      std::vector<std::int32_t> selected(places * capacity, -7);
      for (std::size_t i = 0; i < place_of_choice.size(); ++i) {
        if (place_of_choice[i] < 0) continue;
        const std::int64_t row = next[static_cast<std::size_t>(place_of_choice[i])]++;
        row_of[i] = static_cast<std::int32_t>(row);
        selected[static_cast<std::size_t>(row)] = static_cast<std::int32_t>(static_cast<std::int64_t>(i) / top_k);
      }
      const auto input = on_device(place_of_choice);
      const DeviceArray<std::int32_t> firsts(places + 1);
      const DeviceArray<std::int32_t> counts(places);
      const DeviceArray<std::int32_t> rows(place_of_choice.size());
      const auto tokens = on_device(std::vector<std::int32_t>(selected.size(), -7));
      order_rows(nullptr, packing, choices, top_k, places, capacity, input.data(), firsts.data(), counts.data(),
                 rows.data(), tokens.data());
      EXPECT_EQ(firsts.read(), first_rows);
      EXPECT_EQ(rows.read(), row_of);
      EXPECT_EQ(tokens.read(), selected);
    }
  }
}

TEST(OrderRows, HasPlacesForMoreThanABlockOfThreads) {
  FORETOKEN_NEED_GPU();
  constexpr std::int64_t places = 1'000;
  std::vector<std::int32_t> place_of_choice(3'000);
  for (std::size_t i = 0; i < place_of_choice.size(); ++i)
    place_of_choice[i] = static_cast<std::int32_t>(i * 7 % places);
  std::vector<std::int32_t> first_rows;  // each place has three
  for (std::int32_t place = 0; place <= places; ++place) first_rows.push_back(3 * place);
  const auto input = on_device(place_of_choice);
  const DeviceArray<std::int32_t> firsts(places + 1);
  const DeviceArray<std::int32_t> counts(places);
  const DeviceArray<std::int32_t> rows(place_of_choice.size());
  const DeviceArray<std::int32_t> tokens(place_of_choice.size());
  order_rows(nullptr, RowPacking::exact, 3'000, 1, places, 0, input.data(), firsts.data(), counts.data(), rows.data(),
             tokens.data());
  EXPECT_EQ(firsts.read(), first_rows);
  EXPECT_EQ(counts.read(), std::vector<std::int32_t>(places, 3));
}

TEST(OrderRows, TakesTheRoutersChoices) {
  FORETOKEN_NEED_GPU();
  // Two tokens with experts 2, 0 and 1, 2; the last expert is not here.
  const auto routes = on_device(Floats{2, 0, 0.75F, 0.25F, 1, 2, 0.5F, 0.5F});
  const auto places = on_device(std::vector<std::int32_t>{1, 0, -1});
  const DeviceArray<std::int32_t> experts(4);
  const DeviceArray<std::int32_t> place_of_choice(4);
  take_choices(nullptr, 2, 2, routes.data(), places.data(), experts.data(), place_of_choice.data());
  EXPECT_EQ(experts.read(), (std::vector<std::int32_t>{2, 0, 1, 2}));
  EXPECT_EQ(place_of_choice.read(), (std::vector<std::int32_t>{-1, 1, 0, -1}));
  const auto first_place = on_device(std::vector<std::int32_t>{0, 2, 2, 3});  // of three hosts
  const auto first_rows = on_device(std::vector<std::int32_t>{0, 5, 6, 9});
  const DeviceArray<std::int32_t> host_rows(4);
  first_rows_of_hosts(nullptr, 3, first_place.data(), first_rows.data(), host_rows.data());
  EXPECT_EQ(host_rows.read(), (std::vector<std::int32_t>{0, 6, 6, 9}));
}

// Counts out of headers and into them, at blocks that are not aligned to numbers of 4 bytes.
TEST(Arrivals, AreReadFromHeadersAndSorted) {
  FORETOKEN_NEED_GPU();
  constexpr std::int64_t hosts = 3;
  constexpr std::int64_t block = 22;
  const auto first_place = on_device(std::vector<std::int32_t>{0, 2, 2, 5});
  const auto counts = on_device(std::vector<std::int32_t>{4, 70'000, 1, 2, 3});
  const DeviceArray<std::byte> blocks(hosts * block);
  write_headers(nullptr, hosts, 5, first_place.data(), counts.data(), block, blocks.data());
  const std::vector<std::byte> written = blocks.read();
  EXPECT_EQ(number_at(written.data() + 4), 70'000);
  EXPECT_EQ(number_at(written.data() + 2 * block + 8), 3);

  for (const Arrivals arrivals : {Arrivals{3, 4}, Arrivals{70, 9}, Arrivals{1, 1}}) {
    std::mt19937 random(2);
    std::vector<std::byte> headers(static_cast<std::size_t>(arrivals.sources * 38));
    std::vector<std::int32_t> arrived;
    for (std::int64_t pair = 0; pair < arrivals.pairs(); ++pair) {
      arrived.push_back(static_cast<std::int32_t>(random() % 400));
      put_number(arrived.back(), headers.data() + pair / arrivals.experts * 38 + pair % arrivals.experts * 4);
    }
    // Blocks of pairs, first in order of arrival, then by expert.
    std::vector<std::int32_t> source_rows;
    std::vector<std::int32_t> first;
    std::int32_t all = 0;
    for (std::int64_t pair = 0; pair < arrivals.pairs(); ++pair) {
      if (pair % arrivals.experts == 0) source_rows.push_back(all);
      first.push_back(all);
      all += arrived[static_cast<std::size_t>(pair)];
    }
    source_rows.push_back(all);
    std::vector<std::int32_t> expert_rows;
    std::vector<std::int32_t> sorted;
    for (std::int64_t expert = 0; expert < arrivals.experts; ++expert) {
      expert_rows.push_back(static_cast<std::int32_t>(sorted.size()));
      for (std::int64_t source = 0; source < arrivals.sources; ++source) {
        const auto pair = static_cast<std::size_t>(source * arrivals.experts + expert);
        for (std::int32_t i = 0; i < arrived[pair]; ++i) sorted.push_back(first[pair] + i);
      }
    }
    expert_rows.push_back(all);
    const auto came = on_device(headers);
    const DeviceArray<std::int32_t> read(arrived.size());
    const DeviceArray<std::int32_t> sources(source_rows.size());
    const DeviceArray<std::int32_t> experts(expert_rows.size());
    const DeviceArray<std::int32_t> order(sorted.size());
    const DeviceArray<std::int32_t> room(2 * arrived.size());
    read_headers(nullptr, arrivals, 38, came.data(), read.data());
    EXPECT_EQ(read.read(), arrived);
    sort_arrivals(nullptr, arrivals, read.data(), sources.data(), experts.data(), order.data(), room.data());
    EXPECT_EQ(sources.read(), source_rows);
    EXPECT_EQ(experts.read(), expert_rows);
    EXPECT_EQ(order.read(), sorted);
  }
}

TEST(Elements, RoundToNearestAndBack) {
  // 1 + 2^-11 lies half-way between two numbers of fp16 and goes to the even one; of bf16, 1 + 2^-8 does.
  EXPECT_EQ(rounded(DType::fp16, {1.0F + 1.0F / 2048, 1.0F + 3.0F / 2048}), (Floats{1.0F, 1.0F + 1.0F / 512}));
  EXPECT_EQ(rounded(DType::bf16, {1.0F + 1.0F / 256, 1.0F + 3.0F / 256}), (Floats{1.0F, 1.0F + 1.0F / 64}));
  EXPECT_EQ(rounded(DType::fp32, {0.1F, -3.5F}), (Floats{0.1F, -3.5F}));
}

}  // namespace
}  // namespace foretoken::test
