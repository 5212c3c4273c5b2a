#include "runtime/cuda/device/cuda_compute.hpp"

#include "core/error.hpp"
#include "runtime/cuda/device/elements.hpp"
#include "runtime/cuda/limits.hpp"
#include "runtime/cuda/model_index.hpp"
#include "runtime/cuda/split_kv.hpp"
#include "runtime/host/verbs.hpp"

namespace foretoken::runtime::cuda {
namespace {

AttentionShape shape_of(const plan::AttentionOp& op) {
  return {op.sequences, op.context, op.heads, op.kv_heads, op.head_dim};
}

AttentionShape attention_of(const plan::Role& role) {
  for (const plan::Op& op : role.ops)
    if (const auto* shape = std::get_if<plan::AttentionOp>(&op.detail)) return shape_of(*shape);
  return {};
}

}  // namespace

CudaCompute::CudaCompute(const plan::Plan& plan, RankId rank, const RowTables& tables, const DeviceLayout& layout,
                         std::int64_t multiprocessors)
    : plan_(plan),
      rank_(rank),
      role_(plan.program.role_of(rank)),
      tables_(tables),
      layout_(layout),
      multiprocessors_(multiprocessors),
      dtype_(element_type(plan)),
      memory_(static_cast<std::size_t>(layout.bytes)),
      indices_(plan, rank, tables),
      index_memory_(indices_.all()),
      attention_(attention_of(role_)) {
  const host::RopeAngles angles = host::rope_angles(plan.scenario.model.head_dim, plan.scenario.workload.context);
  cos_ = DeviceArray<float>(std::span<const float>(angles.cos));
  sin_ = DeviceArray<float>(std::span<const float>(angles.sin));
  draw();
}

std::byte* CudaCompute::data(TensorId tensor) const { return at(layout_.tensors[tensor.index()]); }

std::vector<float> CudaCompute::read(TensorId tensor) const {
  const DevicePlace& place = layout_.tensors[tensor.index()];
  std::vector<std::byte> bytes(static_cast<std::size_t>(place.bytes));
  check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  check_cuda(cudaMemcpy(bytes.data(), at(place), bytes.size(), cudaMemcpyDeviceToHost), "cudaMemcpy");
  return to_floats(role_.tensors[tensor.index()].dtype, bytes);
}

// On the device's default stream; what follows waits for it.
void CudaCompute::draw() {
  check_cuda(cudaMemset(memory_.data(), 0, memory_.size()), "cudaMemset");
  std::vector<DeviceArray<std::int32_t>> matrices;  // until all is drawn
  for (std::size_t t = 0; t < role_.tensors.size(); ++t) {
    const plan::Tensor& tensor = role_.tensors[t];
    if (tensor.kind != plan::TensorKind::weight) continue;
    const WeightIndex index = weight_index(plan_, tensor, rank_);
    matrices.emplace_back(std::span<const std::int32_t>(index.matrices));
    fill_weight({nullptr, tensor.dtype}, tensor.stack * index.part.rows * index.part.cols, index.part,
                matrices.back().data(), index.draw, data(TensorId(t)));
  }
  for (const plan::Op& op : role_.ops) {
    for (const TensorId output : op.outputs) {
      const plan::Tensor& tensor = role_.tensors[output.index()];
      if (tensor.kind != plan::TensorKind::kv_cache) continue;
      fill_kv_cache({nullptr, tensor.dtype}, tensor.rows.count * tensor.cols,
                    kv_index(plan_, tensor, op.micro_batch, rank_), data(output));
    }
  }
  check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
}

void CudaCompute::queue(OpId id, std::int64_t routed_step, std::size_t stream_index, cudaStream_t stream) {
  const plan::Op& op = role_.ops[id.index()];
  const Queue queue{stream, dtype_};
  const DevicePlace& room = layout_.gemm_workspace[stream_index];
  const GemmWorkspace workspace{at(room), static_cast<std::size_t>(room.bytes)};
  if (const auto* rowwise = std::get_if<plan::RowwiseOp>(&op.detail)) {
    queue_rowwise(op, *rowwise, routed_step, stream);
  } else if (const auto* product = std::get_if<plan::GemmOp>(&op.detail)) {
    gemm_.run(queue, workspace, {tables_.rows(product->rows, routed_step), product->n, product->k}, in(op, 0),
              in(op, 1), out(op, 0));
  } else if (const auto* grouped = std::get_if<plan::GroupedGemmOp>(&op.detail)) {
    const HostedRows& hosted =
        tables_.hosted(routed_step, grouped->rows.layer, grouped->rows.micro_batch, grouped->rows.chunk);
    gemm_.run_grouped(queue, workspace, hosted.rows_of_expert, grouped->n, grouped->k, in(op, 0), in(op, 1),
                      out(op, 0));
  } else if (const auto* a = std::get_if<plan::AttentionOp>(&op.detail)) {
    const std::int64_t splits =
        kv_splits(attention_blocks(a->sequences, a->heads, a->kv_heads), a->context, multiprocessors_);
    decode_attention(queue, shape_of(*a), splits, in(op, 0), in(op, 1), out(op, 0),
                     reinterpret_cast<float*>(at(layout_.attention)));
  } else if (const auto* router = std::get_if<plan::RouteOp>(&op.detail)) {
    auto* const logits = reinterpret_cast<float*>(at(layout_.logits));
    GemmShape shape{router->rows, router->experts, router->hidden};
    shape.fp32_out = true;
    gemm_.run(queue, workspace, shape, in(op, 0), in(op, 1), logits);
    route(stream, router->rows, router->experts, router->top_k, logits,
          index_memory_.data() + indices_.at(routed_step, op).experts, reinterpret_cast<float*>(out(op, 0)));
  } else {
    FORETOKEN_CHECK(false, op.name + " is not a compute op");
  }
}

void CudaCompute::queue_rowwise(const plan::Op& op, const plan::RowwiseOp& shape, std::int64_t routed_step,
                                cudaStream_t stream) {
  const Queue queue{stream, dtype_};
  const std::int64_t rows = tables_.rows(shape.rows, routed_step);
  switch (op.kind) {
    case plan::OpKind::input: {
      const std::uint64_t key =
          matrix_key(plan_.scenario.routing.seed, static_cast<std::uint32_t>(routed_step), kMatrixInput);
      fill_input(queue, rows * shape.cols, key, own_sequences(plan_, op.micro_batch, rank_).begin * shape.cols,
                 out(op, 0));
      return;
    }
    case plan::OpKind::norm:
      if (shape.residual)
        residual_norm(queue, rows, shape.cols, in(op, 0), in(op, 1), in(op, 2), out(op, 1), out(op, 0));
      else norm(queue, rows, shape.cols, in(op, 0), in(op, 1), out(op, 0));
      return;
    case plan::OpKind::rope_kv: {
      AttentionShape attention = attention_;
      attention.sequences = rows;
      rope_kv(queue, attention, cos_.data(), sin_.data(), in(op, 0), out(op, 0), out(op, 1));
      return;
    }
    case plan::OpKind::permute: queue_permute(op, shape, routed_step, stream); return;
    case plan::OpKind::unpermute:
      unpermute(queue, shape.out_rows, shape.cols, plan_.scenario.model.top_k, in(op, 0),
                reinterpret_cast<const float*>(in(op, 1)), index_memory_.data() + indices_.at(routed_step, op).row_of,
                out(op, 0));
      return;
    case plan::OpKind::activation:
      activation(queue, Activation::silu, rows, shape.cols, shape.gated, in(op, 0), out(op, 0));
      return;
    case plan::OpKind::add: add(queue, rows * shape.cols, in(op, 0), in(op, 1), out(op, 0)); return;
    case plan::OpKind::step_end:
      sample(queue, rows, shape.cols, in(op, 0), reinterpret_cast<std::int32_t*>(out(op, 0)));
      return;
    default: break;
  }
  FORETOKEN_CHECK(false, op.name + " is not a row-wise op");
}

void CudaCompute::queue_permute(const plan::Op& op, const plan::RowwiseOp& shape, std::int64_t routed_step,
                                cudaStream_t stream) {
  const Queue queue{stream, dtype_};
  const std::int64_t rows = tables_.rows(shape.rows, routed_step);
  const std::int32_t* const indices = index_memory_.data();
  switch (shape.order) {
    case plan::RowOrder::none:
    case plan::RowOrder::lookup: break;
    case plan::RowOrder::select:
    case plan::RowOrder::pack:
      gather_rows(queue, rows, shape.cols, indices + indices_.at(routed_step, op).selected, in(op, 0), out(op, 0));
      return;
    case plan::RowOrder::sort:
      gather_rows(queue, rows, shape.cols, indices + indices_.sorted(routed_step, op), in(op, 0), out(op, 0));
      return;
    case plan::RowOrder::unsort:
      scatter_rows(queue, rows, shape.cols, indices + indices_.sorted(routed_step, op), in(op, 0), out(op, 0));
      return;
  }
  FORETOKEN_CHECK(false, op.name + " names no order of rows");
}

}  // namespace foretoken::runtime::cuda
