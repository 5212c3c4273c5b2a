#include "calibrate/measure/device_calibration.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "calibrate/fit/attention_fit.hpp"
#include "calibrate/fit/gemm_fit.hpp"
#include "calibrate/fit/kernel_fit.hpp"
#include "calibrate/fit/log_least_squares.hpp"
#include "calibrate/measure/device_samples.hpp"
#include "calibrate/measure/device_source.hpp"
#include "core/error.hpp"
#include "sim/cost/compute_cost.hpp"

namespace foretoken::calibrate {
namespace {

constexpr const char* kKernels = "this-gpu";
constexpr const char* kLaunches = "this-gpu-launches";

std::string percent(double share) { return fmt::format("{:.1f} %", 100 * share); }

std::string row(const std::string& what, const HeldOut& error) {
  return fmt::format("| {} | {} | {} | {:+.1f} % | {} | {} |\n", what, percent(error.median), percent(error.p90),
                     100 * error.signed_mean, error.rows, error.groups);
}

// time = floor + traffic / bandwidth of all element-wise kernels and copies from memory.
MemoryFit fit_memory(const std::vector<MemorySample>& samples, const DeviceSpec& device) {
  std::vector<double> measured;
  for (const MemorySample& sample : samples) measured.push_back(sample.time.value());
  const std::vector<double> found = fit_log_least_squares(
      {2e-6, device.memory_bandwidth.value()}, measured, [&](std::span<const double> p, std::span<double> predictions) {
        for (std::size_t i = 0; i < samples.size(); ++i)
          predictions[i] = p[0] + static_cast<double>(samples[i].traffic.value()) / p[1];
      });
  return {kKernels, Seconds(found[0]), BytesPerSecond(found[1])};
}

HeldOut memory_error(const std::vector<MemorySample>& samples, const MemoryFit& fit, const std::string& kind) {
  std::vector<double> errors;
  for (const MemorySample& sample : samples)
    if (sample.kind == kind) errors.push_back(ratio(fit.floor + sample.traffic / fit.bandwidth, sample.time) - 1);
  return held_out_statistics(std::move(errors));
}

// Of the largest launches: by the host's thread, and per kernel on the device.
std::optional<LaunchCalibration> fit_launches(const std::vector<LaunchSample>& samples) {
  const auto largest = [&](bool graph, bool on_device) -> const LaunchSample* {
    const LaunchSample* found = nullptr;
    for (const LaunchSample& s : samples)
      if (s.probe.graph == graph && s.probe.on_device == on_device &&
          (found == nullptr || s.probe.kernels > found->probe.kernels))
        found = &s;
    return found;
  };
  const LaunchSample* const graph = largest(true, false);
  const LaunchSample* const eager = largest(false, false);
  const LaunchSample* const graph_kernel = largest(true, true);
  const LaunchSample* const eager_kernel = largest(false, true);
  if (graph == nullptr || eager == nullptr || graph_kernel == nullptr || eager_kernel == nullptr) return std::nullopt;
  LaunchCalibration launch;
  // Kernels' times are those within a graph, gap to the next kernel included.
  launch.graph = {graph->time, Seconds(0)};
  launch.eager = {eager->time, std::max(eager_kernel->time - graph_kernel->time, Seconds(0))};
  launch.provenance = Provenance::measured;
  launch.source = kLaunches;
  return launch;
}

FlopsPerSecond peak_of(const DeviceSpec& device, DType dtype) {
  const auto peak = device.peak(dtype);
  FORETOKEN_CHECK(peak.has_value(), "only element types that have a peak are measured");
  return *peak;
}

template <class Fit>
void replace_ours(std::vector<Fit>& fits, const std::vector<Fit>& ours) {
  std::erase_if(fits, [](const Fit& fit) { return fit.framework == kForetokenKernels; });
  fits.insert(fits.begin(), ours.begin(), ours.end());
}

// Sources that nothing names any more must not be in the file.
std::set<std::string> sources_of(const ComputeCalibration& compute) {
  std::set<std::string> ids{compute.l2.source, compute.memory.source};
  for (const auto& fit : compute.gemm) ids.insert(fit.source);
  for (const auto* fits : {&compute.attention_decode, &compute.attention_prefill})
    for (const AttentionFit& fit : *fits) ids.insert(fit.source);
  return ids;
}

}  // namespace

DeviceFit fit_gpu(const DeviceMeasurement& measured, const DeviceSpec& device, const Calibration& base,
                  const FoldOptions& folds) {
  const DeviceSamples samples = samples_of(measured);
  DeviceFit out;
  Calibration& calibration = out.calibration;
  calibration = base;
  calibration.file.clear();
  calibration.name = fmt::format("{}, {}", measured.machine.gpu.name, measured.date);
  calibration.device = {device.name, device.memory_bandwidth, peak_of(device, DType::bf16)};
  ComputeCalibration& compute = calibration.compute;
  if (base.derived) {
    compute.gemm.clear();
    compute.attention_decode.clear();
    compute.attention_prefill.clear();
  }
  const std::set<std::string> before = sources_of(base.compute);
  compute.default_framework = kForetokenKernels;
  compute.l2 = fit_l2(samples.attention, kKernels, device);

  out.residuals =
      "| kernel | median of abs. | p90 of abs. | signed mean | rows | groups |\n|---|---|---|---|---|---|\n";
  std::vector<GemmFit> gemms;
  for (const DType dtype : {DType::bf16, DType::fp16, DType::fp32}) {
    std::vector<GemmSample> of_type;
    std::copy_if(samples.gemm.begin(), samples.gemm.end(), std::back_inserter(of_type),
                 [&](const GemmSample& s) { return s.dtype == dtype; });
    if (of_type.empty()) continue;
    gemms.push_back(
        fit_gemm(of_type, kKernels, sim::machine_rates(device, compute.l2, peak_of(device, dtype)), folds).fit);
    out.residuals += row(fmt::format("GEMM {}, held-out (n, k)", name_of(dtype)), gemms.back().held_out);
  }
  replace_ours(compute.gemm, gemms);
  const AttentionFit attention =
      fit_attention(sim::AttentionPhase::decode, samples.attention, kKernels,
                    sim::machine_rates(device, compute.l2, peak_of(device, DType::bf16)), folds)
          .fit;
  out.residuals += row("decode attention, held-out head shapes", attention.held_out);
  replace_ours(compute.attention_decode, {attention});
  compute.memory = fit_memory(samples.memory, device);
  for (const char* kind : {"norm", "rope", "permute", "activation", "copy"})
    out.residuals += row(fmt::format("{}, of the fit of all element-wise kernels", kind),
                         memory_error(samples.memory, compute.memory, kind));

  const sim::ComputeCost cost(compute, device);
  std::vector<double> errors;
  for (const ExpertSample& s : samples.experts) {
    const std::vector<std::int64_t> rows(static_cast<std::size_t>(s.probe.experts), s.probe.rows);
    errors.push_back(ratio(cost.grouped_gemm(s.probe.dtype, rows, s.probe.n, s.probe.k).time, s.time) - 1);
  }
  out.residuals +=
      row("products of experts, by the grouped-GEMM mapping, not fitted", held_out_statistics(std::move(errors)));

  const std::set<std::string> after = sources_of(compute);
  std::erase_if(calibration.sources, [&](const CalibrationSource& source) {
    return source.id == kKernels || source.id == kLaunches ||
           (before.contains(source.id) && !after.contains(source.id));
  });
  calibration.sources.insert(
      calibration.sources.begin(),
      device_source(measured, kKernels,
                    static_cast<std::int64_t>(samples.gemm.size() + samples.attention.size() + samples.memory.size()),
                    "kernels repeated in a CUDA graph, so a time includes the gap to the next kernel; weights and what "
                    "element-wise kernels read come from memory, KV caches stay where they are"));
  if (const auto launch = fit_launches(samples.launches)) {
    const std::string replaced = std::exchange(calibration.launch, *launch).source;
    std::erase_if(calibration.sources, [&](const CalibrationSource& source) { return source.id == replaced; });
    calibration.sources.push_back(device_source(
        measured, kLaunches, static_cast<std::int64_t>(samples.launches.size()),
        "host's thread per launch; the gap of eager launches is what a kernel takes longer than in a graph"));
  }
  return out;
}

}  // namespace foretoken::calibrate
