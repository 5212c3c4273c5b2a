#include "tools/cli/scenario_commands.hpp"

#include <CLI/CLI.hpp>

#include "plan/scenario/limits.hpp"
#include "tools/cli/common_options.hpp"
#include "tools/cli/validators.hpp"

namespace foretoken::cli {
namespace {

CLI::App* add_plan(CLI::App& app, PlanOptions& options) {
  CLI::App* plan =
      app.add_subcommand("plan", "Show the program that every rank runs in a step, and what memory it needs");
  plan->footer("Example: foretoken plan scenarios/paper/large-ep64.json --text");
  add_scenario_options(*plan, options);
  plan->add_flag("--text", options.text, "The whole program by role, one op per line");
  plan->add_flag("--check-nccl", options.check_nccl,
                 "Also prove that the calls of NCCL of all ranks match in order, counts and groups, and cannot "
                 "deadlock; exit code 4 if not");
  return plan;
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

CLI::App* add_simulate(CLI::App& app, SimulateOptions& options, IntervalOptions& interval) {
  CLI::App* simulate = app.add_subcommand("simulate", "Predict TPS and TPOT of scenarios from a calibration");
  simulate->footer(
      "Examples: foretoken simulate scenarios/paper/*.json --set workload.context=512\n"
      "          foretoken simulate scenarios/paper/large-ep64.json --explain --sensitivity --trace timeline.json\n"
      "          foretoken simulate scenarios/paper/large-ep64.json --layers-sampled 8");
  add_scenario_options(*simulate, options);
  add_file(*simulate, "--calibration", options.calibration, "Use this calibration instead of the topology's");
  simulate
      ->add_option("--framework", options.framework,
                   "Whose kernels to predict, among those that the calibration has: vllm, sglang, trtllm")
      ->type_name("NAME");
  simulate
      ->add_option("--communicator", options.communicator,
                   "On a host: who carries messages, among those that the calibration has: threads, mpi")
      ->type_name("NAME");
  add_accuracy(*simulate, options.accuracy);
  simulate
      ->add_option("--layers-sampled", options.layers_sampled,
                   "Simulate only N of the model's layers, which stand for all, and state the error that this makes")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{1}, plan::kLayersMax));
  add_time_limit(*simulate, options.time_limit);
  add_interval_options(*simulate, interval);
  simulate->add_flag("--brief", options.brief, "One line per scenario, without the breakdown");
  simulate->add_flag("--choices", options.choices,
                     "Also simulate each option of what the scenario declares as open, beside what was published");
  simulate->add_flag("--explain", options.explain,
                     "Also say why: the critical path across ranks, who was late, what the links carried");
  simulate->add_flag("--sensitivity", options.sensitivity,
                     "Also simulate with each resource 10 % better, one at a time: what to buy next");
  add_file(*simulate, "--trace", options.trace,
           "Also store the timeline in FILE.json, for ui.perfetto.dev or chrome://tracing");
  add_file(*simulate, "--nccl-choices", options.nccl_choices,
           "Collectives by the algorithms that NCCL chose in this result of run --backend cuda --nccl-chooses");
  return simulate;
}

CLI::App* add_run(CLI::App& app, RunOptions& options) {
  CLI::App* run = app.add_subcommand(
      "run",
      "Execute a scenario live on this computer's CPUs: ranks are threads, or processes under mpirun; or on GPUs");
  run->footer(
      "Example: mpirun -n 16 foretoken run scenario.json --set 'model.dtype={\"weights\":\"fp32\"}'\n"
      "Ctrl-C, or SIGINT to any rank, ends it between two steps, on all ranks after the same one, with what was "
      "measured "
      "until then (exit code 130); a second one ends it at once. mpirun kills its ranks a second after it has told "
      "them; "
      "where steps or reports take longer, send SIGINT to a rank instead.");
  add_scenario_options(*run, options);
  run->add_option("--backend", options.backend,
                  "host: on CPUs, in fp32 (default); cuda: on GPUs, one process per GPU, messages by NCCL")
      ->check(CLI::IsMember({"host", "cuda"}))
      ->type_name("NAME");
  run->add_flag("--nccl-chooses", options.nccl_chooses,
                "With --backend cuda: NCCL chooses the algorithms of collectives; the result records which");
  run->add_option("--deadline", options.deadline_seconds,
                  "End the run with exit code 6 when nothing has moved for this many seconds (default 30)")
      ->check(CLI::Range(0.1, 86400.0))
      ->type_name("SECONDS");
  run->add_option("--busy-max", options.busy_max,
                  "End with exit code 5 if more than this share of the computer's core time was used, by anybody: then "
                  "no network was the bottleneck (default 1)")
      ->check(CLI::Range(0.0, 1.0))
      ->type_name("SHARE");
  run->add_option("--experts", options.experts,
                  "GPUs: experts' products one by one (each), as one padded batch, or as the calibration finds faster")
      ->check(CLI::IsMember({"auto", "each", "batch"}));
  add_file(*run, "--routing-out", options.routing_out,
           "Where routing.kind is \"model\": store what the router decided in FILE, for routing.kind "
           "\"recorded\"");
  return run;
}

}  // namespace

void add_scenario_commands(CLI::App& app, ScenarioCommands& options, std::function<void()>& chosen, std::ostream& out,
                           std::ostream& err) {
  add_plan(app, options.plan)->callback([&] { chosen = [&] { run_plan(options.plan, out); }; });
  add_launch(app, options.launch)->callback([&] { chosen = [&] { run_launch(options.launch, out); }; });
  add_simulate(app, options.simulate, options.interval)->callback([&] {
    chosen = [&] { run_simulate(options.simulate, options.interval, out, err); };
  });
  add_run(app, options.run)->callback([&] { chosen = [&] { run_run(options.run, out); }; });
}

}  // namespace foretoken::cli
