// One function per command: options in, text out. No command parses its own arguments and none but these print.
#pragma once

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "sim/simulate.hpp"

namespace foretoken::cli {

/// What every command that reads a scenario takes.
struct ScenarioOptions {
  std::vector<std::filesystem::path> scenarios;
  std::vector<std::string> overrides;  // --set
  std::filesystem::path topology;      // --topology: instead of the scenario's
  bool json = false;
  std::filesystem::path out;  // --out: store the whole result
};

struct PlanOptions : ScenarioOptions {
  bool text = false;        // --text: the program itself
  bool check_nccl = false;  // --check-nccl: that the ranks' calls of NCCL fit together
};

struct LaunchOptions : ScenarioOptions {
  bool slurm = false;
  bool mpirun = false;
  bool k8s = false;
  std::int64_t minutes = 15;  // --time
  std::string image;          // --image: k8s
  std::string directory;      // --directory: k8s
};

struct SimulateOptions : ScenarioOptions {
  std::filesystem::path calibration;  // --calibration: instead of the topology's
  std::string framework;              // --framework: whose kernels; empty for the calibration's default
  std::string communicator;           // --communicator: whose messages, on a host; empty for the calibration's first
  double accuracy = 0;                // --accuracy: of sharing links; 0: exact
  double time_limit = sim::kSharingSecondsMax;  // --time-limit: of sharing links, seconds
  std::int64_t layers_sampled = 0;              // --layers-sampled: instead of all; 0: not given
  bool brief = false;                           // --brief: one line per scenario
  bool choices = false;                         // --choices: also every option of every open choice
  bool explain = false;                         // --explain: critical path, stragglers, links
  bool sensitivity = false;                     // --sensitivity: TPOT with one better resource after the other
  std::filesystem::path trace;                  // --trace: timeline for ui.perfetto.dev
  std::filesystem::path nccl_choices;           // --nccl-choices: a result of `run --backend cuda`
};

struct RunOptions : ScenarioOptions {
  std::string backend = "host";       // --backend: host or cuda
  bool nccl_chooses = false;          // --nccl-chooses: its tuner decides, and not the plan
  double deadline_seconds = 30;       // --deadline: nothing moves for so long
  double busy_max = 1;                // --busy-max: of the computer's core time, else the run is unhealthy
  std::filesystem::path routing_out;  // --routing-out: what the model's own router decided
  std::string experts = "auto";       // --experts: how GPUs make their products
};

struct PredictOptions {
  std::filesystem::path ops;          // a file, or "-" or nothing for standard input
  std::filesystem::path topology;     // empty: the one that is shipped
  std::filesystem::path calibration;  // instead of the topology's
  std::string framework;              // where a line does not say; empty for the calibration's default
};

struct CompareOptions {
  std::filesystem::path a;
  std::filesystem::path b;           // empty: what was published for the scenario of a
  std::vector<std::string> fail_if;  // --fail-if: gates
  bool by_layer = false;             // --by layer instead of kind
  bool cpu = false;                  // --clock cpu: CPU time too
  bool brief = false;                // --brief: one line
  bool critical_path = false;        // --critical-path: of both sides
  bool across = false;               // --across: of different plans
  std::filesystem::path trace;       // --trace: both timelines in one file for ui.perfetto.dev
  std::filesystem::path csv;         // --csv: the ops of both, one line each
  std::filesystem::path errors;      // --errors: how far A's calibration is off; empty: as shipped with it
  std::filesystem::path suite;       // --suite: a folder of published cases instead of A and B
  bool gate = false;                 // --gate: fail where a family of the suite is worse than what was accepted
  PredictOptions predict;            // of the suite: --topology, --calibration, --framework
  bool json = false;
};

struct ExplainOptions {
  std::filesystem::path result;
  std::filesystem::path topology;     // --topology: what a prediction was made for, if it is not found
  std::filesystem::path calibration;  // --calibration: what it was made with, if not the topology's
  bool json = false;
};

struct AuditOptions {
  std::filesystem::path audit;         // a file of kind audit, or a folder with one
  std::vector<std::string> overrides;  // --set, in every scenario
  std::filesystem::path calibration;   // --calibration: instead of the topologies'
  std::string framework;               // --framework: whose kernels
  bool json = false;
  std::filesystem::path out;
};

struct ModelOptions {
  std::filesystem::path file;          // a Hugging Face config, a description of ours, or a scenario
  std::vector<std::string> overrides;  // --set, of a scenario
  bool json = false;
};

struct ImportOptions {
  std::vector<std::filesystem::path> files;
  std::string format;                 // --format; empty: told from the file
  std::vector<std::string> settings;  // --set: what a log does not say
  bool keep_good = false;             // --keep-good: leave out what is damaged
  bool json = false;
  std::filesystem::path out;
  std::filesystem::path links;        // --links: a calibration to write, with the links as measured
  std::filesystem::path calibration;  // --calibration: everything else of it; empty: the shipped one
};

struct TopologyOptions {
  std::filesystem::path topology;
  bool json = false;
};

struct TopologyImportOptions {
  std::filesystem::path file;
  std::string format;                 // --format; empty: told from the file
  std::vector<std::string> settings;  // --set: what the file does not say
  std::filesystem::path out;
};

struct FitOptions {
  std::filesystem::path sources;
  std::filesystem::path device;
  std::filesystem::path out;
  std::filesystem::path report;
  std::int64_t seed = 1;  // deals groups to folds
};

struct DoctorOptions {
  std::filesystem::path calibration;
  std::filesystem::path device;          // --device; empty: the shipped datasheet of the calibration's device
  std::filesystem::path against;         // --against; empty: the shipped calibration of an H100
  std::filesystem::path against_device;  // --against-device; as device
  bool json = false;
};

struct DeriveOptions {
  std::filesystem::path from;      // --from: the calibration that was measured
  std::filesystem::path measured;  // --measured: datasheet of its GPU
  std::filesystem::path device;    // --device: datasheet of the other
  std::string nvlink;              // --nvlink
  std::string at_best = "extrapolated";
  std::filesystem::path out;
};

struct CalibrateHostOptions {
  std::filesystem::path out;                     // --out: a folder
  std::vector<std::filesystem::path> scenarios;  // --for
  double budget_seconds = 60;                    // --budget
  std::int64_t seed = 1;                         // --seed: of the order of probes
  bool json = false;
};

struct CalibrateNetworkOptions {
  std::filesystem::path topology;
  std::filesystem::path calibration;  // read, and written again
  std::int64_t iterations = 20;
};

struct CollectiveOptions {
  std::string operation;
  std::filesystem::path topology;
  std::filesystem::path calibration;  // instead of the topology's
  std::int64_t ranks = 0;             // 0: all that there are
  std::string sizes;                  // --sizes
  std::string dtype;
  std::string algorithm;
  std::string pattern;
  std::string tokens;
  std::int64_t hidden = 0;  // of exchanges; 0: not given
  std::int64_t top_k = 0;
  std::int64_t experts = 0;
  std::int64_t sms = 0;
  std::string communicator;  // on a host: whose messages; empty for the calibration's first
  bool ideal = false;
  bool zero_latency = false;
  double accuracy = 0;
  double time_limit = sim::kSharingSecondsMax;  // of sharing links, seconds
  std::filesystem::path flows;
  bool live = false;
  std::int64_t iterations = 0;     // of a live run; 0: not given
  std::optional<double> busy_max;  // --busy-max: as of run
  bool json = false;
  std::filesystem::path out;
};

struct ScoreOptions : PredictOptions {
  std::vector<std::string> by{"op", "dtype", "framework"};  // --by: members of a line that make a family
  bool json = false;
};

/// What the simulator is told of it.
sim::SimulateOptions simulation_options(const SimulateOptions& options);

void run_plan(const PlanOptions& options, std::ostream& out);
void run_launch(const LaunchOptions& options, std::ostream& out);
void run_simulate(const SimulateOptions& options, std::ostream& out, std::ostream& err);
void run_run(const RunOptions& options, std::ostream& out);
void run_compare(const CompareOptions& options, std::ostream& out, std::ostream& err);
/// The first option given that needs the trace of both sides, or nullptr.
const char* needs_traces(const CompareOptions& options);
void run_suite(const CompareOptions& options, std::ostream& out, std::ostream& err);
void run_explain(const ExplainOptions& options, std::ostream& out, std::ostream& err);
void run_audit(const AuditOptions& options, std::ostream& out, std::ostream& err);
void run_collective(const CollectiveOptions& options, std::ostream& out, std::ostream& err);
void run_predict(const PredictOptions& options, std::istream& in, std::ostream& out, std::ostream& err);
void run_score(const ScoreOptions& options, std::istream& in, std::ostream& out, std::ostream& err);
void run_model(const ModelOptions& options, std::ostream& out);
/// The bytes of a file, or of standard input for "-".
/// @throws Error{invalid_input} if it cannot be read, or has more than 256 MiB
std::string read_log(const std::filesystem::path& file);
void run_import(const ImportOptions& options, std::ostream& out, std::ostream& err);
void run_topology(const TopologyOptions& options, std::ostream& out);
void run_topology_import(const TopologyImportOptions& options, std::ostream& out, std::ostream& err);
void run_schema(const std::string& name, std::ostream& out);
void run_fit(const FitOptions& options, std::ostream& out, std::ostream& err);
void run_doctor(const DoctorOptions& options, std::ostream& out);
void run_derive(const DeriveOptions& options, std::ostream& out);
void run_calibrate_host(const CalibrateHostOptions& options, std::ostream& out, std::ostream& err);
void run_calibrate_network(const CalibrateNetworkOptions& options, std::ostream& out, std::ostream& err);

}  // namespace foretoken::cli
