#include "calibrate/fit/compute_fit.hpp"

#include <fmt/format.h>

#include <map>
#include <tuple>
#include <utility>

#include "calibrate/fit/attention_fit.hpp"
#include "calibrate/fit/gemm_fit.hpp"
#include "calibrate/fit/kernel_fit.hpp"
#include "calibrate/fit/moe_check.hpp"
#include "calibrate/import/compute_samples.hpp"
#include "core/error.hpp"
#include "sim/cost/compute_cost.hpp"

namespace foretoken::calibrate {

namespace {

// Of the three that were measured, the most widely used server with a plain bf16 path; any other can be asked for by
// name.
constexpr const char* kDefaultFramework = "vllm";

constexpr const char* kGemm = "aiconfigurator-gemm";
constexpr const char* kDecode = "aiconfigurator-attention-generation";
constexpr const char* kPrefill = "aiconfigurator-attention-context";
constexpr const char* kMoe = "aiconfigurator-moe";
constexpr const char* kCopy = "h100-local-copy";

std::string aiconfigurator(const std::string& table) {
  return fmt::format(
      "github:ai-dynamo/aiconfigurator@095f58a51c, systems/data/h100_sxm/{0}: vllm 0.24.0, sglang 0.5.14, trtllm "
      "1.3.0rc20",
      table);
}

// Sweeps by framework and dtype, in order of name: the file must not depend on the order of rows.
template <class Sample, class Key>
std::map<std::pair<std::string, DType>, std::vector<Sample>> by_kernel(const std::vector<Sample>& samples,
                                                                       Key dtype_of) {
  std::map<std::pair<std::string, DType>, std::vector<Sample>> out;
  for (const Sample& sample : samples) out[{sample.framework, dtype_of(sample)}].push_back(sample);
  return out;
}

FlopsPerSecond peak_of(const DeviceSpec& device, DType dtype) {
  const auto peak = device.peak(dtype);
  if (!peak)
    throw input_error("", "", fmt::format("device {} has no peak for {}", device.name, name_of(dtype)),
                      "add it to the device file, or leave those measurements out");
  return *peak;
}

MemoryFit fit_memory(const std::vector<BytesPerSecond>& copies, Seconds floor) {
  if (copies.empty()) throw input_error("", "", "there is no copy bandwidth among the point measurements", "add one");
  std::vector<double> rates;
  for (const BytesPerSecond rate : copies) rates.push_back(rate.value());
  return {kCopy, floor, BytesPerSecond(quantile_of(std::move(rates), 0.5))};
}

std::int64_t rows_of(std::size_t count) { return static_cast<std::int64_t>(count); }

}  // namespace

ComputeFit fit_compute(const std::filesystem::path& sources, const DeviceSpec& device, const FoldOptions& folds) {
  const auto gemm = read_gemm_samples(sources / "aic_gemm_h100.csv");
  const auto gemm_steps = read_gemm_row_sweep(sources / "aic_gemm_h100_vllm_bf16_all78m.csv", "vllm");
  const auto decode = read_decode_samples(sources / "aic_attention_generation_h100.csv");
  const auto prefill = read_prefill_samples(sources / "aic_attention_context_h100.csv");
  const auto moe = read_moe_layouts(sources / "aic_moe_h100.csv");
  const auto copies = read_copy_bandwidths(sources / "04_compute_memory_network.json");

  ComputeFit out;
  ComputeCalibration& calibration = out.calibration;
  calibration.default_framework = kDefaultFramework;
  calibration.l2 = fit_l2(decode.samples, kDecode, device);
  const auto judge = [&out](auto judged, const char* what, const std::pair<std::string, DType>& kernel, auto& fits) {
    out.coverage.push_back(
        coverage_of(fmt::format("{}, {}, {}", what, kernel.first, name_of(kernel.second)), judged.held_out));
    fits.push_back(std::move(judged.fit));
  };
  for (const auto& [kernel, samples] : by_kernel(gemm.samples, [](const GemmSample& s) { return s.dtype; }))
    judge(fit_gemm(samples, kGemm, sim::machine_rates(device, calibration.l2, peak_of(device, kernel.second)), folds),
          "GEMM", kernel, calibration.gemm);
  // Queries and math are bf16 in all these sweeps; only the KV cache changes its dtype.
  const sim::MachineRates attention_rates = sim::machine_rates(device, calibration.l2, peak_of(device, DType::bf16));
  const auto kv_dtype = [](const AttentionSample& s) { return s.kv_dtype; };
  for (const auto& [kernel, samples] : by_kernel(decode.samples, kv_dtype))
    judge(fit_attention(sim::AttentionPhase::decode, samples, kDecode, attention_rates, folds), "attention, decode",
          kernel, calibration.attention_decode);
  for (const auto& [kernel, samples] : by_kernel(prefill.samples, kv_dtype))
    judge(fit_attention(sim::AttentionPhase::prefill, samples, kPrefill, attention_rates, folds), "attention, prefill",
          kernel, calibration.attention_prefill);
  for (const GemmFit& fit : calibration.gemm)
    if (fit.framework == kDefaultFramework && fit.dtype == DType::bf16)
      calibration.memory = fit_memory(copies.samples, fit.floor);
  if (calibration.memory.source.empty())
    throw input_error((sources / "aic_gemm_h100.csv").string(), "",
                      fmt::format("has no bf16 rows of {}", kDefaultFramework),
                      "they are the default of the calibration");

  // Row counts between the powers of two that were fitted.
  const sim::ComputeCost standard(calibration, device);
  std::vector<double> errors;
  for (const GemmSample& sample : gemm_steps.samples)
    if ((sample.m & (sample.m - 1)) != 0)
      errors.push_back(ratio(standard.gemm(sample.dtype, sample.m, sample.n, sample.k).time, sample.time) - 1);
  out.checks.push_back({"GEMM bf16, rows that are no power of two (tile steps)", kDefaultFramework,
                        held_out_statistics(std::move(errors))});
  // Whole layers on one GPU, and all layouts by model, framework and dtype.
  std::map<std::pair<std::string, std::string>, std::vector<MoeLayoutSample>> whole;
  std::map<std::tuple<std::string, std::string, DType>, std::vector<MoeLayoutSample>> layouts;
  for (const MoeLayoutSample& sample : moe) {
    if (sample.tp * sample.ep == 1 && sample.dtype == DType::bf16)
      whole[{sample.model, sample.framework}].push_back(sample);
    layouts[{sample.framework, sample.model, sample.dtype}].push_back(sample);
  }
  const auto check = [&](const std::string& what, const std::string& framework,
                         const std::vector<MoeLayoutSample>& samples) {
    out.checks.push_back({what, framework, check_moe(sim::ComputeCost(calibration, device, framework), samples)});
  };
  for (const auto& [key, samples] : whole)
    check(fmt::format("whole MoE layer of {} by the grouped-GEMM mapping", key.first), key.second, samples);
  for (const auto& [key, samples] : layouts) {
    const auto& [framework, model, dtype] = key;
    check(fmt::format("MoE layer of {}, {}, as rank 0 of every layout", model, name_of(dtype)), framework, samples);
  }

  const std::string graph = "one GPU, kernels repeated in a CUDA graph, so a time includes the gap to the next kernel";
  out.sources = {
      {kGemm, aiconfigurator("gemm"), "Apache-2.0", rows_of(gemm.samples.size() + gemm_steps.samples.size()),
       graph + "; 15 powers of two of m; block-scaled fp8 left out; fp16 is taken to run like bf16 (same tensor-core "
               "rate)"},
      {kDecode, aiconfigurator("attention"), "Apache-2.0", rows_of(decode.samples.size()),
       graph + "; one new token; five head shapes, all of head_dim 128 with 4 or 8 query heads per KV head"},
      {kPrefill, aiconfigurator("attention"), "Apache-2.0", rows_of(prefill.samples.size()),
       graph + "; causal, no cached prefix; five head shapes, all of head_dim 128"},
      {kMoe, aiconfigurator("moe"), "Apache-2.0", rows_of(moe.size()),
       "check only, nothing is fitted to it; balanced rows, rank 0 of layouts up to tp 32 and ep 128"},
      {kCopy,
       "github:stas00/ml-engineering@744d01e compute/accelerator; https://github.com/NVIDIA/nccl/issues/1264: "
       "p2pBandwidthLatencyTest local copy",
       "values quoted as facts", rows_of(copies.samples.size()),
       "device-to-device copy, reads and writes together; taken for every element-wise kernel, which is an "
       "assumption"}};
  return out;
}

}  // namespace foretoken::calibrate
