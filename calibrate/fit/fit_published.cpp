#include "calibrate/fit/fit_published.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>

#include "core/error.hpp"

namespace foretoken::calibrate {

namespace {

// Written beside its place and renamed, so that nobody ever reads half of it.
void write_whole(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::path beside = path;
  beside += ".partial";
  {
    std::ofstream out(beside, std::ios::binary | std::ios::trunc);
    out << text;
    out.flush();
    if (!out) {
      std::error_code ignored;
      std::filesystem::remove(beside, ignored);
      throw input_error(path.string(), "", "cannot be written", "check that the folder exists and has room");
    }
  }
  std::error_code status;
  std::filesystem::rename(beside, path, status);
  if (!status) return;
  const std::string reason = status.message();
  std::filesystem::remove(beside, status);
  throw input_error(path.string(), "", "cannot be written: " + reason, "check its permissions");
}

// What people wrote above the generated part; nothing if there is no such file or mark.
std::string written_by_hand(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  const std::string all = text.str();
  const std::size_t mark = all.find(kGeneratedBelow);
  return mark == std::string::npos ? std::string() : all.substr(0, mark);
}

// Of InterferenceCalibration's and LaunchCalibration's defaults: settings of libraries and figures of others, to which
// nothing is fitted.
CalibrationSource kernel_settings() {
  return {"kernel-settings",
          "github.com/NVIDIA/nccl/issues/689; github.com/aws-samples/aws-do-eks, NCCL tests on 1 and 2 p5.48xlarge; "
          "github.com/vllm-project/vllm, custom_all_reduce.cuh; github.com/deepseek-ai/DeepEP, docs/legacy.md",
          "values quoted as facts", 0,
          "assumed, not measured: thread blocks of communication kernels, each of which has an SM to itself; memory is "
          "read once for what is sent and written once for what arrives"};
}

CalibrationSource launch_times() {
  return {
      "launch-times",
      "github.com/facebookresearch/HolisticTraceAnalysis, CUDA kernel launch statistics; cuda.juliagpu.org, Graphs",
      "values quoted as facts", 0,
      "assumed, not measured on this machine; used only where a scenario has \"execution\". Kernel times have the gap "
      "to the next kernel in them"};
}

}  // namespace

FitReport fit_published(const std::filesystem::path& sources, const DeviceSpec& device, const std::string& name,
                        const FoldOptions& folds) {
  ComputeFit compute = fit_compute(sources, device, folds);
  NetworkFit network = fit_network(sources, device.sms, folds);
  network.sources.push_back(kernel_settings());
  network.sources.push_back(launch_times());
  FitReport report;
  report.residuals = residual_markdown(compute, network, folds);
  Calibration& out = report.calibration;
  out.name = name;
  out.device = {device.name, device.memory_bandwidth, device.peak(DType::bf16).value_or(FlopsPerSecond(0))};
  out.compute = std::move(compute.calibration);
  out.network = std::move(network.calibration);
  out.interference.source = kernel_settings().id;
  out.launch.source = launch_times().id;
  out.sources = std::move(compute.sources);
  for (CalibrationSource& source : network.sources) {
    const auto same = [&source](const CalibrationSource& other) { return other.id == source.id; };
    FORETOKEN_CHECK(std::none_of(out.sources.begin(), out.sources.end(), same),
                    "compute and network name their sources apart");
    out.sources.push_back(std::move(source));
  }
  return report;
}

FitReport fit_to_files(const FitFiles& files) {
  const DeviceSpec device = read_device_spec(files.device);
  FitReport report = fit_published(files.sources, device, files.out.stem().string(), files.folds);
  write_whole(files.out, calibration_text(report.calibration));
  if (!files.report.empty()) {
    const std::string by_hand = written_by_hand(files.report);
    write_whole(files.report, by_hand + std::string(kGeneratedBelow) + "\n" + report.residuals);
  }
  return report;
}

}  // namespace foretoken::calibrate
