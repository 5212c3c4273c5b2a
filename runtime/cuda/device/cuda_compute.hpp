// The compute side of one rank on a GPU: its tensors in device memory, and its compute ops as kernels on streams.
//
// The counterpart of host::HostCompute. Where that carries an op out, this queues it: nothing waits, nothing is
// allocated, so that a step can be captured in a graph.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "plan/plan.hpp"
#include "runtime/cuda/device/device_array.hpp"
#include "runtime/cuda/device/gemm.hpp"
#include "runtime/cuda/device/kernels.hpp"
#include "runtime/cuda/device/once_per_node.hpp"
#include "runtime/cuda/device/routed_rows.hpp"
#include "runtime/cuda/device_layout.hpp"
#include "runtime/cuda/expert_products.hpp"
#include "runtime/cuda/limits.hpp"
#include "runtime/row_tables.hpp"

namespace foretoken::runtime::cuda {

/// require_fp8_support() of the current device and the cuBLASLt that is found. Nothing but for weights in fp8.
void require_fp8_on_device(const plan::Plan& plan);

class CudaCompute {
 public:
  /// Allocates everything on the current device and draws weights and KV caches there. Keeps references to plan and
  /// tables. @param layout  as device_layout() says for this device and `experts`; its memory must be free
  /// @throws Error as require_fp8_on_device() does
  CudaCompute(const plan::Plan& plan, RankId rank, RowTables& tables, const DeviceLayout& layout,
              std::int64_t multiprocessors, ExpertProducts experts);

  /// Queues a compute op (not a communication).
  /// @param stream_index  the stream's place in StepOrder: each has a work space of its own
  void queue(OpId op, std::int64_t routed_step, std::size_t stream_index, cudaStream_t stream);

  /// What the offsets of a communication's calls are counted from.
  struct Ends {
    const std::byte* from = nullptr;
    std::byte* to = nullptr;
  };
  /// Queues what a communication does on this rank before its calls, where its messages have slots or its tokens go
  /// once per node.
  Ends before_calls(const plan::Op& op, std::int64_t routed_step, std::size_t stream_index, cudaStream_t stream);
  /// … between the two groups of calls of tokens that go once per node …
  void between_calls(const plan::Op& op, std::int64_t routed_step, std::size_t stream_index, cudaStream_t stream);
  /// … and behind them: takes rows out of slots, uses and adds up those that went once per node, or takes counts that
  /// were exchanged.
  void after_calls(const plan::Op& op, std::int64_t routed_step, std::size_t stream_index, cudaStream_t stream);

  [[nodiscard]] RoutedRows& routed_rows() { return rows_; }
  [[nodiscard]] std::byte* data(TensorId tensor) const;
  /// The tensor's elements as fp32. Waits for the device.
  [[nodiscard]] std::vector<float> read(TensorId tensor) const;
  [[nodiscard]] std::string blas_version() const { return gemm_.version(); }

 private:
  void draw();
  void queue_fp8(const plan::Op& op, const Fp8Product& product, std::int64_t routed_step, std::size_t stream_index,
                 Queue queue, GemmWorkspace workspace);
  [[nodiscard]] bool goes_once_per_node(const plan::Op& op) const;
  [[nodiscard]] NodeBuffers node_buffers(const plan::Op& op, std::size_t stream_index) const;
  void queue_rowwise(const plan::Op& op, const plan::RowwiseOp& shape, std::int64_t routed_step, cudaStream_t stream);
  void queue_permute(const plan::Op& op, const plan::RowwiseOp& shape, std::int64_t routed_step, cudaStream_t stream);
  void queue_experts(const plan::Op& op, const plan::GroupedGemmOp& shape, std::int64_t routed_step, Queue queue,
                     GemmWorkspace workspace);
  [[nodiscard]] std::byte* in(const plan::Op& op, std::size_t i) const { return data(op.inputs[i]); }
  [[nodiscard]] std::byte* out(const plan::Op& op, std::size_t i) const { return data(op.outputs[i]); }
  [[nodiscard]] std::byte* at(const DevicePlace& place) const { return memory_.data() + place.offset; }

  const plan::Plan& plan_;
  RankId rank_;
  const plan::Role& role_;
  DeviceLayout layout_;
  std::int64_t multiprocessors_;
  DType dtype_;
  DeviceArray<std::byte> memory_;
  ExpertProducts experts_;
  RoutedRows rows_;
  OncePerNode once_per_node_;
  DeviceArray<float> cos_;
  DeviceArray<float> sin_;
  DeviceArray<float> ones_;               // scales of columns of weights in fp8
  std::map<TensorId, float> fp8_scales_;  // of weights in fp8
  AttentionShape attention_;
  Gemm gemm_;
};

}  // namespace foretoken::runtime::cuda
