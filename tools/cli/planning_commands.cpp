#include "tools/cli/planning_commands.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "tools/cli/common_options.hpp"
#include "tools/cli/validators.hpp"

namespace foretoken::cli {
namespace {

void add_evaluation(CLI::App& command, EvaluationOptions& options) {
  add_file(command, "--calibration", options.calibration, "Use this calibration instead of the topology's");
  add_file(command, "--errors", options.errors,
           "How far predictions of ops are off (kind model_errors), for 90 % intervals (default: as shipped for the "
           "calibration)");
  command
      .add_option("--framework", options.framework,
                  "Whose kernels to predict, among those that the calibration has: vllm, sglang, trtllm")
      ->type_name("NAME")
      ->check(kNotEmpty);
  command
      .add_option("--accuracy", options.accuracy,
                  fmt::format("Share links to this accuracy, for speed: makespans come out within about twice this; 0: "
                              "exact (default {})",
                              options.accuracy))
      ->type_name("ERROR")
      ->check(CLI::Range(0.0, 0.1))
      ->check(kNotNan);
  command
      .add_option("--time-limit", options.time_limit,
                  "Refuse a variant that would take longer to share links for, by a rough estimate (default 600)")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.0, 1e9))
      ->check(kNotNan);
}

void add_topology(CLI::App& command, EvaluationOptions& options) {
  add_file(command, "--topology", options.topology, "Use this machine instead of the scenario's cluster.topology");
}

void add_outputs(CLI::App& command, bool& json, std::filesystem::path& out) {
  command.add_flag("--json", json, "Machine-readable output");
  add_file(command, "--out", out, "Also store the JSON in FILE, whole or not at all");
}

CLI::App* add_sweep(CLI::App& app, SweepOptions& options) {
  CLI::App* sweep = app.add_subcommand(
      "sweep",
      "Simulate a scenario with every combination of values that some of its fields take\n"
      "FIELD=VALUE,VALUE,...: a field of the scenario as in simulate --set, and its values; those in braces, brackets\n"
      "      or quotes may hold commas. 1..4 is 1,2,3,4; 0..100+50 is 0,50,100; 8..64*2 is 8,16,32,64\n"
      "A combination that cannot be (memory, divisibility) is a row with its reason. The last field moves fastest.\n"
      "Runs on all cores, or under mpirun on its processes; the table is the same, byte for byte");
  sweep->footer(
      "Examples: foretoken sweep scenarios/paper/large-ep64.json --set deployment.experts.ep=8..64*2 --set "
      "'cluster.nic=200 Gb/s,400 Gb/s'\n"
      "          foretoken sweep scenarios/paper/large-ep64.json --set workload.context=0..4096+32 --csv table.csv "
      "--journal sweep.journal\n"
      "          mpirun --enable-recovery -n 16 foretoken sweep scenarios/paper/large-ep64.json --set "
      "workload.sequences=64..1024+64 --out sweep.json");
  add_file(*sweep, "scenario", options.scenario, "Scenario file")->required();
  add_set(*sweep, options.set, "FIELD=VALUES", "Values of a field, with commas; one value fixes it (repeatable)");
  add_topology(*sweep, options);
  add_evaluation(*sweep, options);
  sweep->add_option("--threads", options.threads, "To simulate on (default: one per core; under mpirun one a process)")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1024}));
  add_file(*sweep, "--journal", options.journal,
           "Keep each point that is done in FILE; the same command goes on from there after a kill");
  add_file(*sweep, "--csv", options.csv, "Also store the table in FILE as CSV, whole or not at all");
  add_outputs(*sweep, options.json, options.out);
  return sweep;
}

CLI::App* add_whatif(CLI::App& app, WhatifOptions& options) {
  CLI::App* whatif = app.add_subcommand(
      "whatif",
      "What a change of a scenario does: figures before and after with the ratio's 90 % interval, the critical path\n"
      "before and after, and what each resource would bring then");
  whatif->footer(
      "Examples: foretoken whatif scenarios/paper/large-ep64.json --set 'cluster.nic=200 Gb/s'\n"
      "          foretoken whatif scenarios/paper/large-ep64.json --set deployment.experts.ep=16 --set "
      "workload.context=512 --json");
  add_file(*whatif, "scenario", options.scenario, "Scenario file")->required();
  add_set(*whatif, options.set, "FIELD=VALUE", "What to change (repeatable)");
  add_topology(*whatif, options);
  add_evaluation(*whatif, options);
  add_outputs(*whatif, options.json, options.out);
  return whatif;
}

CLI::App* add_recommend(CLI::App& app, RecommendOptions& options) {
  CLI::App* recommend = app.add_subcommand(
      "recommend",
      "Which deployment serves a model best on so many GPUs: tensor, expert, pipeline and data parallelism, "
      "placement,\n"
      "micro-batches, overlap, dispatch and batch. Prints the front of tokens/s per GPU against tokens/s per user. "
      "Deep "
      "models are\n"
      "simulated by some layers that stand for all. Exit code 3 with the nearest where nothing fits");
  recommend->footer(
      "Examples: foretoken recommend --model scenarios/paper/large-ep64.json --cluster "
      "topologies/hgx-h100-8nodes-ndr400.json --gpus 64 --tpot 5ms\n"
      "          foretoken recommend --model model.json --cluster topologies/hgx-h100-4nodes-ndr400.json --gpus 32 "
      "--tpot 50ms --price '2.50 USD/h' --watts '1000 W'");
  add_file(*recommend, "--model", options.model,
           "A scenario, a file of scenarios/models, or a Hugging Face config.json")
      ->required();
  add_file(*recommend, "--cluster", options.cluster, "Topology, of which as many nodes as are needed are taken")
      ->required();
  recommend->add_option("--gpus", options.gpus, "To serve on: whole nodes, or fewer than one has")
      ->required()
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{131'072}));
  recommend->add_option("--tpot", options.tpot, "Mean time per output token, at most")
      ->type_name("TIME")
      ->check(kNotEmpty);
  recommend->add_option("--rate", options.rate, "Tokens per second of all GPUs, at least")->type_name("TOKENS");
  add_set(*recommend, options.set, "KEY=VALUE",
          "Override a field of the model's file: --set model.dtype.weights=fp8 (repeatable)");
  recommend->add_option("--context", options.context, "Tokens in the KV cache (default: the file's, else 1024)")
      ->type_name("TOKENS")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 24));
  recommend->add_option("--price", options.price, "Of a GPU, for the cost of a million tokens: '2.50 USD/h'")
      ->type_name("PRICE")
      ->check(kNotEmpty);
  recommend->add_option("--watts", options.watts, "Of a GPU, for the energy of a token: '700 W'")
      ->type_name("POWER")
      ->check(kNotEmpty);
  recommend->add_option("--simulations", options.simulations, "At most; what is left out is counted (default 200)")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1'000'000}));
  recommend->add_flag("--exhaustive", options.exhaustive, "Simulate what bounds exclude too");
  add_evaluation(*recommend, options);
  add_outputs(*recommend, options.json, options.out);
  return recommend;
}

}  // namespace

void add_planning_commands(CLI::App& app, PlanningOptions& options, std::function<void()>& chosen, std::ostream& out,
                           std::ostream& err) {
  add_sweep(app, options.sweep)->callback([&] { chosen = [&] { run_sweep(options.sweep, out, err); }; });
  add_whatif(app, options.whatif)->callback([&] { chosen = [&] { run_whatif(options.whatif, out, err); }; });
  add_recommend(app, options.recommend)->callback([&] {
    chosen = [&] { run_recommend(options.recommend, out, err); };
  });
}

}  // namespace foretoken::cli
