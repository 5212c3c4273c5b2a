#include "plan/program/work.hpp"

#include "core/error.hpp"

namespace foretoken::plan {
namespace {

std::int64_t resolved(const Extent& extent, std::int64_t rows) {
  return extent.kind == Extent::Kind::fixed ? extent.count : rows;
}

Work work(double flops, std::int64_t elements, std::int64_t element_bytes) {
  return Work{Flops(flops), Bytes(elements * element_bytes)};
}

// Row-wise ops are bound by memory; their FLOPs are counted per element for completeness.
Work rowwise(const Op& op, const RowwiseOp& shape, std::int64_t rows) {
  const std::int64_t bytes = bytes_per_element(op.dtype);
  const std::int64_t n = resolved(shape.rows, rows);
  const std::int64_t elements = n * shape.cols;
  const auto flops = static_cast<double>(elements);
  switch (op.kind) {
    case OpKind::norm:
      // read x, write normed; with a residual also read the addend and write the sum. Square, sum, scale, weight: 4.
      return work(flops * (shape.residual ? 5 : 4), elements * (shape.residual ? 4 : 2) + shape.cols, bytes);
    case OpKind::rope_kv: return work(flops * 3, elements * 2, bytes);  // read qkv; write q and the new k and v
    case OpKind::add: return work(flops, elements * 3, bytes);
    case OpKind::activation: return work(flops * (shape.gated ? 6 : 5), elements * (shape.gated ? 3 : 2), bytes);
    case OpKind::permute: return work(0, elements * 2, bytes);
    case OpKind::unpermute: return work(flops * 2, elements + shape.out_rows * shape.cols, bytes);
    case OpKind::input:
    case OpKind::step_end: return work(0, 0, bytes);
    default: break;
  }
  FORETOKEN_CHECK(false, op.name + " is not a row-wise op");
}

struct WorkOf {
  const Op& op;
  std::int64_t rows;
  std::int64_t active_experts;

  Work operator()(const RowwiseOp& shape) const { return rowwise(op, shape, rows); }

  // 2 m n k FLOPs; reads both operands once and writes the product.
  Work operator()(const GemmOp& shape) const {
    const std::int64_t m = resolved(shape.rows, rows);
    return work(2.0 * static_cast<double>(m) * static_cast<double>(shape.n) * static_cast<double>(shape.k),
                m * shape.k + m * shape.n + shape.n * shape.k, bytes_per_element(op.dtype));
  }

  // The same per expert; the weights of experts without rows stay unread. With fixed rows there are none such.
  Work operator()(const GroupedGemmOp& shape) const {
    const std::int64_t m = resolved(shape.rows, rows);
    const std::int64_t active = shape.rows.kind == Extent::Kind::fixed ? shape.experts : active_experts;
    const double flops = 2.0 * static_cast<double>(m) * static_cast<double>(shape.n) * static_cast<double>(shape.k);
    const std::int64_t weights = active * shape.n * shape.k;
    if (shape.packing == Packing::none)
      return work(flops, m * shape.k + m * shape.n + weights, bytes_per_element(op.dtype));
    Work result = work(flops, m * shape.k + m * shape.n, bytes_per_element(op.dtype));
    result.traffic +=
        Bytes(static_cast<std::int64_t>(static_cast<double>(weights) * bits_per_weight(shape.packing, op.dtype) / 8));
    return result;
  }

  // Scores and weighted sum: 2 FLOPs each per (sequence, head, cached token, element). Reads K and V once per KV head,
  // which latent attention has as one.
  Work operator()(const AttentionOp& shape) const {
    const double pairs = static_cast<double>(shape.sequences) * static_cast<double>(shape.context);
    const bool latent = shape.value_dim > 0;
    const std::int64_t value = latent ? shape.value_dim : shape.head_dim;
    const std::int64_t kv =
        shape.sequences * shape.context * shape.kv_heads * (latent ? shape.head_dim : 2 * shape.head_dim);
    const std::int64_t q_and_out = shape.sequences * shape.heads * (shape.head_dim + value);
    return work(2.0 * pairs * static_cast<double>(shape.heads * (shape.head_dim + value)), kv + q_and_out,
                bytes_per_element(op.dtype));
  }

  // Logits are written once and read once by softmax and top-k; index and weight (4 bytes each) per choice.
  Work operator()(const RouteOp& shape) const {
    const std::int64_t bytes = bytes_per_element(op.dtype);
    const std::int64_t elements =
        shape.rows * shape.hidden + shape.hidden * shape.experts + 2 * shape.rows * shape.experts;
    Work result = work(2.0 * static_cast<double>(shape.rows) * static_cast<double>(shape.hidden * shape.experts),
                       elements, bytes);
    result.traffic += Bytes(shape.rows * shape.top_k * 8);
    return result;
  }

  Work operator()(const CollectiveOpDetail&) const { return communication(); }
  Work operator()(const ExchangeOp&) const { return communication(); }
  Work operator()(const TransferOp&) const { return communication(); }
  Work communication() const { FORETOKEN_CHECK(false, op.name + " is a communication: its cost is the network's"); }
};

}  // namespace

Work work_of(const Op& op, std::int64_t rows, std::int64_t active_experts) {
  return std::visit(WorkOf{op, rows, active_experts}, op.detail);
}

}  // namespace foretoken::plan
