#include "sim/moe_module.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "sim/op_duration.hpp"

namespace foretoken::sim {

namespace {

// What one thread block of the kernel that sorts all at once takes.
constexpr std::int64_t kTokensOfOneSort = 256;
constexpr std::int64_t kChoiceBytes = 8;  // an expert's number and where its row goes

Estimate sort_by_expert(const ComputeCost& cost, const MoeModule& module) {
  const double kernels = module.tokens <= kTokensOfOneSort ? 2 : 4;
  Estimate one = cost.memory_bound(Bytes(module.tokens * module.top_k * kChoiceBytes));
  one.time = one.time * kernels;
  return one;
}

}  // namespace

Estimate moe_module(const ComputeCost& cost, const MoeModule& module, std::span<const std::int64_t> rows_per_expert) {
  const auto experts_here = static_cast<std::int64_t>(rows_per_expert.size());
  const std::int64_t rows = std::accumulate(rows_per_expert.begin(), rows_per_expert.end(), std::int64_t{0});
  const DType moved = bytes_per_element(module.dtype) < 2 ? DType::bf16 : module.dtype;
  const plan::Extent routed = plan::Extent::routed(0, 0, -1);
  const plan::Extent fixed = plan::Extent::fixed(rows);
  const plan::Role role;

  Estimate total = choose_experts(cost, {module.tokens, module.hidden, module.experts, module.top_k}, moved);
  total.time += sort_by_expert(cost, module).time;
  if (bytes_per_element(module.dtype) < bytes_per_element(moved))
    total.time += cost.memory_bound(Bytes(module.tokens * module.hidden *
                                          (bytes_per_element(moved) + bytes_per_element(module.dtype))))
                      .time;
  const auto add = [&](plan::OpKind kind, DType dtype, plan::OpDetail detail) {
    plan::Op op;
    op.name = name_of(kind);
    op.kind = kind;
    op.dtype = dtype;
    op.detail = std::move(detail);
    const Estimate one = op_duration(cost, role, op, rows_per_expert);
    const bool gemm = kind == plan::OpKind::grouped_gemm;
    total.time += gemm ? std::max(Seconds(0), one.time - cost.quantising(module.dtype)) : one.time;
    total.provenance = worst(total.provenance, one.provenance);
  };
  const std::int64_t inner = module.expert_hidden;
  add(plan::OpKind::permute, moved, plan::RowwiseOp{fixed, module.hidden, false, false, 0, plan::RowOrder::select});
  add(plan::OpKind::grouped_gemm, module.dtype,
      plan::GroupedGemmOp{routed, experts_here, module.gated ? 2 * inner : inner, module.hidden});
  add(plan::OpKind::activation, moved, plan::RowwiseOp{fixed, inner, false, module.gated});
  add(plan::OpKind::grouped_gemm, module.dtype, plan::GroupedGemmOp{routed, experts_here, module.hidden, inner});
  add(plan::OpKind::unpermute, moved, plan::RowwiseOp{fixed, module.hidden, false, false, module.tokens});
  return total;
}

}  // namespace foretoken::sim
