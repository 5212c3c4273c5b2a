#include "runtime/cuda/device/cuda_compute.hpp"

#include <algorithm>
#include <optional>

#include "core/error.hpp"
#include "plan/program/node_rows.hpp"
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

void require_fp8_on_device(const plan::Plan& plan) {
  if (plan.scenario.model.weight_dtype != DType::fp8) return;
  int device = 0;
  int major = 0;
  int minor = 0;
  check_cuda(cudaGetDevice(&device), "cudaGetDevice");
  check_cuda(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "cudaDeviceGetAttribute");
  check_cuda(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), "cudaDeviceGetAttribute");
  require_fp8_support(plan, {major, minor, Gemm().version_number()});
}

CudaCompute::CudaCompute(const plan::Plan& plan, RankId rank, RowTables& tables, const DeviceLayout& layout,
                         std::int64_t multiprocessors, ExpertProducts experts)
    : plan_(plan),
      rank_(rank),
      role_(plan.program.role_of(rank)),
      layout_(layout),
      multiprocessors_(multiprocessors),
      dtype_(element_type(plan)),
      memory_(static_cast<std::size_t>(layout.bytes)),
      experts_(experts),
      rows_(plan, rank, tables),
      once_per_node_(plan, rank),
      attention_(attention_of(role_)) {
  require_fp8_on_device(plan);
  const host::RopeAngles angles = host::rope_angles(plan.scenario.model.head_dim, plan.scenario.workload.context);
  cos_ = DeviceArray<float>(std::span<const float>(angles.cos));
  sin_ = DeviceArray<float>(std::span<const float>(angles.sin));
  std::int64_t columns = 0;
  for (const plan::Op& op : role_.ops)
    if (const std::optional<Fp8Product> product = fp8_product(op)) columns = std::max(columns, product->n);
  ones_ = DeviceArray<float>(std::span<const float>(std::vector<float>(static_cast<std::size_t>(columns), 1)));
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
    const std::int64_t count = tensor.stack * index.part.rows * index.part.cols;
    if (tensor.dtype == DType::fp8) {
      FORETOKEN_CHECK(index.draw.offset == 0, tensor.name + " is more than its integers times a scale");
      fp8_scales_[TensorId(t)] = index.draw.scale;
      fill_e4m3_weight(nullptr, count, index.part, matrices.back().data(), index.draw.key,
                       reinterpret_cast<std::uint8_t*>(data(TensorId(t))));
      continue;
    }
    fill_weight({nullptr, tensor.dtype}, count, index.part, matrices.back().data(), index.draw, data(TensorId(t)));
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
  } else if (const std::optional<Fp8Product> fp8 = fp8_product(op)) {
    queue_fp8(op, *fp8, routed_step, stream_index, queue, workspace);
  } else if (const auto* product = std::get_if<plan::GemmOp>(&op.detail)) {
    gemm_.run(queue, workspace, {product->rows.count, product->n, product->k}, in(op, 0), in(op, 1), out(op, 0));
  } else if (const auto* grouped = std::get_if<plan::GroupedGemmOp>(&op.detail)) {
    queue_experts(op, *grouped, routed_step, queue, workspace);
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
    auto* const routes = reinterpret_cast<float*>(out(op, 0));
    const std::int32_t* const chosen = rows_.chosen(op, routed_step);
    route(stream, router->rows, router->experts, router->top_k, logits, chosen, routes);
    if (chosen == nullptr) rows_.decided(op, routed_step, routes, stream);
  } else {
    FORETOKEN_CHECK(false, op.name + " is not a compute op");
  }
}

// The plan has no op that quantises: it is a part of the product's.
void CudaCompute::queue_fp8(const plan::Op& op, const Fp8Product& product, std::int64_t routed_step,
                            std::size_t stream_index, Queue queue, GemmWorkspace workspace) {
  const bool grouped = op.kind == plan::OpKind::grouped_gemm;
  const std::int64_t rows = rows_.rows(op, product.rows, routed_step).most;
  auto* const quantised = reinterpret_cast<std::uint8_t*>(at(layout_.quantised[stream_index]));
  auto* const scales = reinterpret_cast<float*>(at(layout_.scales[stream_index]));
  quantise_rows(queue, rows, product.k, product.experts, grouped ? rows_.expert_rows(op, routed_step) : nullptr,
                in(op, 0), quantised, scales);
  const Gemm::Fp8 factors{quantised, scales, reinterpret_cast<const std::uint8_t*>(in(op, 1)), ones_.data(),
                          fp8_scales_.at(op.inputs[1])};
  if (grouped)
    gemm_.run_grouped_fp8(queue, workspace, rows_.rows_of_each(product.rows, routed_step), product.n, product.k,
                          factors, out(op, 0));
  else gemm_.run_fp8(queue, workspace, rows, product.n, product.k, factors, out(op, 0));
}

// In a batch every expert has as many rows as the one with most, and what stands in the rows behind its own is of no
// concern: rows of a product do not depend on one another.
void CudaCompute::queue_experts(const plan::Op& op, const plan::GroupedGemmOp& shape, std::int64_t routed_step,
                                Queue queue, GemmWorkspace workspace) {
  if (experts_ == ExpertProducts::each) {
    gemm_.run_grouped(queue, workspace, rows_.rows_of_each(shape.rows, routed_step), shape.n, shape.k, in(op, 0),
                      in(op, 1), out(op, 0));
    return;
  }
  const Rows rows = rows_.rows(op, shape.rows, routed_step);
  const Slots slots{shape.experts, rows_.rows_of_expert(shape.rows, routed_step), 0};
  const std::int32_t* const first_rows = rows_.expert_rows(op, routed_step);
  spread_rows(queue, rows, shape.k, slots, first_rows, in(op, 0), at(layout_.batch_in));
  gemm_.run(queue, workspace, {slots.block_rows, shape.n, shape.k, shape.experts}, at(layout_.batch_in), in(op, 1),
            at(layout_.batch_out));
  collect_rows(queue, rows, shape.n, slots, first_rows, at(layout_.batch_out), out(op, 0));
}

bool CudaCompute::goes_once_per_node(const plan::Op& op) const {
  return (op.kind == plan::OpKind::dispatch || op.kind == plan::OpKind::combine) && plan::sends_once_per_node(plan_);
}

NodeBuffers CudaCompute::node_buffers(const plan::Op& op, std::size_t stream_index) const {
  NodeBuffers buffers;
  if (!op.inputs.empty()) {
    buffers.in = in(op, 0);
    buffers.in_weights = reinterpret_cast<const float*>(in(op, 1));
  }
  if (!op.outputs.empty()) buffers.out = out(op, 0);
  if (op.outputs.size() > 1) buffers.out_weights = reinterpret_cast<float*>(out(op, 1));
  buffers.leaving = at(layout_.leaving[stream_index]);
  buffers.coming = at(layout_.coming[stream_index]);
  return buffers;
}

CudaCompute::Ends CudaCompute::before_calls(const plan::Op& op, std::int64_t routed_step, std::size_t stream_index,
                                            cudaStream_t stream) {
  if (goes_once_per_node(op)) {
    const NodeBuffers buffers = node_buffers(op, stream_index);
    once_per_node_.before(op, routed_step, {stream, dtype_}, buffers);
    return {buffers.leaving, buffers.coming};
  }
  const std::byte* const from = op.inputs.empty() ? nullptr : in(op, 0);
  const Slots slots = message_slots(plan_, op);
  if (slots.places == 0) return {from, op.outputs.empty() ? nullptr : out(op, 0)};
  std::byte* const leaving = at(layout_.leaving[stream_index]);
  rows_.fill(op, routed_step, slots, {stream, dtype_}, from, leaving);
  return {leaving, at(layout_.coming[stream_index])};
}

void CudaCompute::between_calls(const plan::Op& op, std::int64_t routed_step, std::size_t stream_index,
                                cudaStream_t stream) {
  once_per_node_.between(op, routed_step, {stream, dtype_}, node_buffers(op, stream_index));
}

void CudaCompute::after_calls(const plan::Op& op, std::int64_t routed_step, std::size_t stream_index,
                              cudaStream_t stream) {
  if (goes_once_per_node(op))
    return once_per_node_.after(op, routed_step, {stream, dtype_}, node_buffers(op, stream_index));
  std::byte* const to = op.outputs.empty() ? nullptr : out(op, 0);
  if (op.kind == plan::OpKind::exchange_counts) rows_.take_counts(op, routed_step, to, stream);
  if (const Slots slots = message_slots(plan_, op); slots.places > 0)
    rows_.empty(op, routed_step, slots, {stream, dtype_}, at(layout_.coming[stream_index]), to);
}

void CudaCompute::queue_rowwise(const plan::Op& op, const plan::RowwiseOp& shape, std::int64_t routed_step,
                                cudaStream_t stream) {
  const Queue queue{stream, dtype_};
  const Rows routed = rows_.rows(op, shape.rows, routed_step);
  const std::int64_t rows = routed.most;
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
                reinterpret_cast<const float*>(in(op, 1)), rows_.row_of(op, routed_step), out(op, 0));
      return;
    case plan::OpKind::activation:
      activation(queue, Activation::silu, routed, shape.cols, shape.gated, in(op, 0), out(op, 0));
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
  const Rows rows = rows_.rows(op, shape.rows, routed_step);
  switch (shape.order) {
    case plan::RowOrder::none:
    case plan::RowOrder::lookup: break;
    case plan::RowOrder::select:
    case plan::RowOrder::pack:
      gather_rows(queue, rows, shape.cols, rows_.selected(op, routed_step), in(op, 0), out(op, 0));
      if (op.outputs.size() > 1)  // its counts, to be exchanged
        check_cuda(cudaMemcpyAsync(out(op, 1), rows_.counts(op, routed_step),
                                   static_cast<std::size_t>(layout_.tensors[op.outputs[1].index()].bytes),
                                   cudaMemcpyDeviceToDevice, stream),
                   "cudaMemcpyAsync");
      return;
    case plan::RowOrder::sort:
      gather_rows(queue, rows, shape.cols, rows_.sorted(op, routed_step), in(op, 0), out(op, 0));
      return;
    case plan::RowOrder::unsort:
      scatter_rows(queue, rows, shape.cols, rows_.sorted(op, routed_step), in(op, 0), out(op, 0));
      return;
  }
  FORETOKEN_CHECK(false, op.name + " names no order of rows");
}

}  // namespace foretoken::runtime::cuda
