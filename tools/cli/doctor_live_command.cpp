// foretoken doctor --live: what looks wrong in the ranks of a launch and in the links between them.
#include "tools/cli/doctor_live_command.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <utility>

#include "calibrate/measure/communications_only.hpp"
#include "calibrate/measure/probe_plan.hpp"
#include "core/error.hpp"
#include "plan/machine/topology.hpp"
#include "runtime/call_on_mpi.hpp"
#include "runtime/cuda/gpu_health.hpp"
#include "runtime/cuda/nearest_nic.hpp"
#include "runtime/cuda/run_cuda.hpp"
#include "runtime/interrupt.hpp"
#include "runtime/machine_identity.hpp"
#include "runtime/run.hpp"
#include "sim/simulate.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/doctor_live_report.hpp"
#include "tools/cli/interrupted.hpp"
#include "tools/cli/load.hpp"
#include "tools/cli/mpi_launch.hpp"
#include "tools/cli/validators.hpp"
#include "tools/cli/version.hpp"
#include "tools/cli/write_file.hpp"
#include "tools/collective/group_times.hpp"

namespace foretoken::cli {
namespace {

// Pairs of emulated nodes are measured one at a time: few of them, so that it takes seconds.
constexpr std::int32_t kOpponentsEmulated = 3;

constexpr const char* kDoctorNotice = "foretoken: interrupted; ending between two measurements (once more: at once)\n";

// Everything that is read before anything is measured.
struct Inputs {
  std::optional<Calibration> calibration;
  std::optional<plan::Topology> topology;
  std::optional<plan::Machine> machine;
  std::optional<plan::Plan> communications;  // of the scenario, without its computing
  LiveConditions conditions;
};

void refuse(bool given, const char* option, const char* because) {
  if (given) throw input_error(option, "", because, fmt::format("leave {} out", option));
}

bool on_gpus(const DoctorLiveOptions& live) { return live.backend == "cuda"; }

Inputs read_inputs(const DoctorLiveOptions& live, std::int64_t ranks) {
  Inputs inputs;
  std::filesystem::path topology = live.topology;
  if (const auto emulated = runtime::emulated_topology(); emulated && topology.empty()) topology = *emulated;
  if (!live.scenario.empty()) {
    if (topology.empty() && !on_gpus(live)) {
      inputs.communications = calibrate::host_plan(JsonDocument::from_file(live.scenario));
    } else {
      ScenarioOptions scenario;
      scenario.topology = topology;
      Loaded loaded = load(live.scenario, scenario);
      inputs.communications = std::move(loaded.plan);
      inputs.topology = std::move(loaded.topology);
      inputs.machine = std::move(loaded.machine);
    }
    if (inputs.communications->program.ranks != ranks)
      throw input_error("--for " + live.scenario.string(), "",
                        fmt::format("the deployment has {} ranks, and {} processes were started",
                                    inputs.communications->program.ranks, ranks),
                        fmt::format("use mpirun -n {}", inputs.communications->program.ranks));
    inputs.communications = calibrate::communications_only(*inputs.communications, live.steps);
    inputs.conditions.scenario = inputs.communications->scenario.name;
  }
  if (!topology.empty() && !inputs.topology) {
    inputs.topology = plan::read_topology(topology);
    inputs.machine = plan::build_machine(*inputs.topology);
  }
  if (inputs.topology) inputs.conditions.topology = inputs.topology->name;
  if (!live.calibration.empty()) {
    inputs.calibration = read_calibration(live.calibration);
    if (on_gpus(live) && inputs.calibration->host)
      throw input_error(live.calibration.string(), "/host", "is there: it is a calibration of a computer's CPUs",
                        "give one of these GPUs: foretoken calibrate cuda");
    if (!on_gpus(live) && !inputs.calibration->host)
      throw input_error(live.calibration.string(), "/host", "is not there: it is a calibration of GPUs",
                        "give one of this computer: foretoken calibrate host");
    inputs.conditions.calibration = inputs.calibration->name;
  }
  inputs.conditions.communicator = on_gpus(live) ? "nccl" : "mpi";
  return inputs;
}

// What the calibration says of the communications that were measured; nothing where no machine is known.
std::vector<collective::GroupTime> predicted(const Inputs& inputs) {
  if (!inputs.calibration || !inputs.machine || !inputs.communications) return {};
  sim::SimulateOptions simulation;
  if (inputs.calibration->host) simulation.communicator = inputs.conditions.communicator;
  return collective::group_times(
      *inputs.communications, sim::simulate(*inputs.communications, *inputs.machine, *inputs.calibration, simulation));
}

void report(const DoctorLiveOptions& live, bool json, const Inputs& inputs, runtime::HealthReadings readings,
            std::vector<collective::GroupTime> communications, std::ostream& out) {
  const bool interrupted = readings.interrupted;
  if (interrupted && readings.cores.empty())
    throw Error(kInterrupted, "interrupted before all ranks were measured once: there is nothing to compare");
  LiveEvidence evidence;
  if (!readings.gpus.empty())
    evidence.core_product = static_cast<std::size_t>(runtime::cuda::GpuHealthOptions().product.n);
  evidence.readings = std::move(readings);
  evidence.communications = std::move(communications);
  evidence.predicted = predicted(inputs);
  if (inputs.machine) evidence.machine = &*inputs.machine;
  if (inputs.calibration) evidence.calibration = &*inputs.calibration;
  runtime::OutlierRule rule;
  rule.tolerance = live.tolerance;
  const LiveDiagnosis diagnosis = assess(std::move(evidence), rule);
  if (json)
    out << live_diagnosis_json(diagnosis, inputs.conditions)
               .dump(2, ' ', false, nlohmann::json::error_handler_t::replace)
        << "\n";
  else out << live_diagnosis_text(diagnosis, inputs.conditions);
  out << std::flush;
  if (interrupted)
    throw Error(kInterrupted, fmt::format("interrupted: not everything was measured; {} finding{} so far",
                                          diagnosis.findings.size(), diagnosis.findings.size() == 1 ? "" : "s"));
  if (!diagnosis.findings.empty())
    throw Error(ErrorCode::unhealthy,
                fmt::format("{} finding{}, the first: {}", diagnosis.findings.size(),
                            diagnosis.findings.size() == 1 ? "" : "s", diagnosis.findings.front().what));
}

// What the communications of the scenario took, at rank 0; less than all of it if it was interrupted.
template <class Result>
std::vector<collective::GroupTime> times_of(const plan::Plan& plan, const Result& run,
                                            runtime::HealthReadings& readings) {
  readings.interrupted = readings.interrupted || run.interrupted;
  return run.trace ? collective::group_times(plan, *run.trace) : std::vector<collective::GroupTime>{};
}

runtime::RunOptions communication_options(const runtime::InterruptFlag& interrupt) {
  runtime::RunOptions run;
  run.build = fmt::format("{} {}", version(), commit());
  run.interrupted = [&interrupt] { return interrupt.raised(); };
  return run;
}

// Generic, as there is no MpiProcess without MPI.
template <class Mpi>
void diagnose_cores(Mpi& mpi, bool json, const DoctorLiveOptions& live, const Inputs& inputs,
                    const runtime::InterruptFlag& interrupt, std::ostream& out) {
  runtime::HealthOptions health;
  if (runtime::emulated_topology()) health.turns = {.one_at_a_time = true, .opponents_max = kOpponentsEmulated};
  health.interrupted = [&] { return interrupt.raised() || mpi.asked_to_end(); };
  std::optional<runtime::HealthReadings> readings;
  bool interrupted = false;
  call_on_mpi(
      mpi,
      [&](RankId rank, runtime::Communicator& communicator, runtime::RankProgress& progress) {
        readings = runtime::probe_health(
            communicator, rank, mpi.ranks(), runtime::this_machine().host, health,
            [&progress](runtime::HealthStage stage) { progress.store(static_cast<std::uint64_t>(stage)); },
            &interrupted);
      },
      [](std::uint64_t progress) { return name_of(static_cast<runtime::HealthStage>(progress)); });
  std::vector<collective::GroupTime> communications;
  if (inputs.communications && !interrupted) {
    const auto result = run_mpi(mpi, *inputs.communications, communication_options(interrupt));
    if (result) communications = times_of(*inputs.communications, *result, *readings);
  }
  mpi.may_end_early(false);
  if (readings) report(live, json, inputs, std::move(*readings), std::move(communications), out);
}

template <class Mpi>
void diagnose_gpus([[maybe_unused]] Mpi& mpi, [[maybe_unused]] bool json,
                   [[maybe_unused]] const DoctorLiveOptions& live, [[maybe_unused]] const Inputs& inputs,
                   [[maybe_unused]] const runtime::InterruptFlag& interrupt, [[maybe_unused]] std::ostream& out) {
#if defined(FORETOKEN_CUDA) && defined(FORETOKEN_MPI)
  std::optional<runtime::HealthReadings> readings;
  bool interrupted = false;
  {
    const auto bootstrap = runtime::cuda::open_mpi_bootstrap();
    const auto device = runtime::cuda::open_probe_device(*bootstrap, runtime::cuda::ProbedMessages::between_pairs);
    runtime::cuda::GpuHealthOptions health;
    health.interrupted = [&] { return interrupt.raised() || mpi.asked_to_end(); };
    readings = runtime::cuda::probe_gpu_health(*device, *bootstrap, runtime::this_machine().host,
                                               runtime::cuda::nearest_nics(device->machine().gpu.pci), health, {},
                                               &interrupted);
  }
  std::vector<collective::GroupTime> communications;
  if (inputs.communications && !interrupted) {
    const auto result = runtime::cuda::run_cuda_mpi(mpi, *inputs.communications, communication_options(interrupt));
    if (result) communications = times_of(*inputs.communications, result->run, *readings);
  }
  mpi.may_end_early(false);
  if (readings) report(live, json, inputs, std::move(*readings), std::move(communications), out);
#else
  throw Error(ErrorCode::invalid_input,
              "this foretoken was built without CUDA; build it with cmake --preset cuda where nvcc is, or measure the "
              "CPUs with --backend host");
#endif
}

}  // namespace

void add_doctor_live(CLI::App& doctor, DoctorLiveOptions& options) {
  doctor.add_flag("--live", options.live,
                  "Measure the ranks of this launch and the links between them instead: start it with mpirun");
  doctor
      .add_option("--backend", options.backend,
                  "With --live: ranks are cores (host, default), or GPUs, one process per GPU, messages by NCCL (cuda)")
      ->check(CLI::IsMember({"host", "cuda"}))
      ->type_name("NAME");
  doctor.add_option("--for", options.scenario, "With --live: also the communications of this scenario, by its plan")
      ->type_name("SCENARIO")
      ->check(kNotEmpty);
  doctor
      .add_option("--calibration", options.calibration,
                  "With --live: what these computers should do (calibrate host; of GPUs calibrate cuda)")
      ->type_name("FILE")
      ->check(kNotEmpty);
  doctor
      .add_option(
          "--topology", options.topology,
          "With --live: what links are called, and should do (default: of the emulated cluster, where it is one)")
      ->type_name("FILE")
      ->check(kNotEmpty);
  doctor
      .add_option("--tolerance", options.tolerance,
                  "With --live: how much longer than its peers something may take (default: 0.25)")
      ->check(CLI::Range(0.0, 100.0))
      ->check(kNotNan);
  doctor.add_option("--steps", options.steps, "With --live --for: steps that are measured (default: 3)")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1'000'000}));
}

void report_live(const DoctorLiveOptions& live, bool json, std::int64_t ranks, runtime::HealthReadings readings,
                 std::ostream& out) {
  report(live, json, read_inputs(live, ranks), std::move(readings), {}, out);
}

void run_doctor(const DoctorOptions& options, const DoctorLiveOptions& live, std::ostream& out) {
  if (!live.live) {
    refuse(!live.scenario.empty(), "--for", "is about --live");
    refuse(on_gpus(live), "--backend", "is about --live");
    refuse(!live.calibration.empty(), "--calibration", "is about --live");
    refuse(!live.topology.empty(), "--topology", "is about --live");
    if (options.calibration.empty())
      throw input_error("doctor", "", "no calibration is given", "name one, or start it with --live under mpirun");
    run_doctor(options, out);
    return;
  }
  refuse(!options.calibration.empty(), options.calibration.c_str(),
         "is a calibration to look at, and --live looks at computers; what they should do is --calibration FILE");
  refuse(!options.device.empty(), "--device", "is about calibrations of GPUs");
  refuse(!options.against.empty(), "--against", "is about calibrations of GPUs");
  refuse(!options.against_device.empty(), "--against-device", "is about calibrations of GPUs");
  const bool launched = run_under_mpi([&](auto& mpi) {
    const runtime::InterruptFlag interrupt({false, mpi.rank() == 0 ? kDoctorNotice : nullptr});
    const Inputs inputs = read_inputs(live, mpi.ranks());
    mpi.may_end_early(true);
    if (on_gpus(live)) diagnose_gpus(mpi, options.json, live, inputs, interrupt, out);
    else diagnose_cores(mpi, options.json, live, inputs, interrupt, out);
  });
  if (!launched)
    throw Error(ErrorCode::invalid_input,
                "doctor --live measures the ranks of a launch; start it with mpirun -n N, on a cluster on all nodes");
}

}  // namespace foretoken::cli
