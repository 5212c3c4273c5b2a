#include "runtime/cuda/device/probe_work.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/error.hpp"
#include "runtime/cuda/device/cuda_check.hpp"
#include "runtime/cuda/device/gpu.hpp"
#include "runtime/cuda/device/kernels.hpp"
#include "runtime/cuda/split_kv.hpp"

namespace foretoken::runtime::cuda {
namespace {

constexpr std::int64_t kRoundsMax = 512;
constexpr std::int64_t kSpare = std::int64_t{1} << 30;  // left to graphs, NCCL and the driver
constexpr std::int64_t kHeadDim = 128;                  // of RoPE's heads
constexpr std::int64_t kLongerElements = std::int64_t{1} << 23;

}  // namespace

ProbeWork::ProbeWork(Gemm& gemm, std::int64_t l2, std::int64_t multiprocessors)
    : gemm_(gemm),
      l2_(l2),
      multiprocessors_(multiprocessors),
      workspace_(static_cast<std::size_t>(kGemmWorkspaceBytes)) {}

std::byte* ProbeWork::memory(std::int64_t bytes) {
  if (bytes + kSpare > device_memory().free)
    throw Error(ErrorCode::infeasible, fmt::format("{} more bytes are not free on the GPU", bytes));
  operands_.emplace_back(static_cast<std::size_t>(bytes));
  return operands_.back().data();
}

// With numbers, because a product of zeros draws less power, and so runs faster, than one of anything else.
std::byte* ProbeWork::filled(std::int64_t bytes, DType dtype) {
  std::byte* const data = memory(bytes);
  fill_input({nullptr, dtype}, bytes / bytes_per_element(dtype), operands_.size(), 0, data);
  return data;
}

std::int64_t ProbeWork::rounds(std::int64_t bytes) const {
  return std::clamp((4 * l2_ + bytes - 1) / bytes, std::int64_t{1}, kRoundsMax);
}

struct ProbeWork::Maker {
  ProbeWork& work;

  Repeat operator()(const CopyProbe& p) const {
    const std::int64_t bytes = p.bytes.value();
    const std::int64_t rounds = p.cold ? work.rounds(bytes) : 1;
    const std::byte* const from = work.filled(rounds * bytes, DType::bf16);
    std::byte* const to = work.memory(rounds * bytes);
    return [=](std::int64_t repetition, cudaStream_t stream) {
      const std::int64_t at = repetition % rounds * bytes;
      check_cuda(cudaMemcpyAsync(to + at, from + at, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToDevice, stream),
                 "cudaMemcpyAsync");
    };
  }

  Repeat operator()(const GemmProbe& p) const { return products(p.dtype, 1, p.m, p.n, p.k); }
  Repeat operator()(const ExpertGemmProbe& p) const { return products(p.dtype, p.experts, p.rows, p.n, p.k); }

  Repeat products(DType dtype, std::int64_t count, std::int64_t m, std::int64_t n, std::int64_t k) const {
    const std::int64_t size = bytes_per_element(dtype);
    const std::int64_t weights = count * n * k * size;
    const std::int64_t rounds = work.rounds(weights);
    const std::byte* const in = work.filled(count * m * k * size, dtype);
    const std::byte* const weight = work.filled(rounds * weights, dtype);
    std::byte* const out = work.memory(count * m * n * size);
    const GemmWorkspace room{work.workspace_.data(), work.workspace_.size()};
    const std::vector<std::int64_t> rows(static_cast<std::size_t>(count), m);
    return [=, &gemm = work.gemm_](std::int64_t repetition, cudaStream_t stream) {
      const std::byte* const its = weight + repetition % rounds * weights;
      if (rows.size() == 1) gemm.run({stream, dtype}, room, {m, n, k}, in, its, out);
      else gemm.run_grouped({stream, dtype}, room, rows, n, k, in, its, out);
    };
  }

  Repeat operator()(const AttentionProbe& p) const {
    const AttentionShape shape{p.batch, p.context, p.heads, p.kv_heads, p.head_dim};
    const std::int64_t size = bytes_per_element(p.dtype);
    const std::int64_t queries = p.batch * p.heads * p.head_dim * size;
    const std::byte* const q = work.filled(queries, p.dtype);
    const std::byte* const kv = work.filled(2 * p.batch * p.context * p.kv_heads * p.head_dim * size, p.dtype);
    std::byte* const out = work.memory(queries);
    const std::int64_t splits =
        kv_splits(attention_blocks(p.batch, p.heads, p.kv_heads), p.context, work.multiprocessors_);
    const std::int64_t room =
        attention_room(p.batch, p.heads, p.kv_heads, p.head_dim, p.context, work.multiprocessors_);
    auto* const partial = room == 0 ? nullptr : reinterpret_cast<float*>(work.memory(room));
    return [=, dtype = p.dtype](std::int64_t /*repetition*/, cudaStream_t stream) {
      decode_attention({stream, dtype}, shape, splits, q, kv, out, partial);
    };
  }

  Repeat operator()(const RowwiseProbe& p) const {
    const std::int64_t written = p.rows * p.cols * bytes_per_element(p.dtype);
    const std::int64_t read = p.kind == RowwiseKind::activation ? 2 * written : written;
    const std::int64_t rounds = work.rounds(read);
    const std::byte* const in = work.filled(rounds * read, p.dtype);
    std::byte* const out = work.memory(rounds * written);
    const auto queue = [dtype = p.dtype](cudaStream_t stream) { return Queue{stream, dtype}; };
    switch (p.kind) {
      case RowwiseKind::norm: {
        const std::byte* const weight = work.filled(p.cols * bytes_per_element(p.dtype), p.dtype);
        return [=](std::int64_t repetition, cudaStream_t stream) {
          const std::int64_t at = repetition % rounds;
          norm(queue(stream), p.rows, p.cols, in + at * read, weight, out + at * written);
        };
      }
      case RowwiseKind::activation:
        return [=](std::int64_t repetition, cudaStream_t stream) {
          const std::int64_t at = repetition % rounds;
          activation(queue(stream), Activation::silu, p.rows, p.cols, true, in + at * read, out + at * written);
        };
      case RowwiseKind::permute: {
        // A stride that has no divisor in common with the rows visits each of them once.
        std::int64_t stride = p.rows * 5 / 8 + 1;
        while (std::gcd(stride, p.rows) != 1) ++stride;
        std::vector<std::int32_t> sources;
        for (std::int64_t i = 0; i < p.rows; ++i) sources.push_back(static_cast<std::int32_t>(i * stride % p.rows));
        std::byte* const table = work.memory(static_cast<std::int64_t>(sources.size() * sizeof(std::int32_t)));
        check_cuda(cudaMemcpy(table, sources.data(), sources.size() * sizeof(std::int32_t), cudaMemcpyHostToDevice),
                   "cudaMemcpy");
        return [=](std::int64_t repetition, cudaStream_t stream) {
          const std::int64_t at = repetition % rounds;
          gather_rows(queue(stream), p.rows, p.cols, reinterpret_cast<const std::int32_t*>(table), in + at * read,
                      out + at * written);
        };
      }
      case RowwiseKind::rope: {
        // Six query heads to a KV head, which has keys and values: an eighth of the columns for each.
        const std::int64_t kv_heads = p.cols / kHeadDim / 8;
        const AttentionShape shape{p.rows, 1, 6 * kv_heads, kv_heads, kHeadDim};
        const std::int64_t q_bytes = written / 8 * 6;
        std::byte* const angles = work.memory(kHeadDim * static_cast<std::int64_t>(sizeof(float)));
        check_cuda(cudaMemset(angles, 0, static_cast<std::size_t>(kHeadDim) * sizeof(float)), "cudaMemset");
        const auto* const cos = reinterpret_cast<const float*>(angles);
        return [=](std::int64_t repetition, cudaStream_t stream) {
          const std::int64_t at = repetition % rounds;
          std::byte* const q = out + at * written;
          rope_kv(queue(stream), shape, cos, cos + kHeadDim / 2, in + at * read, q, q + q_bytes);
        };
      }
    }
    FORETOKEN_CHECK(false, "no such kernel");
  }

  Repeat operator()(const LaunchProbe& /*p*/) const { FORETOKEN_CHECK(false, "launches have no operands"); }
  Repeat operator()(const MessageProbe& /*p*/) const { FORETOKEN_CHECK(false, "messages have buffers of their own"); }
  Repeat operator()(const PairProbe& /*p*/) const { FORETOKEN_CHECK(false, "messages have buffers of their own"); }
};

ProbeWork::Repeat ProbeWork::make(const Probe& probe) {
  operands_.clear();
  return std::visit(Maker{*this}, probe);
}

ProbeWork::Repeat ProbeWork::tiny() {
  operands_.clear();
  constexpr std::int64_t count = 64;
  const std::byte* const in = filled(count * 2, DType::bf16);
  std::byte* const out = memory(count * 2);
  return [=](std::int64_t /*repetition*/, cudaStream_t stream) { add({stream, DType::bf16}, count, in, in, out); };
}

ProbeWork::Repeat ProbeWork::longer() {
  operands_.clear();
  const std::byte* const in = filled(kLongerElements * 2, DType::bf16);
  std::byte* const out = memory(kLongerElements * 2);
  return [=](std::int64_t /*repetition*/, cudaStream_t stream) {
    add({stream, DType::bf16}, kLongerElements, in, in, out);
  };
}

}  // namespace foretoken::runtime::cuda
