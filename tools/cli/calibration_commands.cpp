#include "tools/cli/calibration_commands.hpp"

#include <CLI/CLI.hpp>

#include "tools/cli/common_options.hpp"
#include "tools/cli/validators.hpp"

namespace foretoken::cli {
namespace {

CLI::App* add_doctor(CLI::App& app, DoctorOptions& options) {
  CLI::App* doctor = app.add_subcommand(
      "doctor", "What looks wrong in a calibration of a GPU: against its datasheet and a sibling, with the evidence");
  doctor->footer(
      "Example: foretoken doctor my-cluster.json --against topologies/calibrations/h100-sxm.json\n"
      "Named are rates that no hardware has, throttled clocks, slow memory, NVLS that was off, missing links, slow "
      "NICs, "
      "late messages, untuned kernels, fits with large errors. Exit code 5 if anything is.\n"
      "Live:    mpirun -n 16 foretoken doctor --live --for scenarios/laptop/large-ep-r16.json\n"
      "         mpirun -n 16 foretoken doctor --live --backend cuda --calibration my-gpus/calibration.json\n"
      "Ctrl-C ends it between two measurements, with what was measured until then (exit code 130).");
  add_file(*doctor, "calibration", options.calibration, "Calibration to look at");
  add_file(*doctor, "--device", options.device, "Datasheet of its GPU (default: the shipped one of that name)");
  add_file(*doctor, "--against", options.against,
           "A calibration that is known to be good, of this or another GPU (default: the shipped H100's)");
  add_file(*doctor, "--against-device", options.against_device,
           "Datasheet of that one's GPU (default: the shipped one)");
  doctor->add_flag("--json", options.json, "Machine-readable output");
  return doctor;
}

CLI::App* add_fit(CLI::App& calibrate, FitOptions& options) {
  CLI::App* fit = calibrate.add_subcommand("fit", "Fit a calibration to published measurements");
  fit->footer(
      "Example: foretoken calibrate fit --sources measurements/ --device topologies/devices/h100-sxm5-80gb.json --out "
      "h100-sxm.json");
  fit->add_option("--sources", options.sources, "Directory with the measurement files")
      ->required()
      ->type_name("DIR")
      ->check(kNotEmpty);
  add_file(*fit, "--device", options.device, "Datasheet of the GPU that was measured")->required();
  add_file(*fit, "--out", options.out, "Calibration to write")->required();
  add_file(*fit, "--report", options.report, "Residual tables to write, in Markdown");
  fit->add_option("--seed", options.seed, "Deals groups of measurements to the folds that are held out (default: 1)")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 53));
  return fit;
}

CLI::App* add_derive(CLI::App& calibrate, DeriveOptions& options) {
  CLI::App* derive = calibrate.add_subcommand(
      "derive",
      "Work out a calibration for a GPU that was not measured, from that of one that was and both datasheets");
  derive->footer(
      "Example: foretoken calibrate derive --from topologies/calibrations/h100-sxm.json --measured "
      "topologies/devices/h100-sxm5-80gb.json --device topologies/devices/h200-sxm-141gb.json --out h200-sxm.json\n"
      "What is bound by memory follows the memory's bandwidth, what is bound by arithmetic the peak; every prediction "
      "says "
      "that it is extrapolated, or assumed.");
  add_file(*derive, "--from", options.from, "Calibration that was measured")->required();
  add_file(*derive, "--measured", options.measured, "Datasheet of the GPU that was measured")->required();
  add_file(*derive, "--device", options.device, "Datasheet of the GPU to predict for")->required();
  derive
      ->add_option("--nvlink", options.nvlink,
                   "NVLink bandwidth of one of its GPUs in one direction, if another: \"900 GB/s\"")
      ->type_name("RATE")
      ->check(kNotEmpty);
  derive->add_option("--at-best", options.at_best, "What predictions rest on (default extrapolated)")
      ->check(CLI::IsMember({"extrapolated", "assumed"}))
      ->type_name("{extrapolated,assumed}");
  add_file(*derive, "--out", options.out, "Calibration to write; its name is the file's")->required();
  return derive;
}

CLI::App* add_calibrate_host(CLI::App& calibrate, CalibrateHostOptions& options) {
  CLI::App* host = calibrate.add_subcommand(
      "host", "Measure what this computer's CPUs take, and fit a calibration; under mpirun also its messages by MPI");
  host->footer(
      "Example: foretoken calibrate host --out this-computer && mpirun -n 2 foretoken calibrate host --out "
      "this-computer\n"
      "What is measured is kept in DIR as it comes: after a kill the same command goes on. Remove DIR/unfinished.jsonl "
      "to begin anew.");
  host->add_option("--out", options.out, "Folder for topology, calibration, samples and residuals")
      ->required()
      ->type_name("DIR")
      ->check(kNotEmpty);
  host->add_option("--for", options.scenarios, "Measure what this scenario needs (repeatable) instead of all kinds")
      ->type_name("FILE")
      ->check(kNotEmpty)
      ->expected(1)
      ->take_all();
  host->add_option("--budget", options.budget_seconds,
                   "Time to measure in at most, roughly: every probe is run three times at least, and computing ends "
                   "early where the 90 % interval of each median is within 1 % (default 60)")
      ->check(CLI::Range(0.1, 86400.0))
      ->type_name("SECONDS");
  host->add_option("--seed", options.seed, "Of the order of the probes (default 1)")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 53));
  host->add_flag("--json", options.json, "Machine-readable summary");
  return host;
}

CLI::App* add_calibrate_network(CLI::App& calibrate, CalibrateNetworkOptions& options) {
  CLI::App* network = calibrate.add_subcommand(
      "network",
      "Under mpirun, measure messages between nodes of CPUs, and add them to what calibrate host has written");
  network->footer(
      "Example: mpirun -n 8 foretoken calibrate network --topology topologies/lab/4x2.json --calibration "
      "mine/calibration.json");
  add_file(*network, "--topology", options.topology, "The nodes, with as many ranks as processes")->required();
  add_file(*network, "--calibration", options.calibration, "Of the same computer; is replaced")->required();
  network->add_option("--iterations", options.iterations, "That a time is the mean of (default 20)")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{3}, std::int64_t{100'000}));
  return network;
}

}  // namespace

void add_calibration_commands(CLI::App& app, CalibrationCommands& options, std::function<void()>& chosen,
                              std::ostream& out, std::ostream& err) {
  CLI::App* doctor = add_doctor(app, options.doctor);
  add_doctor_live(*doctor, options.doctor_live);
  doctor->callback([&] { chosen = [&] { run_doctor(options.doctor, options.doctor_live, out); }; });

  CLI::App* calibrate = app.add_subcommand("calibrate", "Make calibrations");
  calibrate->require_subcommand(1);
  add_advise(*calibrate, options.advise, chosen, out);
  add_calibrate_cuda(*calibrate, options.cuda, chosen, out, err);
  add_fit(*calibrate, options.fit)->callback([&] { chosen = [&] { run_fit(options.fit, out, err); }; });
  add_derive(*calibrate, options.derive)->callback([&] { chosen = [&] { run_derive(options.derive, out); }; });
  add_calibrate_host(*calibrate, options.host)->callback([&] {
    chosen = [&] { run_calibrate_host(options.host, out, err); };
  });
  add_calibrate_network(*calibrate, options.network)->callback([&] {
    chosen = [&] { run_calibrate_network(options.network, out, err); };
  });
}

}  // namespace foretoken::cli
