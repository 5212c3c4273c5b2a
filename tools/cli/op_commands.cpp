#include "tools/cli/op_commands.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "calibrate/import/log_formats.hpp"
#include "tools/cli/common_options.hpp"
#include "tools/cli/validators.hpp"

namespace foretoken::cli {
namespace {

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
  add_file(*collective, "--topology", options.topology, "The machine");
  add_file(*collective, "--calibration", options.calibration, "Use this calibration instead of the topology's");
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
  add_file(*collective, "--flows", options.flows,
           "Instead of an operation: a table source,destination,bytes,start_us; gives each flow's completion");
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
  add_file(*collective, "--out", options.out, "Also store the JSON in FILE, whole or not at all");
  return collective;
}

void add_predict_options(CLI::App& command, PredictOptions& options) {
  add_file(command, "ops", options.ops, "Ops, one JSON object per line (default: standard input)");
  add_file(command, "--calibration", options.calibration, "Use this calibration instead of the topology's");
  add_file(command, "--topology", options.topology, "The machine (default: HGX H100 nodes, as shipped)");
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
  add_file(*model, "model", options.file, "Whose size to show")->required();
  add_set(*model, options.overrides, "KEY=VALUE",
          "Override a field of the scenario: --set model.dtype.kv_cache=fp8 (repeatable)");
  model->add_flag("--json", options.json, "Machine-readable output");
  return model;
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
  add_file(*import, "file", options.files, "Log(s); - is standard input")->required();
  const std::vector<std::string> names = log_format_names();
  import->add_option("--format", options.format, "What the logs are (default: told from the file)")
      ->check(CLI::IsMember(names))
      ->type_name(fmt::format("{{{}}}", fmt::join(names, ",")));
  add_set(*import, options.settings, "KEY=VALUE", "What a log does not say: --set tokens=128 (repeatable)");
  import->add_flag("--keep-good", options.keep_good, "Leave out what is damaged instead of refusing the log");
  import->add_flag("--json", options.json, "One JSON document: what became of each file, and the ops");
  add_file(*import, "--out", options.out, "Write the lines to FILE, whole or not at all");
  add_file(*import, "--links", options.links,
           "Also write a calibration to FILE whose links have the bandwidth that nvbandwidth and perftest found");
  add_file(*import, "--calibration", options.calibration, "With --links: all else of it (default: as shipped)");
  return import;
}

}  // namespace

void add_op_commands(CLI::App& app, OpCommands& options, std::function<void()>& chosen, std::ostream& out,
                     std::ostream& err) {
  add_collective(app, options.collective)->callback([&] {
    chosen = [&] { run_collective(options.collective, out, err); };
  });
  add_predict(app, options.predict)->callback([&] {
    chosen = [&] { run_predict(options.predict, std::cin, out, err); };
  });
  add_score(app, options.score)->callback([&] { chosen = [&] { run_score(options.score, std::cin, out, err); }; });
  add_model(app, options.model)->callback([&] { chosen = [&] { run_model(options.model, out); }; });
  add_import(app, options.import)->callback([&] { chosen = [&] { run_import(options.import, out, err); }; });
}

}  // namespace foretoken::cli
