// Kernels that compute, draw and multiply, against the host's verbs for it or plain loops, in each element type. What
// moves rows: routing_test.cpp, node_rows_test.cpp.
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

#include "runtime/cuda/device/gemm.hpp"
#include "runtime/cuda/model_index.hpp"
#include "runtime/cuda/split_kv.hpp"
#include "runtime/host/verbs.hpp"
#include "runtime/model/weights.hpp"
#include "tests/cuda/device/on_device.hpp"
#include "tests/runtime/small_plan.hpp"

namespace foretoken::test {
namespace {

using namespace runtime::cuda;  // NOLINT(google-build-using-namespace): all of this file is about it
namespace host = runtime::host;

class Kernels : public KernelTest {};

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

INSTANTIATE_TEST_SUITE_P(Types, Kernels, element_types(), name_of_type);

TEST(Elements, RoundToNearestAndBack) {
  // 1 + 2^-11 lies half-way between two numbers of fp16 and goes to the even one; of bf16, 1 + 2^-8 does.
  EXPECT_EQ(rounded(DType::fp16, {1.0F + 1.0F / 2048, 1.0F + 3.0F / 2048}), (Floats{1.0F, 1.0F + 1.0F / 512}));
  EXPECT_EQ(rounded(DType::bf16, {1.0F + 1.0F / 256, 1.0F + 3.0F / 256}), (Floats{1.0F, 1.0F + 1.0F / 64}));
  EXPECT_EQ(rounded(DType::fp32, {0.1F, -3.5F}), (Floats{0.1F, -3.5F}));
}

}  // namespace
}  // namespace foretoken::test
