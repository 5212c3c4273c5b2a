#include "runtime/cuda/device_layout.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "core/error.hpp"
#include "runtime/cuda/e4m3.hpp"
#include "runtime/cuda/index_tables.hpp"
#include "runtime/cuda/limits.hpp"
#include "runtime/cuda/node_tables.hpp"
#include "runtime/cuda/split_kv.hpp"
#include "runtime/step_order.hpp"

namespace foretoken::runtime::cuda {

Slots message_slots(const plan::Plan& plan, const plan::Op& op) {
  if (op.kind != plan::OpKind::dispatch && op.kind != plan::OpKind::combine) return {};
  const auto& detail = std::get<plan::ExchangeOp>(op.detail);
  const plan::Communication& communication = plan.program.communications[detail.communication.index()];
  if (communication.slots == 0) return {};
  const std::int64_t header = op.kind == plan::OpKind::dispatch ? communication.header_rows : 0;
  return {plan.scenario.deployment.ep, header + communication.slots, header};
}

DeviceLayout device_layout(const plan::Plan& plan, RankId rank, const RowTables& tables, std::int64_t multiprocessors,
                           ExpertProducts experts) {
  const plan::Role& role = plan.program.role_of(rank);
  DeviceLayout layout;
  const auto place = [&](std::int64_t bytes) {
    const DevicePlace at{layout.bytes, bytes};
    layout.bytes += (bytes + kDeviceAlignment - 1) / kDeviceAlignment * kDeviceAlignment;
    return at;
  };
  for (const plan::Tensor& tensor : role.tensors)
    layout.tensors.push_back(
        place(tensor.stack * tables.rows_max(tensor.rows) * tensor.cols * bytes_per_element(tensor.dtype)));
  const StepOrder order = step_order(role);
  for (std::size_t s = 0; s < order.streams.size(); ++s) layout.gemm_workspace.push_back(place(kGemmWorkspaceBytes));
  std::int64_t numbers = IndexTables::count(plan, rank, tables);
  std::int64_t columns = 0;
  std::int64_t logits = 0;
  std::int64_t attention = 0;
  std::int64_t batch_in = 0;
  std::int64_t batch_out = 0;
  std::vector<std::int64_t> leaving(order.streams.size(), 0);
  std::vector<std::int64_t> coming(order.streams.size(), 0);
  std::vector<std::int64_t> quantised(order.streams.size(), 0);
  std::vector<std::int64_t> scales(order.streams.size(), 0);
  for (const QueuedOp& queued : order.ops) {
    const plan::Op& op = role.ops[queued.op.index()];
    if (const auto* exchange = std::get_if<plan::ExchangeOp>(&op.detail)) {
      const Slots slots = message_slots(plan, op);
      const NodeStaging staged = node_staging_max(plan, rank, op);
      const std::int64_t row_bytes = exchange->cols * bytes_per_element(op.dtype);
      const auto most = [&](std::int64_t& bytes, std::int64_t rows) { bytes = std::max(bytes, rows * row_bytes); };
      most(leaving[queued.stream], slots.places * slots.block_rows + staged.leaving);
      most(coming[queued.stream], slots.places * slots.block_rows + staged.coming);
      numbers += staged.numbers;
    }
    if (const std::optional<Fp8Product> product = fp8_product(op)) {
      const std::int64_t rows = tables.rows_max(product->rows);
      columns = std::max(columns, product->n);
      quantised[queued.stream] = std::max(quantised[queued.stream], rows * product->k);
      scales[queued.stream] = std::max(scales[queued.stream], scales_max(product->experts, rows) * 4);
    }
    if (const auto* product = std::get_if<plan::GroupedGemmOp>(&op.detail);
        product != nullptr && experts == ExpertProducts::batch) {
      const std::int64_t rows = product->experts * rows_of_expert_max(plan, rank, tables, product->rows);
      const plan::Tensor& out = role.tensors[op.outputs.front().index()];
      batch_in = std::max(batch_in, rows * product->k * bytes_per_element(out.dtype));
      batch_out = std::max(batch_out, rows * product->n * bytes_per_element(out.dtype));
    }
    if (const auto* route = std::get_if<plan::RouteOp>(&op.detail))
      logits = std::max(logits, route->rows * route->experts * 4);
    if (const auto* shape = std::get_if<plan::AttentionOp>(&op.detail))
      attention = std::max(attention, attention_room(shape->sequences, shape->heads, shape->kv_heads, shape->head_dim,
                                                     shape->context, multiprocessors));
  }
  layout.logits = place(logits);
  layout.attention = place(attention);
  for (std::size_t s = 0; s < order.streams.size(); ++s) {
    layout.leaving.push_back(place(leaving[s]));
    layout.coming.push_back(place(coming[s]));
    layout.quantised.push_back(place(quantised[s]));
    layout.scales.push_back(place(scales[s]));
  }
  layout.batch_in = place(batch_in);
  layout.batch_out = place(batch_out);
  layout.table_bytes = (numbers + columns) * 4;  // both of 4 bytes
  return layout;
}

void require_device_memory(const std::string& where, const DeviceLayout& layout, std::int64_t channels,
                           DeviceMemory memory) {
  const std::int64_t more = channels * kChannelBytes + kOtherBytes;
  if (layout.bytes + layout.table_bytes + more <= memory.free) return;
  throw Error(
      ErrorCode::infeasible,
      fmt::format("{}: {:.1f} GB for tensors and work space, {:.1f} GB for tables of rows and about {:.1f} GB for NCCL "
                  "and graphs are needed, and {:.1f} GB of {:.1f} GB are free; end what else uses the GPU, or lower "
                  "workload.sequences, workload.context, routing.routed_steps or the model",
                  where, static_cast<double>(layout.bytes) / 1e9, static_cast<double>(layout.table_bytes) / 1e9,
                  static_cast<double>(more) / 1e9, static_cast<double>(memory.free) / 1e9,
                  static_cast<double>(memory.total) / 1e9));
}

}  // namespace foretoken::runtime::cuda
