// Where a rank's tensors and work space lie in its device's memory: one allocation, worked out beforehand.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan/plan.hpp"
#include "runtime/cuda/expert_products.hpp"
#include "runtime/cuda/row_order.hpp"
#include "runtime/row_tables.hpp"

namespace foretoken::runtime::cuda {

/// A piece of device memory; offsets are multiples of kDeviceAlignment.
struct DevicePlace {
  std::int64_t offset = 0;
  std::int64_t bytes = 0;
};

/// What cudaMalloc aligns to; vector loads, cuBLASLt and NCCL want 16 to 128 bytes.
inline constexpr std::int64_t kDeviceAlignment = 256;

/// cuBLASLt's work space, per stream of the plan: what NVIDIA recommends for Hopper.
inline constexpr std::int64_t kGemmWorkspaceBytes = std::int64_t{32} << 20;

struct DeviceLayout {
  std::vector<DevicePlace> tensors;         // [tensor]
  std::vector<DevicePlace> gemm_workspace;  // [stream, in the order of StepOrder]
  DevicePlace logits;                       // fp32, of the router
  DevicePlace attention;                    // partial softmaxes of split KV
  // Messages with slots, or of tokens that go once per node, as they leave and as they come: [stream], empty where it
  // has none.
  std::vector<DevicePlace> leaving;
  std::vector<DevicePlace> coming;
  // Rows that are quantised for products of weights in fp8, and their scales: [stream], empty where it has none.
  std::vector<DevicePlace> quantised;
  std::vector<DevicePlace> scales;
  // Experts' rows and results in slots, where their products are a batch.
  DevicePlace batch_in;
  DevicePlace batch_out;
  std::int64_t bytes = 0;
  // What is allocated beside it: IndexTables, NodeTables, and scales of columns of weights in fp8.
  std::int64_t table_bytes = 0;
};

/// Messages of a dispatch or combine by capacity: a block from or to every rank of the group. No places for others.
Slots message_slots(const plan::Plan& plan, const plan::Op& op);

/// One buffer per tensor for all steps, as the host keeps them: see plan::Tensor.
/// @param multiprocessors of the device, which decide how far KV caches are split
/// @param experts         how their products are made
DeviceLayout device_layout(const plan::Plan& plan, RankId rank, const RowTables& tables, std::int64_t multiprocessors,
                           ExpertProducts experts);

/// Memory of a device, as its driver tells.
struct DeviceMemory {
  std::int64_t free = 0;
  std::int64_t total = 0;
};

/// What NCCL allocates per communicator (FIFOs of its channels, assumed from NCCL's defaults of 16 channels with 4 MiB
/// each and both directions) and what graphs take, assumed; and small things like angles of positions.
inline constexpr std::int64_t kChannelBytes = std::int64_t{128} << 20;
inline constexpr std::int64_t kOtherBytes = std::int64_t{256} << 20;

/// @param where "rank 3 on node7, GPU 3 (NVIDIA H100 80GB HBM3)"
/// @throws Error{infeasible} if tensors, work space, tables and what NCCL and graphs take are more than is free
void require_device_memory(const std::string& where, const DeviceLayout& layout, std::int64_t channels,
                           DeviceMemory memory);

}  // namespace foretoken::runtime::cuda
