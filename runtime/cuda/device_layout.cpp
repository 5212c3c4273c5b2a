#include "runtime/cuda/device_layout.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"
#include "runtime/cuda/split_kv.hpp"
#include "runtime/step_order.hpp"

namespace foretoken::runtime::cuda {

DeviceLayout device_layout(const plan::Plan& plan, RankId rank, const RowTables& tables, std::int64_t multiprocessors) {
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
  for (std::size_t s = 0; s < step_order(role).streams.size(); ++s)
    layout.gemm_workspace.push_back(place(kGemmWorkspaceBytes));
  std::int64_t logits = 0;
  std::int64_t attention = 0;
  for (const plan::Op& op : role.ops) {
    if (const auto* route = std::get_if<plan::RouteOp>(&op.detail))
      logits = std::max(logits, route->rows * route->experts * 4);
    if (const auto* shape = std::get_if<plan::AttentionOp>(&op.detail))
      attention = std::max(attention, attention_room(shape->sequences, shape->heads, shape->kv_heads, shape->head_dim,
                                                     shape->context, multiprocessors));
  }
  layout.logits = place(logits);
  layout.attention = place(attention);
  return layout;
}

void require_device_memory(const std::string& where, const DeviceLayout& layout, std::int64_t channels,
                           DeviceMemory memory) {
  const std::int64_t more = channels * kChannelBytes + kOtherBytes;
  if (layout.bytes + more <= memory.free) return;
  throw Error(
      ErrorCode::infeasible,
      fmt::format("{}: {:.1f} GB for tensors and work space and about {:.1f} GB for NCCL and graphs are needed, "
                  "and {:.1f} GB of {:.1f} GB are free; end what else uses the GPU, or lower "
                  "workload.sequences, workload.context or the model",
                  where, static_cast<double>(layout.bytes) / 1e9, static_cast<double>(more) / 1e9,
                  static_cast<double>(memory.free) / 1e9, static_cast<double>(memory.total) / 1e9));
}

}  // namespace foretoken::runtime::cuda
