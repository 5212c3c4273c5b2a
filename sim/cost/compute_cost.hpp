// The time of every compute op on one GPU. One estimator per file stands behind it: start at the op you care about.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/calibration_compute.hpp"
#include "core/device_spec.hpp"
#include "core/dtype.hpp"
#include "core/packing.hpp"
#include "sim/cost/attention_cost.hpp"
#include "sim/cost/estimate.hpp"
#include "sim/cost/gemm_cost.hpp"

namespace foretoken::sim {

class ComputeCost {
 public:
  /// @param framework whose kernels to use; empty for the calibration's default
  /// @throws Error{invalid_input} if the calibration has no bf16 GEMM fit of that framework
  ///
  /// A dtype without a fit of its own borrows bf16's efficiency: fp16 runs at the same tensor-core rate and counts as
  /// fitted; any other is `assumed`, from the device's peak of that dtype.
  ComputeCost(const ComputeCalibration& calibration, const DeviceSpec& device, std::string_view framework = {});

  /// C[m,n] = A[m,k] B[k,n]. @throws Error{invalid_input} if the device has no peak for dtype
  [[nodiscard]] Estimate gemm(DType dtype, std::int64_t m, std::int64_t n, std::int64_t k) const;
  /// See grouped_gemm_cost.hpp. @param packing of the weights @throws as gemm
  [[nodiscard]] Estimate grouped_gemm(DType dtype, std::span<const std::int64_t> rows_per_expert, std::int64_t n,
                                      std::int64_t k, Packing packing = Packing::none) const;
  /// One new token per sequence. @throws Error{invalid_input} if no fit covers the KV dtype
  [[nodiscard]] Estimate attention_decode(const AttentionShape& shape) const;
  /// Causal. @throws as attention_decode
  [[nodiscard]] Estimate attention_prefill(const AttentionShape& shape) const;
  /// What the shortest GEMM of the framework takes longer in this dtype than in bf16, >= 0: a sweep of narrow operands
  /// that is timed with quantising them has those kernels in it, in front of every GEMM. 0 without a fit of its own.
  [[nodiscard]] Seconds quantising(DType dtype) const;
  /// Element-wise kernels. @param traffic bytes read and written together
  [[nodiscard]] Estimate memory_bound(Bytes traffic) const;

 private:
  // A fitted model with the best provenance that its answers can have.
  template <class Cost>
  struct Model {
    Cost cost;
    Provenance at_best;
  };
  template <class Cost>
  using PerDType = std::array<std::optional<Model<Cost>>, kDTypeNames.size()>;

  [[nodiscard]] const Model<GemmCost>& gemm_model(DType dtype) const;
  [[nodiscard]] Estimate attention(const PerDType<AttentionCost>& models, const AttentionShape& shape) const;

  std::string framework_;
  std::string device_;
  MemoryFit memory_;
  PerDType<GemmCost> gemm_;
  std::array<Seconds, kDTypeNames.size()> quantising_{};
  PerDType<AttentionCost> decode_;   // by dtype of the KV cache
  PerDType<AttentionCost> prefill_;  // by dtype of the KV cache
};

}  // namespace foretoken::sim
