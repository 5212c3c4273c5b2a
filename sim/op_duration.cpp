#include "sim/op_duration.hpp"

#include <algorithm>
#include <numeric>
#include <span>

#include "core/error.hpp"
#include "plan/program/work.hpp"

namespace foretoken::sim {

const plan::Extent* extent_of(const plan::Op& op) {
  if (const auto* rowwise = std::get_if<plan::RowwiseOp>(&op.detail)) return &rowwise->rows;
  if (const auto* gemm = std::get_if<plan::GemmOp>(&op.detail)) return &gemm->rows;
  if (const auto* grouped = std::get_if<plan::GroupedGemmOp>(&op.detail)) return &grouped->rows;
  return nullptr;
}

Estimate choose_experts(const ComputeCost& cost, const plan::RouteOp& shape, DType dtype) {
  return cost.memory_bound(Bytes(shape.rows * (shape.experts * bytes_per_element(dtype) + shape.top_k * 8)));
}

namespace {

struct DurationOfDetail {
  const ComputeCost& cost;
  const plan::Role& role;
  const plan::Op& op;
  std::span<const std::int64_t> rows_per_expert;

  [[nodiscard]] std::int64_t rows(const plan::Extent& extent) const {
    if (extent.kind == plan::Extent::Kind::fixed) return extent.count;
    return std::accumulate(rows_per_expert.begin(), rows_per_expert.end(), std::int64_t{0});
  }

  Estimate operator()(const plan::RowwiseOp& shape) const {
    if (plan::is_mark(op.kind)) return {Seconds(0), Provenance::measured};
    const std::int64_t n = rows(shape.rows);
    const Bytes traffic = plan::work_of(op, n, 0).traffic;  // an unpermute without rows still writes its zeros
    if (n == 0 && shape.out_rows == 0) return {Seconds(0), Provenance::measured};
    return cost.memory_bound(traffic);
  }
  Estimate operator()(const plan::GemmOp& shape) const {
    return cost.gemm(op.dtype, rows(shape.rows), shape.n, shape.k);
  }
  Estimate operator()(const plan::GroupedGemmOp& shape) const {
    if (shape.rows.kind == plan::Extent::Kind::routed)
      return cost.grouped_gemm(op.dtype, rows_per_expert, shape.n, shape.k, shape.packing);
    const std::vector<std::int64_t> alike(static_cast<std::size_t>(shape.experts), shape.rows.count / shape.experts);
    return cost.grouped_gemm(op.dtype, alike, shape.n, shape.k, shape.packing);
  }
  Estimate operator()(const plan::AttentionOp& shape) const {
    AttentionShape attention;
    attention.batch = shape.sequences;
    attention.context = shape.context;
    attention.heads = shape.heads;
    attention.kv_heads = shape.kv_heads;
    attention.head_dim = shape.head_dim;
    attention.value_dim = shape.value_dim;
    attention.latent = shape.value_dim > 0;
    attention.dtype = op.inputs.empty() ? op.dtype : role.tensors[op.inputs.front().index()].dtype;
    attention.kv_dtype = op.dtype;
    return cost.attention_decode(attention);
  }
  Estimate operator()(const plan::RouteOp& shape) const {
    const Estimate gemm = cost.gemm(op.dtype, shape.rows, shape.experts, shape.hidden);
    const Estimate choose = choose_experts(cost, shape, op.dtype);
    return {gemm.time + choose.time, worst(gemm.provenance, choose.provenance)};
  }
  Estimate operator()(const plan::CollectiveOpDetail&) const { return communication(); }
  Estimate operator()(const plan::ExchangeOp&) const { return communication(); }
  Estimate operator()(const plan::TransferOp&) const { return communication(); }
  [[nodiscard]] Estimate communication() const {
    FORETOKEN_CHECK(false, op.name + " is a communication: its duration is the network's");
  }
};

std::pair<std::int64_t, std::int64_t> shape_of(const plan::Op& op) {
  if (const auto* grouped = std::get_if<plan::GroupedGemmOp>(&op.detail)) return {grouped->n, grouped->k};
  if (const auto* gemm = std::get_if<plan::GemmOp>(&op.detail)) return {gemm->n, gemm->k};
  // What beside rows and cols decides a row-wise op's traffic.
  const auto& rowwise = std::get<plan::RowwiseOp>(op.detail);
  return {rowwise.cols, rowwise.out_rows * 4 + (rowwise.residual ? 2 : 0) + (rowwise.gated ? 1 : 0)};
}

}  // namespace

Estimate op_duration(const ComputeCost& cost, const plan::Role& role, const plan::Op& op,
                     std::span<const std::int64_t> rows_per_expert) {
  Estimate estimate = std::visit(DurationOfDetail{cost, role, op, rows_per_expert}, op.detail);
  const std::int64_t rows = std::accumulate(rows_per_expert.begin(), rows_per_expert.end(), std::int64_t{0});
  const std::int64_t active = static_cast<std::int64_t>(rows_per_expert.size()) -
                              std::count(rows_per_expert.begin(), rows_per_expert.end(), std::int64_t{0});
  if (estimate.time > Seconds(0)) estimate.traffic = plan::work_of(op, rows, active).traffic;
  return estimate;
}

OpDurations::OpDurations(const plan::Program& program, const ComputeCost& cost, plan::RowCounter& rows)
    : program_(program), cost_(cost), rows_(rows) {
  for (const plan::Role& role : program.roles) fixed_.emplace_back(role.ops.size());
}

Estimate OpDurations::of(RankId rank, OpId id, std::int64_t routed_step) {
  const auto role_index = static_cast<std::size_t>(program_.role_of_rank[rank.index()]);
  const plan::Role& role = program_.roles[role_index];
  const plan::Op& op = role.ops[id.index()];
  const plan::Extent* extent = extent_of(op);
  if (extent == nullptr || extent->kind == plan::Extent::Kind::fixed) {
    std::optional<Estimate>& known = fixed_[role_index][id.index()];
    if (!known) known = op_duration(cost_, role, op, {});
    return *known;
  }

  const auto [n, k] = shape_of(op);
  const auto* grouped = std::get_if<plan::GroupedGemmOp>(&op.detail);
  RoutedShape shape{op.kind, op.dtype, grouped != nullptr ? grouped->packing : Packing::none,
                    n,       k,        rows_.local_rows(rank, *extent, routed_step)};
  // Which expert has which rows does not matter, and experts without rows cost nothing.
  std::erase(shape.rows, 0);
  std::sort(shape.rows.begin(), shape.rows.end());
  const auto [entry, is_new] = routed_.try_emplace(std::move(shape));
  if (is_new) entry->second = op_duration(cost_, role, op, entry->first.rows);
  return entry->second;
}

}  // namespace foretoken::sim
