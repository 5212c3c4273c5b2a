#include "tools/cli/cli.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <iostream>
#include <new>
#include <ostream>

#include "calibrate/import/log_formats.hpp"
#include "core/error.hpp"
#include "plan/scenario/limits.hpp"
#include "tools/cli/advise_command.hpp"
#include "tools/cli/calibrate_cuda_command.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/completion.hpp"
#include "tools/cli/doctor_live_command.hpp"
#include "tools/cli/interval_options.hpp"
#include "tools/cli/planning_commands.hpp"
#include "tools/cli/schemas.hpp"
#include "tools/cli/topology_commands.hpp"
#include "tools/cli/validators.hpp"
#include "tools/cli/version.hpp"

namespace foretoken::cli {
namespace {

constexpr const char* kExamples =
    "Examples:\n"
    "  foretoken simulate scenarios/paper/large-ep64.json\n"
    "  foretoken simulate scenarios/paper/*.json --set workload.context=512\n"
    "  foretoken simulate scenarios/paper/baseline-tp8-pp2.json --choices\n"
    "  foretoken simulate scenarios/paper/large-ep64.json --json | jq .tpot_ms.mean\n"
    "  foretoken plan scenarios/paper/large-ep64.json --text | less\n"
    "  foretoken compare predicted.json measured.json --fail-if 'tpot>10%'\n"
    "  foretoken audit scenarios/paper\n"
    "  foretoken sweep scenarios/paper/large-ep64.json --set deployment.experts.ep=8..64*2\n"
    "  foretoken predict ops.jsonl > answers.jsonl\n"
    "  foretoken schema scenario > scenario.schema.json\n";

constexpr const char* kExitCodes =
    "Exit codes: 0 ok, 1 internal error, 2 bad usage or input, 3 infeasible (memory), 4 a gate failed,\n"
    "            5 measurement unhealthy, 6 a rank, device or link failed, 130 interrupted.";

void add_scenario_options(CLI::App& command, ScenarioOptions& options) {
  command.add_option("scenario", options.scenarios, "Scenario file(s)")
      ->required()
      ->type_name("FILE")
      ->check(kNotEmpty);
  command
      .add_option("--set", options.overrides,
                  "Override a field of the scenario: --set deployment.micro_batches=8 (repeatable)")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->take_all();
  command.add_option("--topology", options.topology, "Use this machine instead of the scenario's cluster.topology")
      ->type_name("FILE")
      ->check(kNotEmpty);
  command.add_flag("--json", options.json, "Machine-readable output");
  command.add_option("--out", options.out, "Also store the whole result in FILE, whole or not at all")
      ->type_name("FILE")
      ->check(kNotEmpty);
}

CLI::App* add_launch(CLI::App& app, LaunchOptions& options) {
  CLI::App* launch = app.add_subcommand(
      "launch", "Print the job that runs a scenario's ranks on a cluster, one process for each, node by node");
  launch->footer(
      "Examples: foretoken launch scenarios/paper/large-ep64.json --slurm > job.sh && sbatch job.sh\n"
      "          foretoken launch scenarios/paper/large-ep64.json --mpirun > job.sh && bash job.sh hosts\n"
      "          foretoken launch scenarios/paper/large-ep64.json --k8s --image registry/foretoken | kubectl create -f "
      "-");
  add_scenario_options(*launch, options);
  launch->add_flag("--slurm", options.slurm, "For sbatch");
  launch->add_flag("--mpirun", options.mpirun, "For Open MPI's or MPICH's mpirun");
  launch->add_flag("--k8s", options.k8s, "For Kubernetes with the MPI operator: an MPIJob as JSON");
  launch->add_option("--time", options.minutes, "That the job may take (default 15)")
      ->type_name("MINUTES")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{10'080}));
  launch->add_option("--image", options.image, "k8s: container image with foretoken, mpirun and sshd")
      ->type_name("IMAGE")
      ->check(kNotEmpty);
  launch->add_option("--directory", options.directory, "k8s: where the image has the scenario's path")
      ->type_name("DIR")
      ->check(kNotEmpty);
  return launch;
}

CLI::App* add_compare(CLI::App& app, CompareOptions& options) {
  CLI::App* compare = app.add_subcommand(
      "compare",
      "Compare two results of one plan, stored with --out, and explain the difference in TPOT as a sum of causes.\n"
      "A is usually the prediction and B the measurement; without B, A is compared with what was published for it.\n"
      "B may be what a serving benchmark stored (vLLM, SGLang, AIPerf): then end-to-end figures are compared");
  compare->footer(
      "Examples: foretoken simulate scenario.json --out predicted.json\n"
      "          foretoken run scenario.json --out measured.json\n"
      "          foretoken compare predicted.json measured.json --fail-if 'tpot>10%'\n"
      "          foretoken compare tp8-pp2.json ep64.json --across\n"
      "          foretoken compare --suite scenarios/published --gate");
  compare->add_option("A", options.a, "Result, as stored by simulate --out or run --out")
      ->type_name("FILE")
      ->check(kNotEmpty);
  compare->add_option("B", options.b, "Result of the same plan, or of a serving benchmark, to hold it against")
      ->type_name("FILE")
      ->check(kNotEmpty);
  compare
      ->add_option_function<std::string>(
          "--by", [&options](const std::string& by) { options.by_layer = by == "layer"; },
          "Sum the causes by kind of op (default) or by layer")
      ->check(CLI::IsMember({"kind", "layer"}));
  compare
      ->add_option_function<std::string>(
          "--clock", [&options](const std::string& clock) { options.cpu = clock == "cpu"; },
          "step: time as it passes on the slowest rank (default); cpu: also CPU time of all ranks, by op")
      ->check(CLI::IsMember({"step", "cpu"}));
  compare
      ->add_option("--fail-if", options.fail_if,
                   "Exit with 4 if an error, either way, is larger: --fail-if 'tpot>10%'; tpot, tps, step or cpu "
                   "(repeatable)")
      ->type_name("CONDITION")
      ->expected(1)
      ->take_all();
  compare->add_flag("--brief", options.brief, "One line: scenario, TPOT and CPU time of A, of B, and their errors");
  compare->add_flag("--critical-path", options.critical_path,
                    "Also what the last token of each side waited for, across ranks");
  compare->add_flag("--across", options.across,
                    "The results may be of different deployments: why one is faster than the other");
  compare->add_option("--trace", options.trace, "Also store both timelines in FILE.json, for ui.perfetto.dev")
      ->type_name("FILE")
      ->check(kNotEmpty);
  compare->add_option("--csv", options.csv, "Also store the ops of both sides in FILE, one line each")
      ->type_name("FILE")
      ->check(kNotEmpty);
  compare
      ->add_option("--errors", options.errors,
                   "How far predictions of ops are off (kind model_errors), for 90 % intervals (default: as shipped "
                   "for A's calibration)")
      ->type_name("FILE")
      ->check(kNotEmpty);
  compare
      ->add_option("--suite", options.suite,
                   "Instead of A and B: a folder of published measurements, each held against its prediction")
      ->type_name("DIR")
      ->check(kNotEmpty);
  compare->add_flag("--gate", options.gate,
                    "With --suite: exit with 4 if a family is worse than accepted.json of the folder allows");
  compare->add_option("--topology", options.predict.topology, "With --suite: the machine (default: as shipped)")
      ->type_name("FILE")
      ->check(kNotEmpty);
  compare->add_option("--calibration", options.predict.calibration, "With --suite: instead of the topology's")
      ->type_name("FILE")
      ->check(kNotEmpty);
  compare->add_flag("--json", options.json, "Machine-readable output");
  return compare;
}

CLI::App* add_explain(CLI::App& app, ExplainOptions& options) {
  CLI::App* explain = app.add_subcommand(
      "explain",
      "Say of one stored result why it took as long as it did: where a step goes, the critical path across ranks and\n"
      "layers, communication that nothing hides, bubbles, and who made others wait. A prediction is simulated again "
      "to\n"
      "say what links carried and what better resources would bring");
  explain->footer(
      "Example: foretoken simulate scenarios/paper/large-ep64.json --out result.json && foretoken explain result.json");
  explain->add_option("result", options.result, "Result, as stored by simulate --out or run --out")
      ->required()
      ->type_name("FILE")
      ->check(kNotEmpty);
  explain->add_option("--topology", options.topology, "Of a prediction: the machine, where it is not found by itself")
      ->type_name("FILE")
      ->check(kNotEmpty);
  explain
      ->add_option("--calibration", options.calibration,
                   "Of a prediction: its calibration, if it is not the topology's")
      ->type_name("FILE")
      ->check(kNotEmpty);
  explain->add_flag("--json", options.json, "Machine-readable output");
  return explain;
}

CLI::App* add_model(CLI::App& app, ModelOptions& options) {
  CLI::App* model = app.add_subcommand(
      "model",
      "Show how large a model is: parameters, active parameters, bytes of weights, KV cache per token; of a scenario\n"
      "also what each rank holds. FILE is a config.json of Hugging Face, a description of ours (scenarios/models/) or "
      "a\n"
      "scenario");
  model->footer(
      "Examples: foretoken model scenarios/models/deepseek-v3.json\n"
      "          foretoken model config.json --json | jq .parameters.active");
  model->add_option("model", options.file, "Whose size to show")->required()->type_name("FILE")->check(kNotEmpty);
  model
      ->add_option("--set", options.overrides,
                   "Override a field of the scenario: --set model.dtype.kv_cache=fp8 (repeatable)")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->take_all();
  model->add_flag("--json", options.json, "Machine-readable output");
  return model;
}

CLI::App* add_audit(CLI::App& app, AuditOptions& options) {
  CLI::App* audit = app.add_subcommand(
      "audit",
      "Hold a published claim against the simulator: every combination of what the publication leaves open, which of\n"
      "them agree with its figures, the speed-up under the others, and a verdict on each of its statements");
  audit->footer("Example: foretoken audit scenarios/paper");
  audit->add_option("audit", options.audit, "File of kind audit, or a folder with audit/audit.json")
      ->required()
      ->type_name("PATH")
      ->check(kNotEmpty);
  audit->add_option("--set", options.overrides, "Override a field of every scenario: --set routing.seed=2 (repeatable)")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->take_all();
  audit->add_option("--calibration", options.calibration, "Use this calibration instead of the topologies'")
      ->type_name("FILE")
      ->check(kNotEmpty);
  audit->add_option("--framework", options.framework, "Whose kernels to predict: vllm, sglang, trtllm")
      ->type_name("NAME");
  audit->add_flag("--json", options.json, "Machine-readable output");
  audit->add_option("--out", options.out, "Also store the JSON in FILE, whole or not at all")
      ->type_name("FILE")
      ->check(kNotEmpty);
  return audit;
}

// How long anybody would wait for links to be shared, by a rough estimate beforehand.
void add_accuracy(CLI::App& command, double& accuracy) {
  command
      .add_option("--accuracy", accuracy,
                  "Share links to this accuracy, for speed: makespans come out within about twice this (default 0: "
                  "exact)")
      ->type_name("ERROR")
      ->check(CLI::Range(0.0, 0.1))
      ->check(kNotNan);
}

void add_time_limit(CLI::App& command, double& seconds) {
  command
      .add_option("--time-limit", seconds,
                  "Refuse what would take longer to share links for, by a rough estimate (default 600)")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.0, 1e9))
      ->check(kNotNan);
}

CLI::App* add_collective(CLI::App& app, CollectiveOptions& options) {
  CLI::App* collective = app.add_subcommand(
      "collective",
      "Predict what nccl-tests would print on a cluster: time, algbw and busbw of one operation by size\n"
      "size: all_reduce the buffer on each rank; all_gather what is gathered; reduce_scatter the input; all_to_all(_v) "
      "the\n"
      "      (largest) send buffer, one's own part included; send_recv one message; dispatch, combine one rank's "
      "tokens,\n"
      "      each times top-k\n"
      "algbw = size / time. busbw = algbw x 2 (n-1)/n for all_reduce, (n-1)/n for all_gather, reduce_scatter and\n"
      "      all_to_all, 1 for send_recv; all_to_all_v: the most that a rank sends to others or receives / time;\n"
      "      dispatch, combine: what a rank sends over NVLink and NIC / time. GB/s are 10^9 bytes per second");
  collective->footer(
      "Examples: foretoken collective all_reduce --topology topologies/hgx-h100-2nodes-ndr400.json --sizes 8:8G:2\n"
      "          foretoken collective dispatch --topology topologies/hgx-h100-8nodes-ndr400.json --tokens 1:4K:2\n"
      "          foretoken collective --flows flows.csv --topology topologies/hgx-h100-2nodes-ndr400.json --ideal\n"
      "          mpirun -n 4 foretoken collective all_reduce --live --sizes 8:64M:8");
  collective->add_option("operation", options.operation, "What the ranks do")
      ->type_name("{all_reduce,all_gather,reduce_scatter,all_to_all,all_to_all_v,send_recv,dispatch,combine}")
      ->check(kNotEmpty);
  collective->add_option("--topology", options.topology, "The machine")->type_name("FILE")->check(kNotEmpty);
  collective->add_option("--calibration", options.calibration, "Use this calibration instead of the topology's")
      ->type_name("FILE")
      ->check(kNotEmpty);
  collective
      ->add_option(
          "--sizes", options.sizes,
          "begin:end:factor, or a list with commas; K, M, G are 2^10, 2^20, 2^30 (default 8:8G:2, live 8:64M:2)")
      ->type_name("BYTES")
      ->check(kNotEmpty);
  collective->add_option("--ranks", options.ranks, "Ranks that take part, node by node (default: all)")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 20));
  collective->add_option("--dtype", options.dtype, "Of an element (default fp32; dispatch fp8, combine bf16)")
      ->type_name("{fp32,fp16,bf16,fp8,int32}");
  collective
      ->add_option("--algorithm", options.algorithm, "How it is carried out (default auto: as NCCL or DeepEP would)")
      ->type_name("{auto,ring,direct,nvls,tree,nvls_tree,pairwise,low_latency,hierarchical}");
  collective
      ->add_option("--pattern", options.pattern,
                   "all_to_all_v: uniform, skewed (rank j is sent a share like 1/(j+1)), or a file of ranks x ranks "
                   "weights, one line per sender")
      ->type_name("FILE")
      ->check(kNotEmpty);
  collective->add_option("--tokens", options.tokens, "dispatch, combine: tokens per rank, as --sizes (default 128)")
      ->type_name("TOKENS")
      ->check(kNotEmpty);
  const auto shape = [&](const char* name, std::int64_t& value, const char* help, std::int64_t most) {
    collective->add_option(name, value, help)->type_name("N")->check(CLI::Range(std::int64_t{1}, most));
  };
  shape("--hidden", options.hidden, "dispatch, combine: values of a token (default 7168)", std::int64_t{1} << 20);
  shape("--top-k", options.top_k, "dispatch, combine: experts of a token (default 8)", 4096);
  shape("--experts", options.experts, "dispatch, combine: experts over all ranks (default 256)", std::int64_t{1} << 20);
  shape("--sms", options.sms, "dispatch, combine: SMs of the hierarchical kernels (default 20)", 1024);
  collective
      ->add_option("--communicator", options.communicator,
                   "On a topology that is a host: who carries messages, among those that its calibration has")
      ->type_name("NAME")
      ->check(kNotEmpty);
  collective->add_flag("--ideal", options.ideal,
                       "No protocol efficiency and no cost per message: bytes over links, and the hops' latencies");
  collective->add_flag("--zero-latency", options.zero_latency, "Transfers begin at once");
  add_accuracy(*collective, options.accuracy);
  add_time_limit(*collective, options.time_limit);
  collective
      ->add_option("--flows", options.flows,
                   "Instead of an operation: a table source,destination,bytes,start_us; gives each flow's completion")
      ->type_name("FILE")
      ->check(kNotEmpty);
  collective->add_flag("--live", options.live,
                       "Measure it on this computer's CPUs: ranks are threads, or processes under mpirun");
  collective->add_option("--iterations", options.iterations, "live: that a time is the mean of (default 20)")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{100'000}));
  collective
      ->add_option(
          "--busy-max", options.busy_max,
          "live: end with exit code 5 if more than this share of the computer's core time was used while a size "
          "was measured, by anybody: then no network was the bottleneck (default 1)")
      ->check(CLI::Range(0.0, 1.0))
      ->type_name("SHARE");
  collective->add_flag("--json", options.json, "Machine-readable output");
  collective->add_option("--out", options.out, "Also store the JSON in FILE, whole or not at all")
      ->type_name("FILE")
      ->check(kNotEmpty);
  return collective;
}

void add_predict_options(CLI::App& command, PredictOptions& options) {
  command.add_option("ops", options.ops, "Ops, one JSON object per line (default: standard input)")
      ->type_name("FILE")
      ->check(kNotEmpty);
  command.add_option("--calibration", options.calibration, "Use this calibration instead of the topology's")
      ->type_name("FILE")
      ->check(kNotEmpty);
  command.add_option("--topology", options.topology, "The machine (default: HGX H100 nodes, as shipped)")
      ->type_name("FILE")
      ->check(kNotEmpty);
  command
      .add_option("--framework", options.framework,
                  "Whose kernels, where a line does not say: vllm, sglang, trtllm (default: the calibration's)")
      ->type_name("NAME")
      ->check(kNotEmpty);
}

CLI::App* add_predict(CLI::App& app, PredictOptions& options) {
  CLI::App* predict = app.add_subcommand(
      "predict",
      "Answer ops, one JSON object per line: the same line with time_us, low_us, high_us and provenance\n"
      "gemm: m, n, k. grouped_gemm: rows (per expert), n, k. attention_decode, attention_prefill: batch, context, "
      "heads,\n"
      "      kv_heads, head_dim. mla_decode, mla_prefill: batch, context, heads. moe_module: tokens (of all GPUs), "
      "hidden,\n"
      "      expert_hidden, experts, top_k, tp, ep, distribution (balanced, uniform, power_law_1.2), without "
      "communication.\n"
      "      all_reduce, all_gather, reduce_scatter, all_to_all, send_recv: ranks, nodes, bytes, algorithm.\n"
      "      dispatch, combine: ep, nodes, tokens (of a rank), hidden, top_k, experts, algorithm\n"
      "Each may have dtype and framework; what is not known is passed through. `foretoken schema op` says all of it\n"
      "low_us to high_us is a 90 % interval, from the calibration's errors on measurements that its fit did not see; "
      "null\n"
      "      where these say nothing. A line that cannot be answered comes back with \"error\", and the exit code is "
      "2");
  predict->footer(
      "Examples: echo '{\"op\": \"gemm\", \"dtype\": \"bf16\", \"m\": 128, \"n\": 8192, \"k\": 4096}' | foretoken "
      "predict\n"
      "          foretoken predict ops.jsonl --framework trtllm > answers.jsonl\n"
      "          foretoken predict --calibration mine.json --topology topologies/hgx-h100-8nodes-ndr400.json < "
      "ops.jsonl");
  add_predict_options(*predict, options);
  return predict;
}

CLI::App* add_score(CLI::App& app, ScoreOptions& options) {
  CLI::App* score =
      app.add_subcommand("score",
                         "Hold predictions against measurements: lines as of predict, each with measured_us\n"
                         "By family the median of predicted / measured - 1 (negative: predicted too fast), median and "
                         "p90 of its size, the\n"
                         "      worst, and how many measurements lie in the 90 % interval of their prediction");
  score->footer(
      "Examples: foretoken score measured.jsonl\n"
      "          foretoken score measured.jsonl --by op,framework,ranks --json | jq '.families[].median_abs_error'");
  add_predict_options(*score, options);
  score
      ->add_option_function<std::string>(
          "--by", [&options](const std::string& keys) { options.by = CLI::detail::split(keys, ','); },
          "Members of a line that make a family, with commas (default op,dtype,framework); any member will do")
      ->type_name("KEYS")
      ->check(kNotEmpty);
  score->add_flag("--json", options.json, "Machine-readable output");
  return score;
}

CLI::App* add_doctor(CLI::App& app, DoctorOptions& options) {
  CLI::App* doctor = app.add_subcommand(
      "doctor", "What looks wrong in a calibration of a GPU: against its datasheet and a sibling, with the evidence");
  doctor->footer(
      "Example: foretoken doctor my-cluster.json --against topologies/calibrations/h100-sxm.json\n"
      "Named are rates that no hardware has, throttled clocks, slow memory, NVLS that was off, missing links, slow "
      "NICs, "
      "late messages, untuned kernels, fits with large errors. Exit code 5 if anything is.\n"
      "Live:    mpirun -n 16 foretoken doctor --live --for scenarios/laptop/large-ep-r16.json");
  doctor->add_option("calibration", options.calibration, "Calibration to look at")->type_name("FILE")->check(kNotEmpty);
  doctor->add_option("--device", options.device, "Datasheet of its GPU (default: the shipped one of that name)")
      ->type_name("FILE")
      ->check(kNotEmpty);
  doctor
      ->add_option("--against", options.against,
                   "A calibration that is known to be good, of this or another GPU (default: the shipped H100's)")
      ->type_name("FILE")
      ->check(kNotEmpty);
  doctor
      ->add_option("--against-device", options.against_device, "Datasheet of that one's GPU (default: the shipped one)")
      ->type_name("FILE")
      ->check(kNotEmpty);
  doctor->add_flag("--json", options.json, "Machine-readable output");
  return doctor;
}

// The formats of measurements.
std::vector<std::string> log_format_names() {
  std::vector<std::string> names;
  for (const auto& [format, name] : calibrate::kLogFormatNames)
    if (!calibrate::is_topology(format)) names.emplace_back(name);
  return names;
}

CLI::App* add_import(CLI::App& app, ImportOptions& options) {
  CLI::App* import = app.add_subcommand(
      "import",
      "Turn logs of nccl-tests, nvbandwidth, perftest and DeepEP's tests, and tables of ops, into lines for score\n"
      "One op per line on standard output; on standard error what became of each file. A damaged log is an error that\n"
      "names file and line; what a log does not say is asked for with --set");
  import->footer(
      "Examples: foretoken import all_reduce.log > measured.jsonl && foretoken score measured.jsonl --by op,bytes\n"
      "          srun -l all_reduce_perf -b 8 -e 8G -f 2 | foretoken import - | foretoken score\n"
      "          foretoken import deepep.log --set nodes=1 --set tokens=128 --set hidden=7168 --set top_k=8 --set "
      "experts=288");
  import->add_option("file", options.files, "Log(s); - is standard input")
      ->required()
      ->type_name("FILE")
      ->check(kNotEmpty);
  const std::vector<std::string> names = log_format_names();
  import->add_option("--format", options.format, "What the logs are (default: told from the file)")
      ->check(CLI::IsMember(names))
      ->type_name(fmt::format("{{{}}}", fmt::join(names, ",")));
  import->add_option("--set", options.settings, "What a log does not say: --set tokens=128 (repeatable)")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->take_all();
  import->add_flag("--keep-good", options.keep_good, "Leave out what is damaged instead of refusing the log");
  import->add_flag("--json", options.json, "One JSON document: what became of each file, and the ops");
  import->add_option("--out", options.out, "Write the lines to FILE, whole or not at all")
      ->type_name("FILE")
      ->check(kNotEmpty);
  import
      ->add_option(
          "--links", options.links,
          "Also write a calibration to FILE whose links have the bandwidth that nvbandwidth and perftest found")
      ->type_name("FILE")
      ->check(kNotEmpty);
  import->add_option("--calibration", options.calibration, "With --links: all else of it (default: as shipped)")
      ->type_name("FILE")
      ->check(kNotEmpty);
  return import;
}

}  // namespace

int run(const std::vector<std::string>& arguments, std::ostream& out, std::ostream& err) {
  CLI::App app{"foretoken predicts how fast a Mixture-of-Experts language model serves on a GPU cluster.\n\n" +
                   std::string(kExamples),
               "foretoken"};
  app.footer(kExitCodes);
  app.require_subcommand(1);
  app.set_version_flag("--version", "foretoken " + std::string(version()));

  std::function<void()> chosen;

  PlanOptions plan_options;
  CLI::App* plan =
      app.add_subcommand("plan", "Show the program that every rank runs in a step, and what memory it needs");
  plan->footer("Example: foretoken plan scenarios/paper/large-ep64.json --text");
  add_scenario_options(*plan, plan_options);
  plan->add_flag("--text", plan_options.text, "The whole program by role, one op per line");
  plan->add_flag("--check-nccl", plan_options.check_nccl,
                 "Also prove that the calls of NCCL of all ranks match in order, counts and groups, and cannot "
                 "deadlock; exit code 4 if not");
  plan->callback([&] { chosen = [&] { run_plan(plan_options, out); }; });

  LaunchOptions launch_options;
  add_launch(app, launch_options)->callback([&] { chosen = [&] { run_launch(launch_options, out); }; });

  SimulateOptions simulate_options;
  CLI::App* simulate = app.add_subcommand("simulate", "Predict TPS and TPOT of scenarios from a calibration");
  simulate->footer(
      "Examples: foretoken simulate scenarios/paper/*.json --set workload.context=512\n"
      "          foretoken simulate scenarios/paper/large-ep64.json --explain --sensitivity --trace timeline.json\n"
      "          foretoken simulate scenarios/paper/large-ep64.json --layers-sampled 8");
  add_scenario_options(*simulate, simulate_options);
  simulate->add_option("--calibration", simulate_options.calibration, "Use this calibration instead of the topology's")
      ->type_name("FILE")
      ->check(kNotEmpty);
  simulate
      ->add_option("--framework", simulate_options.framework,
                   "Whose kernels to predict, among those that the calibration has: vllm, sglang, trtllm")
      ->type_name("NAME");
  simulate
      ->add_option("--communicator", simulate_options.communicator,
                   "On a host: who carries messages, among those that the calibration has: threads, mpi")
      ->type_name("NAME");
  add_accuracy(*simulate, simulate_options.accuracy);
  simulate
      ->add_option("--layers-sampled", simulate_options.layers_sampled,
                   "Simulate only N of the model's layers, which stand for all, and state the error that this makes")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{1}, plan::kLayersMax));
  add_time_limit(*simulate, simulate_options.time_limit);
  IntervalOptions interval_options;
  add_interval_options(*simulate, interval_options);
  simulate->add_flag("--brief", simulate_options.brief, "One line per scenario, without the breakdown");
  simulate->add_flag("--choices", simulate_options.choices,
                     "Also simulate each option of what the scenario declares as open, beside what was published");
  simulate->add_flag("--explain", simulate_options.explain,
                     "Also say why: the critical path across ranks, who was late, what the links carried");
  simulate->add_flag("--sensitivity", simulate_options.sensitivity,
                     "Also simulate with each resource 10 % better, one at a time: what to buy next");
  simulate
      ->add_option("--trace", simulate_options.trace,
                   "Also store the timeline in FILE.json, for ui.perfetto.dev or chrome://tracing")
      ->type_name("FILE")
      ->check(kNotEmpty);
  simulate
      ->add_option("--nccl-choices", simulate_options.nccl_choices,
                   "Collectives by the algorithms that NCCL chose in this result of run --backend cuda --nccl-chooses")
      ->type_name("FILE")
      ->check(kNotEmpty);
  simulate->callback([&] { chosen = [&] { run_simulate(simulate_options, interval_options, out, err); }; });

  RunOptions run_options;
  CLI::App* run = app.add_subcommand(
      "run",
      "Execute a scenario live on this computer's CPUs: ranks are threads, or processes under mpirun; or on GPUs");
  run->footer("Example: mpirun -n 16 foretoken run scenario.json --set 'model.dtype={\"weights\":\"fp32\"}'");
  add_scenario_options(*run, run_options);
  run->add_option("--backend", run_options.backend,
                  "host: on CPUs, in fp32 (default); cuda: on GPUs, one process per GPU, messages by NCCL")
      ->check(CLI::IsMember({"host", "cuda"}))
      ->type_name("NAME");
  run->add_flag("--nccl-chooses", run_options.nccl_chooses,
                "With --backend cuda: NCCL chooses the algorithms of collectives; the result records which");
  run->add_option("--deadline", run_options.deadline_seconds,
                  "End the run with exit code 6 when nothing has moved for this many seconds (default 30)")
      ->check(CLI::Range(0.1, 86400.0))
      ->type_name("SECONDS");
  run->add_option("--busy-max", run_options.busy_max,
                  "End with exit code 5 if more than this share of the computer's core time was used, by anybody: then "
                  "no network was the bottleneck (default 1)")
      ->check(CLI::Range(0.0, 1.0))
      ->type_name("SHARE");
  run->add_option("--routing-out", run_options.routing_out,
                  "Where routing.kind is \"model\": store what the router decided in FILE, for routing.kind "
                  "\"recorded\"")
      ->type_name("FILE")
      ->check(kNotEmpty);
  run->callback([&] { chosen = [&] { run_run(run_options, out); }; });

  CompareOptions compare_options;
  add_compare(app, compare_options)->callback([&] {
    chosen = [&] {
      if (compare_options.suite.empty()) run_compare(compare_options, out, err);
      else run_suite(compare_options, out, err);
    };
  });

  ExplainOptions explain_options;
  add_explain(app, explain_options)->callback([&] { chosen = [&] { run_explain(explain_options, out, err); }; });

  AuditOptions audit_options;
  add_audit(app, audit_options)->callback([&] { chosen = [&] { run_audit(audit_options, out, err); }; });

  PlanningOptions planning_options;
  add_planning_commands(app, planning_options, chosen, out, err);

  CollectiveOptions collective_options;
  add_collective(app, collective_options)->callback([&] {
    chosen = [&] { run_collective(collective_options, out, err); };
  });

  PredictOptions predict_options;
  add_predict(app, predict_options)->callback([&] {
    chosen = [&] { run_predict(predict_options, std::cin, out, err); };
  });

  ScoreOptions score_options;
  add_score(app, score_options)->callback([&] { chosen = [&] { run_score(score_options, std::cin, out, err); }; });

  ModelOptions model_options;
  add_model(app, model_options)->callback([&] { chosen = [&] { run_model(model_options, out); }; });
  ImportOptions import_options;
  add_import(app, import_options)->callback([&] { chosen = [&] { run_import(import_options, out, err); }; });

  TopologyCommands topology_options;
  add_topology_commands(app, topology_options, chosen, out, err);

  std::string schema_name;
  CLI::App* schema = app.add_subcommand("schema", "Print the JSON Schema of a file format");
  schema->footer("Example: foretoken schema scenario > scenario.schema.json");
  schema->add_option("name", schema_name, "Which format")
      ->required()
      ->type_name(fmt::format("{{{}}}", fmt::join(schema_names(), ",")));
  schema->callback([&] { chosen = [&] { run_schema(schema_name, out); }; });

  DoctorOptions doctor_options;
  DoctorLiveOptions doctor_live_options;
  CLI::App* doctor = add_doctor(app, doctor_options);
  add_doctor_live(*doctor, doctor_live_options);
  doctor->callback([&] { chosen = [&] { run_doctor(doctor_options, doctor_live_options, out); }; });

  FitOptions fit_options;
  CLI::App* calibrate = app.add_subcommand("calibrate", "Make calibrations");
  calibrate->require_subcommand(1);
  AdviseOptions advise_options;
  add_advise(*calibrate, advise_options, chosen, out);
  CalibrateCudaOptions cuda_options;
  add_calibrate_cuda(*calibrate, cuda_options, chosen, out, err);
  CLI::App* fit = calibrate->add_subcommand("fit", "Fit a calibration to published measurements");
  fit->footer(
      "Example: foretoken calibrate fit --sources measurements/ --device topologies/devices/h100-sxm5-80gb.json --out "
      "h100-sxm.json");
  fit->add_option("--sources", fit_options.sources, "Directory with the measurement files")
      ->required()
      ->type_name("DIR")
      ->check(kNotEmpty);
  fit->add_option("--device", fit_options.device, "Datasheet of the GPU that was measured")
      ->required()
      ->type_name("FILE")
      ->check(kNotEmpty);
  fit->add_option("--out", fit_options.out, "Calibration to write")->required()->type_name("FILE")->check(kNotEmpty);
  fit->add_option("--report", fit_options.report, "Residual tables to write, in Markdown")
      ->type_name("FILE")
      ->check(kNotEmpty);
  fit->callback([&] { chosen = [&] { run_fit(fit_options, out, err); }; });

  DeriveOptions derive_options;
  CLI::App* derive = calibrate->add_subcommand(
      "derive",
      "Work out a calibration for a GPU that was not measured, from that of one that was and both datasheets");
  derive->footer(
      "Example: foretoken calibrate derive --from topologies/calibrations/h100-sxm.json --measured "
      "topologies/devices/h100-sxm5-80gb.json --device topologies/devices/h200-sxm-141gb.json --out h200-sxm.json\n"
      "What is bound by memory follows the memory's bandwidth, what is bound by arithmetic the peak; every prediction "
      "says "
      "that it is extrapolated, or assumed.");
  derive->add_option("--from", derive_options.from, "Calibration that was measured")
      ->required()
      ->type_name("FILE")
      ->check(kNotEmpty);
  derive->add_option("--measured", derive_options.measured, "Datasheet of the GPU that was measured")
      ->required()
      ->type_name("FILE")
      ->check(kNotEmpty);
  derive->add_option("--device", derive_options.device, "Datasheet of the GPU to predict for")
      ->required()
      ->type_name("FILE")
      ->check(kNotEmpty);
  derive
      ->add_option("--nvlink", derive_options.nvlink,
                   "NVLink bandwidth of one of its GPUs in one direction, if another: \"900 GB/s\"")
      ->type_name("RATE")
      ->check(kNotEmpty);
  derive->add_option("--at-best", derive_options.at_best, "What predictions rest on (default extrapolated)")
      ->check(CLI::IsMember({"extrapolated", "assumed"}))
      ->type_name("{extrapolated,assumed}");
  derive->add_option("--out", derive_options.out, "Calibration to write; its name is the file's")
      ->required()
      ->type_name("FILE")
      ->check(kNotEmpty);
  derive->callback([&] { chosen = [&] { run_derive(derive_options, out); }; });

  CalibrateHostOptions host_options;
  CLI::App* host = calibrate->add_subcommand(
      "host", "Measure what this computer's CPUs take, and fit a calibration; under mpirun also its messages by MPI");
  host->footer(
      "Example: foretoken calibrate host --out this-computer && mpirun -n 2 foretoken calibrate host --out "
      "this-computer\n"
      "What is measured is kept in DIR as it comes: after a kill the same command goes on. Remove DIR/unfinished.jsonl "
      "to begin anew.");
  host->add_option("--out", host_options.out, "Folder for topology, calibration, samples and residuals")
      ->required()
      ->type_name("DIR")
      ->check(kNotEmpty);
  host->add_option("--for", host_options.scenarios,
                   "Measure what this scenario needs (repeatable) instead of all kinds")
      ->type_name("FILE")
      ->check(kNotEmpty)
      ->expected(1)
      ->take_all();
  host->add_option("--budget", host_options.budget_seconds,
                   "Time to measure in at most, roughly: every probe is run three times at least, and computing ends "
                   "early where the 90 % interval of each median is within 1 % (default 60)")
      ->check(CLI::Range(0.1, 86400.0))
      ->type_name("SECONDS");
  host->add_option("--seed", host_options.seed, "Of the order of the probes (default 1)")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 53));
  host->add_flag("--json", host_options.json, "Machine-readable summary");
  host->callback([&] { chosen = [&] { run_calibrate_host(host_options, out, err); }; });

  CalibrateNetworkOptions network_options;
  CLI::App* network = calibrate->add_subcommand(
      "network",
      "Under mpirun, measure messages between nodes of CPUs, and add them to what calibrate host has written");
  network->footer(
      "Example: mpirun -n 8 foretoken calibrate network --topology topologies/lab/4x2.json --calibration "
      "mine/calibration.json");
  network->add_option("--topology", network_options.topology, "The nodes, with as many ranks as processes")
      ->required()
      ->type_name("FILE")
      ->check(kNotEmpty);
  network->add_option("--calibration", network_options.calibration, "Of the same computer; is replaced")
      ->required()
      ->type_name("FILE")
      ->check(kNotEmpty);
  network->add_option("--iterations", network_options.iterations, "That a time is the mean of (default 20)")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{3}, std::int64_t{100'000}));
  network->callback([&] { chosen = [&] { run_calibrate_network(network_options, out, err); }; });

  std::string shell;
  CLI::App* completion = app.add_subcommand("completion", "Print what makes a shell complete foretoken's arguments");
  completion->footer("Example: source <(foretoken completion bash)");
  completion->add_option("shell", shell, "Shell to complete in")
      ->required()
      ->type_name(fmt::format("{{{}}}", fmt::join(completion_shells(), ",")));
  completion->callback([&] { chosen = [&] { out << completion_script(app, shell); }; });

  CLI::App* version_command = app.add_subcommand("version", "Print version and commit");
  bool version_json = false;
  version_command->add_flag("--json", version_json, "Machine-readable output");
  version_command->callback([&] {
    chosen = [&] {
      if (version_json) {
        out << R"({"schema_version": 1, "version": ")" << version() << R"(", "commit": ")" << commit() << "\"}\n";
      } else {
        out << "foretoken " << version() << " (" << commit() << ")\n";
      }
    };
  });

  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // CLI11 takes its vector from the back
    app.parse(reversed);
  } catch (const CLI::ParseError& error) {
    return app.exit(error, out, err) == 0 ? 0 : static_cast<int>(ErrorCode::invalid_input);
  }

  try {
    chosen();
    out.flush();
    if (!out)
      throw Error(ErrorCode::invalid_input, "standard output: cannot be written; check the pipe or the free space");
    return 0;
  } catch (const Error& error) {
    err << "foretoken: " << error.what() << "\n";
    return static_cast<int>(error.code());
  } catch (const std::bad_alloc&) {
    err << "foretoken: out of memory on this computer; make the scenario smaller (ranks, micro-batches, steps)\n";
    return static_cast<int>(ErrorCode::internal);
  } catch (const std::exception& error) {
    err << "foretoken: internal error: " << error.what() << "; please report it\n";
    return static_cast<int>(ErrorCode::internal);
  }
}

}  // namespace foretoken::cli
