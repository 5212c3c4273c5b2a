#include "runtime/host/host_compute.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>

#include "core/error.hpp"
#include "runtime/model/weights.hpp"

namespace foretoken::runtime::host {
namespace {

plan::AttentionOp attention_of(const plan::Role& role) {
  for (const plan::Op& op : role.ops)
    if (const auto* shape = std::get_if<plan::AttentionOp>(&op.detail)) return *shape;
  return {};
}

}  // namespace

Buffer::Buffer(std::int64_t count) : count_(count) {
  constexpr std::size_t line = 64;
  const std::size_t bytes = (static_cast<std::size_t>(count) * sizeof(float) + line - 1) / line * line;
  data_.reset(static_cast<float*>(std::aligned_alloc(line, std::max(bytes, line))));
  if (!data_)
    throw Error(ErrorCode::infeasible,
                fmt::format("this machine has no {} bytes left for a tensor; run fewer ranks on it, or lower "
                            "workload.sequences, workload.context or the model",
                            bytes));
  std::memset(data_.get(), 0, bytes);
}

void Buffer::Free::operator()(float* data) const { std::free(data); }

HostCompute::HostCompute(const plan::Plan& plan, RankId rank, RowTables& tables)
    : plan_(plan), rank_(rank), role_(plan.program.role_of(rank)), tables_(tables) {
  std::int64_t scratch = 1;
  for (const plan::Op& op : role_.ops) {
    if (const auto* attention = std::get_if<plan::AttentionOp>(&op.detail))
      scratch = std::max(scratch, attention->heads / attention->kv_heads * attention->context);
    if (const auto* route = std::get_if<plan::RouteOp>(&op.detail))
      scratch = std::max(scratch, route->rows * route->experts);
  }
  scratch_ = Buffer(scratch);
  angles_ = rope_angles(plan.scenario.model.head_dim, plan.scenario.workload.context);
  fill_tensors();
}

void HostCompute::fill_tensors() {
  buffers_.reserve(role_.tensors.size());
  for (const plan::Tensor& tensor : role_.tensors) {
    const std::int64_t count = tensor.stack * tables_.rows_max(tensor.rows) * tensor.cols;
    buffers_.emplace_back(count);
    if (tensor.kind == plan::TensorKind::weight)
      fill_weight(plan_, tensor, rank_, {buffers_.back().data(), static_cast<std::size_t>(count)});
  }
  const std::int64_t batches = plan_.scenario.deployment.micro_batches;
  inputs_.resize(static_cast<std::size_t>(plan_.routing.routed_steps() * batches));
  for (const plan::Op& op : role_.ops) {
    for (const TensorId output : op.outputs) {
      const plan::Tensor& tensor = role_.tensors[output.index()];
      if (tensor.kind != plan::TensorKind::kv_cache) continue;
      const Buffer& cache = buffer(output);
      fill_kv_cache(plan_, tensor, op.micro_batch, rank_, {cache.data(), static_cast<std::size_t>(cache.count())});
    }
    if (op.kind != plan::OpKind::input) continue;
    const std::int64_t replica = plan_.placement.replica_of(rank_);
    const plan::Range sequences =
        plan_.scenario.deployment.exchange == plan::ExpertExchange::dispatch
            ? plan_.placement.slice(replica, op.micro_batch, plan_.placement.tp_index_of(rank_))
            : plan_.placement.sequences(replica, op.micro_batch);
    for (std::int64_t step = 0; step < plan_.routing.routed_steps(); ++step) {
      std::vector<float>& states = inputs_[static_cast<std::size_t>(step * batches + op.micro_batch)];
      states.resize(static_cast<std::size_t>(sequences.size() * plan_.scenario.model.hidden));
      fill_input(plan_, step, sequences, states);
    }
  }
}

void HostCompute::run(OpId id, std::int64_t routed_step) {
  const plan::Op& op = role_.ops[id.index()];
  if (const auto* rowwise = std::get_if<plan::RowwiseOp>(&op.detail)) {
    run_rowwise(op, *rowwise, routed_step);
  } else if (const auto* product = std::get_if<plan::GemmOp>(&op.detail)) {
    gemm(tables_.rows(product->rows, routed_step), product->n, product->k, in(op, 0), in(op, 1), out(op, 0));
  } else if (const auto* grouped = std::get_if<plan::GroupedGemmOp>(&op.detail)) {
    const HostedRows& hosted =
        tables_.hosted(routed_step, grouped->rows.layer, grouped->rows.micro_batch, grouped->rows.chunk);
    grouped_gemm(hosted.rows_of_expert, grouped->n, grouped->k, in(op, 0), in(op, 1), out(op, 0));
  } else if (const auto* a = std::get_if<plan::AttentionOp>(&op.detail)) {
    attention({a->sequences, a->context, a->heads, a->kv_heads, a->head_dim}, in(op, 0), in(op, 1), out(op, 0),
              scratch_.data());
  } else if (const auto* router = std::get_if<plan::RouteOp>(&op.detail)) {
    run_route(op, *router, routed_step);
  } else {
    FORETOKEN_CHECK(false, op.name + " is not a compute op");
  }
}

void HostCompute::run_route(const plan::Op& op, const plan::RouteOp& shape, std::int64_t routed_step) {
  const RoutedRowTable& table = tables_.at(routed_step, op.layer, op.micro_batch);
  FORETOKEN_CHECK(table.tokens == shape.rows, op.name + " has other tokens than the routing");
  router_logits(shape.rows, shape.hidden, shape.experts, in(op, 0), in(op, 1), scratch_.data());
  if (!plan_.routing.known()) {
    chosen_.resize(static_cast<std::size_t>(shape.rows * shape.top_k));
    top_k(shape.rows, shape.experts, shape.top_k, scratch_.data(), chosen_.data());
    tables_.route(routed_step, op.layer, op.micro_batch, chosen_);
  }
  router_weights(shape.rows, shape.experts, shape.top_k, scratch_.data(), table.experts.data(), out(op, 0));
}

void HostCompute::run_rowwise(const plan::Op& op, const plan::RowwiseOp& shape, std::int64_t routed_step) {
  const std::int64_t rows = tables_.rows(shape.rows, routed_step);
  switch (op.kind) {
    case plan::OpKind::input: {
      const std::int64_t batches = plan_.scenario.deployment.micro_batches;
      const std::vector<float>& states = inputs_[static_cast<std::size_t>(routed_step * batches + op.micro_batch)];
      std::copy(states.begin(), states.end(), out(op, 0));
      return;
    }
    case plan::OpKind::norm:
      if (shape.residual) residual_norm(rows, shape.cols, in(op, 0), in(op, 1), in(op, 2), out(op, 1), out(op, 0));
      else norm(rows, shape.cols, in(op, 0), in(op, 1), out(op, 0));
      return;
    case plan::OpKind::rope_kv: {
      const plan::AttentionOp a = attention_of(role_);
      rope_kv({rows, a.context, a.heads, a.kv_heads, a.head_dim}, angles_, in(op, 0), out(op, 0), out(op, 1));
      return;
    }
    case plan::OpKind::permute: permute(op, shape, routed_step); return;
    case plan::OpKind::unpermute: {
      const RoutedRowTable& table = tables_.at(routed_step, op.layer, op.micro_batch);
      FORETOKEN_CHECK(table.tokens == shape.out_rows, op.name + " has other tokens than the routing");
      unpermute(shape.out_rows, shape.cols, plan_.scenario.model.top_k, in(op, 0), in(op, 1), table.row_of.data(),
                out(op, 0));
      return;
    }
    case plan::OpKind::activation: activation(rows, shape.cols, shape.gated, in(op, 0), out(op, 0)); return;
    case plan::OpKind::add: add(rows * shape.cols, in(op, 0), in(op, 1), out(op, 0)); return;
    case plan::OpKind::step_end:
      sample(rows, shape.cols, in(op, 0), reinterpret_cast<std::int32_t*>(out(op, 0)));
      return;
    default: break;
  }
  FORETOKEN_CHECK(false, op.name + " is not a row-wise op");
}

void HostCompute::permute(const plan::Op& op, const plan::RowwiseOp& shape, std::int64_t routed_step) {
  switch (shape.order) {
    case plan::RowOrder::none:
    case plan::RowOrder::lookup: break;
    case plan::RowOrder::select:
    case plan::RowOrder::pack: {
      const RoutedRowTable& table = tables_.at(routed_step, op.layer, op.micro_batch);
      gather_rows(table.selected, shape.cols, in(op, 0), out(op, 0));
      if (op.outputs.size() > 1)
        std::copy(table.counts.begin(), table.counts.end(), reinterpret_cast<std::int32_t*>(out(op, 1)));
      return;
    }
    case plan::RowOrder::sort:
      gather_rows(tables_.hosted(routed_step, op.layer, op.micro_batch, op.chunk).sorted, shape.cols, in(op, 0),
                  out(op, 0));
      return;
    case plan::RowOrder::unsort:
      scatter_rows(tables_.hosted(routed_step, op.layer, op.micro_batch, op.chunk).sorted, shape.cols, in(op, 0),
                   out(op, 0));
      return;
  }
  FORETOKEN_CHECK(false, op.name + " names no order of rows");
}

}  // namespace foretoken::runtime::host
