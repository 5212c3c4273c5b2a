#include "tools/cli/calibrate_cuda_command.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <ostream>
#include <system_error>

#include "calibrate/measure/device_calibration.hpp"
#include "calibrate/measure/device_probes.hpp"
#include "calibrate/measure/device_samples.hpp"
#include "calibrate/measure/device_source.hpp"
#include "core/error.hpp"
#include "runtime/interrupt.hpp"
#include "runtime/machine_identity.hpp"
#include "tools/cli/calibration_folder.hpp"
#include "tools/cli/interrupted.hpp"
#include "tools/cli/mpi_launch.hpp"
#include "tools/cli/shipped_data.hpp"
#include "tools/cli/validators.hpp"
#include "tools/cli/version.hpp"
#include "tools/cli/write_file.hpp"

namespace foretoken::cli {
namespace {

namespace fs = std::filesystem;
using calibrate::DeviceFit;
using calibrate::DeviceMeasurement;
using runtime::cuda::Probe;

// As the driver names GPUs, and what is shipped for them.
struct KnownGpu {
  const char* name;
  const char* datasheet;
  const char* calibration;
};
constexpr std::array<KnownGpu, 4> kKnownGpus{{{"NVIDIA H100 80GB HBM3", "h100-sxm5-80gb", "h100-sxm"},
                                              {"NVIDIA H200", "h200-sxm-141gb", "h200-sxm"},
                                              {"NVIDIA B200", "b200-sxm-180gb", "b200-sxm"},
                                              {"NVIDIA GB200", "gb200-186gb", "gb200-nvl72"}}};

const KnownGpu& known_gpu(const std::string& name, const char* option) {
  for (const KnownGpu& gpu : kKnownGpus)
    if (name == gpu.name) return gpu;
  throw input_error(option, "", fmt::format("is not given, and nothing is shipped for \"{}\"", name),
                    fmt::format("name a file with {}", option));
}

DeviceSpec datasheet(const CalibrateCudaOptions& options, const std::string& gpu) {
  if (!options.device.empty()) return read_device_spec(options.device);
  return read_device_spec(
      shipped_file(fmt::format("topologies/devices/{}.json", known_gpu(gpu, "--device").datasheet)));
}

Calibration base_of(const CalibrateCudaOptions& options, const std::string& gpu) {
  const Calibration base = options.base.empty()
                               ? read_calibration(shipped_file(fmt::format("topologies/calibrations/{}.json",
                                                                           known_gpu(gpu, "--base").calibration)))
                               : read_calibration(options.base);
  if (base.host) throw input_error(options.base.string(), "/host", "is of CPUs", "name a calibration of GPUs");
  return base;
}

constexpr std::array<const char*, 1> kWritten{"calibration.json"};

// Each number of processes has parts of its own.
std::string nccl_launch(std::int64_t ranks) { return ranks == 1 ? "" : fmt::format("-nccl-{}", ranks); }

Seconds steady_now() {
  return Seconds(std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count());
}

std::string readme_text(const DeviceFit& fit, const DeviceMeasurement& measured, std::int64_t ranks) {
  std::string text = fmt::format(
      "# {} x {}, measured\n\n"
      "Written by `foretoken calibrate cuda`. `calibration.json` is what a topology or `--calibration` names, "
      "`samples{}.csv` the\nmedian of every probe, `raw-samples*.jsonl` every time, with the GPU's clock beside "
      "it.\n\n",
      measured.gpus.size(), measured.machine.gpu.name, nccl_launch(ranks));
  for (std::size_t r = 0; r < measured.gpus.size(); ++r)
    text += fmt::format("- rank {}: {} on {}\n", r, measured.gpus[r], measured.hosts[r]);
  text += fmt::format("- {}, {}{}\n", measured.machine.driver, measured.machine.blas,
                      measured.machine.nccl.empty() ? "" : ", NCCL " + measured.machine.nccl);
  if (const std::string conditions = calibrate::conditions_text(measured); !conditions.empty())
    text += "- " + conditions + "\n";
  for (const calibrate::ProbeTimes& one : measured.left_out)
    text += fmt::format("- not measured: {}: {}\n", one.probe, one.left_out);
  return text + "\nPredicted / measured - 1:\n\n" + fit.residuals;
}

nlohmann::ordered_json summary(const DeviceFit& fit, const DeviceMeasurement& measured,
                               const CalibrateCudaOptions& options) {
  return {{"schema_version", 1},
          {"gpu", measured.machine.gpu.name},
          {"gpus", measured.gpus.size()},
          {"driver", measured.machine.driver},
          {"blas", measured.machine.blas},
          {"nccl", measured.machine.nccl},
          {"seed", options.seed},
          {"budget_s", options.budget_seconds},
          {"probes", measured.probes.size()},
          {"left_out", measured.left_out.size()},
          {"conditions", calibrate::conditions_text(measured)},
          {"calibration", (options.out / "calibration.json").string()},
          {"name", fit.calibration.name}};
}

void report(const DeviceFit& fit, const DeviceMeasurement& measured, const CalibrateCudaOptions& options,
            std::int64_t ranks, std::ostream& out) {
  const std::string suffix = ranks == 1 ? "" : fmt::format("-nccl-{}", ranks);
  const fs::path file = options.out / "calibration.json";
  const std::string text = calibration_text(fit.calibration);
  (void)read_calibration(JsonDocument::from_text(text, file.string()));  // what we cannot read is not written
  const std::array<FileText, 3> files{
      {{options.out / fmt::format("samples{}.csv", suffix), calibrate::device_samples_csv(measured)},
       {options.out / fmt::format("README{}.md", suffix), readme_text(fit, measured, ranks)},
       {file, text}}};
  write_files(files);
  std::error_code failed;
  const fs::path raw = parts_file(options.out, true, nccl_launch(ranks));
  fs::rename(parts_file(options.out, false, nccl_launch(ranks)), raw, failed);
  if (failed) throw input_error(raw.string(), "", failed.message(), "the rest is written; check the folder");
  if (options.json)
    out << summary(fit, measured, options).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  else out << fit.residuals << "\nWritten to " << options.out.string() << ".\n";
}

std::vector<std::string> hosts_of(runtime::cuda::Bootstrap& bootstrap) {
  const std::string own = runtime::this_machine().host;
  std::vector<std::string> hosts;
  for (const runtime::cuda::Bootstrap::Bytes& bytes : bootstrap.all_gather({own.begin(), own.end()}))
    hosts.emplace_back(bytes.begin(), bytes.end());
  return hosts;
}

// What one rank finds wrong (a file, usually rank 0), all must know: the others would wait for it.
void agree(runtime::cuda::Bootstrap& bootstrap, const std::function<void()>& check) {
  std::string wrong;
  try {
    check();
  } catch (const Error& error) {
    wrong = error.what();
  }
  for (const runtime::cuda::Bootstrap::Bytes& why : bootstrap.all_gather({wrong.begin(), wrong.end()}))
    if (!why.empty()) throw Error(ErrorCode::invalid_input, std::string(why.begin(), why.end()));
}

}  // namespace

void calibrate_on(runtime::cuda::ProbeDevice& device, runtime::cuda::Bootstrap& bootstrap,
                  const CalibrateCudaOptions& options, const std::function<bool()>& interrupted, std::ostream& out,
                  std::ostream& err) {
  const std::string& gpu = device.machine().gpu.name;
  const bool leads = bootstrap.rank() == 0;
  const bool launch = bootstrap.ranks() > 1;
  DeviceSpec spec;
  Calibration base;
  agree(bootstrap, [&] {
    spec = datasheet(options, gpu);
    if (!leads) return;
    const fs::path known = options.out / "calibration.json";
    std::error_code status;
    if (launch && !fs::exists(known, status))
      throw Error(
          ErrorCode::invalid_input,
          "under mpirun messages alone are measured, and nothing is known of the GPU's kernels yet; run foretoken "
          "calibrate cuda with the same --out without mpirun first");
    base = launch ? read_calibration(known) : base_of(options, gpu);
    require_calibration_for(base, spec);
    make_calibration_folder(options.out, kWritten);
  });

  std::vector<Probe> probes;
  if (launch) {
    for (const runtime::cuda::MessageProbe& probe :
         calibrate::message_probes(runtime::cuda::LaunchLayout::of(hosts_of(bootstrap)), device.machine().multicast))
      if (std::find(options.left_out.begin(), options.left_out.end(), probe.algorithm) == options.left_out.end())
        probes.emplace_back(probe);
  } else {
    probes = calibrate::gpu_probes(spec);
  }
  calibrate::shuffle_probes(probes, options.seed);

  calibrate::MeasureDeviceOptions measure;
  measure.budget = Seconds(options.budget_seconds);
  measure.seed = options.seed;
  measure.date = today();
  measure.version = fmt::format("{} ({})", version(), commit());
  measure.journal = parts_file(options.out, false, nccl_launch(bootstrap.ranks()));
  measure.now = steady_now;
  measure.interrupted = interrupted;
  double told = -1;
  measure.progress = [&](double share, Seconds left, const std::string& what) {
    if (share < told + 0.05) return;
    told = share;
    err << fmt::format("{:.0f} % measured, at most {:.0f} s left, now {}\n", 100 * share, left.value(), what);
  };
  measure.resumes = [&](std::size_t known, std::size_t all) {
    err << fmt::format("{} of {} probes are in {}\n", known, all, measure.journal.string());
  };
  const DeviceMeasurement measured = calibrate::measure_device(device, bootstrap, probes, measure);
  if (!measured.whole)
    throw Error(kInterrupted, fmt::format("interrupted: {} of {} probes are in {}; the same command goes on",
                                          measured.probes.size() + measured.left_out.size(), probes.size(),
                                          measure.journal.string()));
  if (!leads) return;
  report(launch ? calibrate::fit_launch(measured, base) : calibrate::fit_gpu(measured, spec, base, {5, options.seed}),
         measured, options, bootstrap.ranks(), out);
}

void run_calibrate_cuda([[maybe_unused]] const CalibrateCudaOptions& options, [[maybe_unused]] std::ostream& out,
                        [[maybe_unused]] std::ostream& err) {
#ifdef FORETOKEN_CUDA
  const runtime::InterruptFlag interrupt;
  const auto interrupted = [&] { return interrupt.raised(); };
#ifdef FORETOKEN_MPI
  const bool launched = run_under_mpi(
      [&](auto& /*mpi*/) {
        const auto bootstrap = runtime::cuda::open_mpi_bootstrap();
        const auto device =
            runtime::cuda::open_probe_device(*bootstrap, runtime::cuda::ProbedMessages::every_algorithm);
        calibrate_on(*device, *bootstrap, options, interrupted, out, err);
      },
      2);
  if (launched) return;
#endif
  runtime::cuda::AloneBootstrap alone;
  const auto device = runtime::cuda::open_probe_device(alone, runtime::cuda::ProbedMessages::every_algorithm);
  calibrate_on(*device, alone, options, interrupted, out, err);
#else
  throw Error(ErrorCode::invalid_input,
              "this foretoken was built without CUDA; build it with cmake --preset cuda where nvcc is, or measure the "
              "CPUs with foretoken calibrate host");
#endif
}

void add_calibrate_cuda(CLI::App& calibrate, CalibrateCudaOptions& options, std::function<void()>& chosen,
                        std::ostream& out, std::ostream& err) {
  CLI::App* cuda = calibrate.add_subcommand("cuda",
                                            "Measure what this computer's GPU takes, and fit a calibration; under "
                                            "mpirun, a process per GPU, NCCL's messages");
  cuda->footer(
      "Example: foretoken calibrate cuda --out my-gpus && mpirun -n 8 foretoken calibrate cuda --out my-gpus\n"
      "What is measured is kept in DIR as it comes: after a kill or Ctrl-C the same command goes on. Remove "
      "DIR/unfinished*.jsonl to begin anew.");
  cuda->add_option("--out", options.out, "Folder for calibration, samples and residuals")
      ->required()
      ->type_name("DIR")
      ->check(kNotEmpty);
  cuda->add_option("--device", options.device, "Datasheet of the GPU (default: the shipped one of its name)")
      ->type_name("FILE")
      ->check(kNotEmpty);
  cuda->add_option("--base", options.base,
                   "Calibration of what is not measured (default: the shipped one of the GPU's name)")
      ->type_name("FILE")
      ->check(kNotEmpty);
  cuda->add_option("--leave-out", options.left_out,
                   "Under mpirun: an algorithm that NCCL has not here (ring, tree, nvls, nvlstree; repeatable)")
      ->type_name("NAME")
      ->check(CLI::IsMember({"ring", "tree", "nvls", "nvlstree"}))
      ->expected(1)
      ->take_all();
  cuda->add_option("--budget", options.budget_seconds,
                   "Time to measure in at most, roughly: every probe is repeated three times at least, and ends early "
                   "where the 90 % interval of its median is within 1 % (default 300)")
      ->check(CLI::Range(0.1, 86400.0))
      ->type_name("SECONDS");
  cuda->add_option("--seed", options.seed, "Of the order of the probes (default 1)")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 53));
  cuda->add_flag("--json", options.json, "Machine-readable summary");
  cuda->callback([&] { chosen = [&] { run_calibrate_cuda(options, out, err); }; });
}

}  // namespace foretoken::cli
