// The compute side of one rank on the host: its tensors, and its compute ops carried out on them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "plan/plan.hpp"
#include "runtime/executor.hpp"
#include "runtime/host/verbs.hpp"
#include "runtime/row_tables.hpp"

namespace foretoken::runtime::host {

/// Numbers of 4 bytes each, fp32 or int32, aligned to a cache line.
class Buffer {
 public:
  Buffer() = default;
  /// Zeros. @throws Error{infeasible} if the memory is not there
  explicit Buffer(std::int64_t count);
  [[nodiscard]] float* data() const { return data_.get(); }
  [[nodiscard]] std::int64_t count() const { return count_; }
  [[nodiscard]] std::span<std::byte> bytes() const {
    return {reinterpret_cast<std::byte*>(data_.get()), static_cast<std::size_t>(count_) * sizeof(float)};
  }

 private:
  struct Free {
    void operator()(float* data) const;
  };
  std::unique_ptr<float, Free> data_;
  std::int64_t count_ = 0;
};

class HostCompute final : public ComputeSide {
 public:
  /// Allocates one buffer per tensor and fills weights and KV caches. Call it on the thread that will run the rank.
  /// Keeps references to all three. @param tables learns what the model's own router decides
  HostCompute(const plan::Plan& plan, RankId rank, RowTables& tables);

  /// Carries out a compute op (not a communication).
  void run(OpId op, std::int64_t routed_step) override;
  [[nodiscard]] std::span<std::byte> bytes(TensorId tensor) const override { return buffer(tensor).bytes(); }

  [[nodiscard]] const Buffer& buffer(TensorId tensor) const { return buffers_[tensor.index()]; }

 private:
  void fill_tensors();
  void run_rowwise(const plan::Op& op, const plan::RowwiseOp& shape, std::int64_t routed_step);
  void run_route(const plan::Op& op, const plan::RouteOp& shape, std::int64_t routed_step);
  void permute(const plan::Op& op, const plan::RowwiseOp& shape, std::int64_t routed_step);
  [[nodiscard]] float* in(const plan::Op& op, std::size_t i) const { return buffers_[op.inputs[i].index()].data(); }
  [[nodiscard]] float* out(const plan::Op& op, std::size_t i) const { return buffers_[op.outputs[i].index()].data(); }

  const plan::Plan& plan_;
  RankId rank_;
  const plan::Role& role_;
  RowTables& tables_;
  std::vector<Buffer> buffers_;       // [tensor]
  Buffer scratch_;                    // attention scores, router logits
  std::vector<std::int32_t> chosen_;  // by the model's own router
  RopeAngles angles_;
  std::vector<std::vector<float>> inputs_;  // [routed step x micro-batches + micro-batch], drawn beforehand
};

}  // namespace foretoken::runtime::host
