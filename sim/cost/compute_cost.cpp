#include "sim/cost/compute_cost.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"
#include "sim/cost/grouped_gemm_cost.hpp"
#include "sim/cost/memory_cost.hpp"

namespace foretoken::sim {

namespace {

std::size_t index(DType dtype) { return static_cast<std::size_t>(dtype); }

const GemmFit* find_gemm(const ComputeCalibration& calibration, std::string_view framework, DType dtype) {
  for (const GemmFit& fit : calibration.gemm)
    if (fit.framework == framework && fit.dtype == dtype) return &fit;
  return nullptr;
}

const AttentionFit* find_attention(const std::vector<AttentionFit>& fits, std::string_view framework, DType kv_dtype) {
  for (const AttentionFit& fit : fits)
    if (fit.framework == framework && fit.kv_dtype == kv_dtype) return &fit;
  return nullptr;
}

struct Borrowed {
  DType from;
  Provenance at_best;
};

// fp16 and bf16 have one tensor-core rate and one size, and no sweep that we know of tells them apart.
Borrowed lender(DType dtype) {
  return {DType::bf16, dtype == DType::fp16 || dtype == DType::bf16 ? Provenance::interpolated : Provenance::assumed};
}

// What takes no time rests on nothing.
Estimate at_best(Estimate found, Provenance best) {
  if (!(found.time > Seconds(0))) return found;
  found.provenance = worst(found.provenance, best);
  // A fit's residuals are of what it was fitted to.
  if (best > Provenance::interpolated) found.error_p90.reset();
  return found;
}

}  // namespace

ComputeCost::ComputeCost(const ComputeCalibration& calibration, const DeviceSpec& device, std::string_view framework)
    : framework_(framework.empty() ? calibration.default_framework : std::string(framework)),
      device_(device.name),
      memory_(calibration.memory) {
  if (find_gemm(calibration, framework_, DType::bf16) == nullptr) {
    std::string known;
    for (const GemmFit& fit : calibration.gemm)
      if (fit.dtype == DType::bf16) known += (known.empty() ? "" : ", ") + fit.framework;
    throw input_error("", "", fmt::format("the calibration has no kernels of \"{}\"", framework_),
                      fmt::format("choose one of: {}", known));
  }
  // Attention multiplies in the dtype of the activations, for which the published sweeps have bf16 only.
  const FlopsPerSecond half = device.peak(DType::bf16).value_or(FlopsPerSecond(0));
  FORETOKEN_CHECK(half > FlopsPerSecond(0), "every device states its bf16 peak");
  for (const auto& entry : kDTypeNames) {
    const DType dtype = entry.first;
    const Borrowed other = lender(dtype);
    if (const auto peak = device.peak(dtype); peak && dtype != DType::int32) {
      const GemmFit* own = find_gemm(calibration, framework_, dtype);
      const GemmFit* fit = own != nullptr ? own : find_gemm(calibration, framework_, other.from);
      if (own != nullptr && bytes_per_element(dtype) < bytes_per_element(DType::bf16))
        quantising_[index(dtype)] =
            std::max(Seconds(0), own->floor - find_gemm(calibration, framework_, DType::bf16)->floor);
      gemm_[index(dtype)] = {GemmCost(*fit, machine_rates(device, calibration.l2, *peak), bytes_per_element(dtype)),
                             worst(calibration.at_best, own != nullptr ? Provenance::interpolated : other.at_best)};
    }
    const MachineRates rates = machine_rates(device, calibration.l2, half);
    const auto add = [&](AttentionPhase phase, const std::vector<AttentionFit>& fits, PerDType<AttentionCost>& models) {
      const AttentionFit* own = find_attention(fits, framework_, dtype);
      const AttentionFit* fit = own != nullptr ? own : find_attention(fits, framework_, other.from);
      if (fit != nullptr && dtype != DType::int32)
        models[index(dtype)] = {AttentionCost(phase, *fit, rates),
                                worst(calibration.at_best, own != nullptr ? Provenance::interpolated : other.at_best)};
    };
    add(AttentionPhase::decode, calibration.attention_decode, decode_);
    add(AttentionPhase::prefill, calibration.attention_prefill, prefill_);
  }
}

const ComputeCost::Model<GemmCost>& ComputeCost::gemm_model(DType dtype) const {
  const auto& model = gemm_[index(dtype)];
  if (!model)
    throw input_error("", "", fmt::format("device {} has no peak for {} GEMMs", device_, name_of(dtype)),
                      "use another dtype, or add the peak to the device file");
  return *model;
}

Estimate ComputeCost::gemm(DType dtype, std::int64_t m, std::int64_t n, std::int64_t k) const {
  const Model<GemmCost>& model = gemm_model(dtype);
  return at_best(model.cost(m, n, k), model.at_best);
}

Estimate ComputeCost::grouped_gemm(DType dtype, std::span<const std::int64_t> rows_per_expert, std::int64_t n,
                                   std::int64_t k, Packing packing) const {
  const Model<GemmCost>& model = gemm_model(dtype);
  const double weight_bytes = packing == Packing::none ? 0 : bits_per_weight(packing, dtype) / 8;
  return at_best(sim::grouped_gemm(model.cost, rows_per_expert, n, k, weight_bytes), model.at_best);
}

Estimate ComputeCost::attention(const PerDType<AttentionCost>& models, const AttentionShape& shape) const {
  const auto& model = models[index(shape.kv_dtype)];
  if (!model)
    throw input_error(
        "", "", fmt::format("the calibration has no {} attention with {} KV", framework_, name_of(shape.kv_dtype)),
        "choose another framework or KV dtype");
  // The math was measured in bf16; fp32 or fp8 math is a guess.
  return at_best(model->cost(shape), worst(model->at_best, lender(shape.dtype).at_best));
}

Estimate ComputeCost::attention_decode(const AttentionShape& shape) const { return attention(decode_, shape); }

Estimate ComputeCost::attention_prefill(const AttentionShape& shape) const { return attention(prefill_, shape); }

Seconds ComputeCost::quantising(DType dtype) const { return quantising_[index(dtype)]; }

Estimate ComputeCost::memory_bound(Bytes traffic) const { return sim::memory_bound(memory_, traffic); }

}  // namespace foretoken::sim
