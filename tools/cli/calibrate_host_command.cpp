// foretoken calibrate host: measures this computer and writes a folder with all that the measurement gave.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <ostream>
#include <sstream>
#include <system_error>

#include "calibrate/measure/measure_host.hpp"
#include "core/error.hpp"
#include "core/json_text.hpp"
#include "runtime/machine_identity.hpp"
#include "runtime/run.hpp"
#include "tools/cli/calibration_folder.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/mpi_launch.hpp"
#include "tools/cli/version.hpp"
#include "tools/cli/write_file.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::ordered_json;

namespace fs = std::filesystem;
using calibrate::HostMeasurement;

// Ranks that a plan for this computer may have; they share its cores.
constexpr std::int64_t kRanks = 64;

constexpr std::array<const char*, 4> kFiles{"samples.csv", "README.md", "topology.json", "calibration.json"};

// Threads and each number of processes have parts of their own.
std::string mpi_launch(std::int64_t ranks) { return ranks == 0 ? "" : fmt::format("-mpi-{}", ranks); }

std::string text_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) throw input_error(file.string(), "", "cannot be read", "name another --out, or remove the file");
  return text.str();
}

// An earlier measurement in the folder. Another computer's must not be overwritten by mistake, nor what is no
// measurement.
std::optional<calibrate::KnownMeasurement> known_measurement(const fs::path& folder) {
  const fs::path file = folder / "calibration.json";
  std::error_code status;
  if (!fs::exists(file, status)) {
    for (const char* name : kFiles)
      if (fs::exists(folder / name, status))
        throw input_error((folder / name).string(), "", "is there already, without a calibration.json beside it",
                          "name a folder of its own with --out");
    return std::nullopt;
  }
  calibrate::KnownMeasurement known;
  known.calibration = read_calibration(file);
  const std::string cpu = runtime::this_machine().cpu;
  if (!known.calibration.host || known.calibration.device.name != cpu)
    throw input_error(
        file.string(), "/device/name",
        fmt::format("\"{}\" was measured here, and this computer has \"{}\"", known.calibration.device.name, cpu),
        "name another folder with --out");
  known.samples = calibrate::parse_samples(text_of(folder / "samples.csv"), (folder / "samples.csv").string());
  return known;
}

std::string topology_text(const HostMeasurement& measured) {
  const std::string source = fmt::format("read from the system, {}", today());
  const nlohmann::json json{
      {"kind", "topology"},
      {"schema_version", 1},
      {"name", "host " + measured.machine.host},
      {"nodes", 1},
      {"node",
       {{"host",
         {{"cpu", measured.machine.cpu},
          {"cores", measured.calibration.host->cores},
          {"memory",
           fmt::format("{:.1f} GiB", std::floor(static_cast<double>(measured.memory.value()) / (1 << 30) * 10) / 10)},
          {"ranks", kRanks}}}}},
      {"calibration", "calibration.json"},
      {"sources", {{"node.host.cores", source}, {"node.host.memory", source}}}};
  return readable_json(json);
}

std::string readme_text(const HostMeasurement& measured) {
  std::string text =
      "# This computer, measured\n\n"
      "Written by `foretoken calibrate host`. `topology.json` is what a scenario names (or `--topology`), "
      "`calibration.json` what\n"
      "an op costs a core, `samples.csv` the measurements that it is fitted to, `raw-samples*.jsonl` all of them, "
      "round "
      "by round.\n\n"
      "| source | measured | samples | conditions |\n"
      "|---|---|---|---|\n";
  for (const CalibrationSource& source : measured.calibration.sources)
    text += fmt::format("| {} | {} | {} | {} |\n", source.id, source.citation, source.rows, source.note);
  return text + "\n" + calibrate::host_residual_markdown(measured.fit);
}

// The one that the others lead to comes last. What we cannot read ourselves is not written.
void write_all(const fs::path& folder, const HostMeasurement& measured) {
  const std::string calibration = calibration_text(measured.calibration);
  (void)read_calibration(JsonDocument::from_text(calibration, (folder / "calibration.json").string()));
  const std::array<FileText, 4> files{{{folder / "samples.csv", calibrate::samples_csv(measured.samples)},
                                       {folder / "README.md", readme_text(measured)},
                                       {folder / "topology.json", topology_text(measured)},
                                       {folder / "calibration.json", calibration}}};
  write_files(files);
}

nlohmann::ordered_json summary_json(const HostMeasurement& measured, const CalibrateHostOptions& options) {
  Json residuals = Json::array();
  for (const calibrate::HostResidual& r : measured.fit.residuals)
    residuals.push_back({{"what", r.what},
                         {"load", r.load == HostLoad::alone ? "alone" : "crowded"},
                         {"held_out", r.held_out},
                         {"median", r.error.median},
                         {"p90", r.error.p90},
                         {"signed_mean", r.error.signed_mean},
                         {"samples", r.error.rows},
                         {"probes", r.error.groups}});
  Json communicators = Json::array();
  for (const HostCommunication& one : measured.calibration.host->communication)
    communicators.push_back(one.communicator);
  return {{"schema_version", 1},
          {"cpu", measured.machine.cpu},
          {"cores", measured.calibration.host->cores},
          {"seed", options.seed},
          {"budget_s", options.budget_seconds},
          {"topology", (options.out / "topology.json").string()},
          {"calibration", (options.out / "calibration.json").string()},
          {"samples", measured.samples.size()},
          {"communicators", std::move(communicators)},
          {"residuals", std::move(residuals)}};
}

// A line per probe, or on a terminal one line that is written over.
class Progress {
 public:
  explicit Progress(std::ostream& err) : err_(err), terminal_(isatty(STDERR_FILENO) == 1) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() {
    if (terminal_ && written_) err_ << "\r\033[K" << std::flush;
  }

  void resumes(std::size_t known, std::size_t parts, const fs::path& file) const {
    err_ << fmt::format("{} of {} parts are in {}\n", known, parts, file.string());
  }

  void operator()(double share, Seconds left, const std::string& what) {
    if (terminal_) {
      constexpr int width = 24;
      const int full = std::clamp(static_cast<int>(share * width), 0, width);
      err_ << fmt::format("\r\033[K[{:=<{}}{: <{}}] {:.0f} s left, {}", "", full, "", width - full, left.value(), what)
           << std::flush;
    } else {
      err_ << fmt::format("measuring {}, about {:.0f} s left\n", what, left.value());
    }
    written_ = true;
  }

 private:
  std::ostream& err_;
  bool terminal_;
  bool written_ = false;
};

calibrate::MeasureOptions measure_options(const CalibrateHostOptions& options, std::int64_t ranks, Progress& progress) {
  calibrate::MeasureOptions measure;
  measure.ranks = ranks;
  measure.journal = parts_file(options.out, false, mpi_launch(ranks));
  measure.budget = Seconds(options.budget_seconds);
  measure.seed = options.seed;
  measure.scenarios = options.scenarios;
  measure.date = today();
  measure.version = fmt::format("{} ({})", version(), commit());
  measure.known = known_measurement(options.out);
  measure.progress = [&progress](double share, Seconds left, const std::string& what) { progress(share, left, what); };
  measure.resumes = [&progress, file = measure.journal](std::size_t known, std::size_t parts) {
    progress.resumes(known, parts, file);
  };
  return measure;
}

// Checked before anything is measured.
void check_scenarios(const CalibrateHostOptions& options) {
  std::error_code status;
  for (const fs::path& scenario : options.scenarios)
    for (const char* name : kFiles)
      if (fs::equivalent(options.out / name, scenario, status))
        throw input_error("--for " + scenario.string(), "", "would be replaced by the measurement",
                          "name another --out");
}

void report(const HostMeasurement& measured, const CalibrateHostOptions& options, std::int64_t ranks,
            std::ostream& out) {
  write_all(options.out, measured);
  std::error_code failed;
  const fs::path raw = parts_file(options.out, true, mpi_launch(ranks));
  fs::rename(parts_file(options.out, false, mpi_launch(ranks)), raw, failed);
  if (failed) throw input_error(raw.string(), "", failed.message(), "the rest is written; check the folder");
  if (options.json)
    out << summary_json(measured, options).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  else out << calibrate::host_residual_markdown(measured.fit) << "\nWritten to " << options.out.string() << ".\n";
}

}  // namespace

void run_calibrate_host(const CalibrateHostOptions& options, std::ostream& out, std::ostream& err) {
  if (!std::isfinite(options.budget_seconds) || options.budget_seconds <= 0)
    throw input_error("--budget", "", "is not a number of seconds", "write for example --budget 60");
  check_scenarios(options);
  Progress progress(err);
  runtime::RunOptions live;
  live.build = fmt::format("{} {}", version(), commit());
  const bool launched = run_under_mpi(
      [&](auto& mpi) {
        calibrate::MeasureOptions measure = measure_options(options, mpi.ranks(), progress);
        measure.leads = mpi.rank() == 0;
        if (measure.leads) make_calibration_folder(options.out, kFiles);
        measure.run = [&](const plan::Plan& plan) { return run_mpi(mpi, plan, live); };
        if (const auto measured = calibrate::measure_host(measure)) report(*measured, options, mpi.ranks(), out);
      },
      2);
  if (launched) return;
  calibrate::MeasureOptions measure = measure_options(options, 0, progress);
  make_calibration_folder(options.out, kFiles);
  measure.run = [&](const plan::Plan& plan) { return std::optional(runtime::run_threads(plan, live)); };
  const auto measured = calibrate::measure_host(measure);
  report(*measured, options, 0, out);
}

}  // namespace foretoken::cli
