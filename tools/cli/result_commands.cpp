#include "tools/cli/result_commands.hpp"

#include <CLI/CLI.hpp>

#include "tools/cli/common_options.hpp"
#include "tools/cli/validators.hpp"

namespace foretoken::cli {
namespace {

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
  add_file(*compare, "A", options.a, "Result, as stored by simulate --out or run --out");
  add_file(*compare, "B", options.b, "Result of the same plan, or of a serving benchmark, to hold it against");
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
  add_file(*compare, "--trace", options.trace, "Also store both timelines in FILE.json, for ui.perfetto.dev");
  add_file(*compare, "--csv", options.csv, "Also store the ops of both sides in FILE, one line each");
  add_file(*compare, "--errors", options.errors,
           "How far predictions of ops are off (kind model_errors), for 90 % intervals (default: as shipped "
           "for A's calibration)");
  compare
      ->add_option("--suite", options.suite,
                   "Instead of A and B: a folder of published measurements, each held against its prediction")
      ->type_name("DIR")
      ->check(kNotEmpty);
  compare->add_flag("--gate", options.gate,
                    "With --suite: exit with 4 if a family is worse than accepted.json of the folder allows");
  add_file(*compare, "--topology", options.predict.topology, "With --suite: the machine (default: as shipped)");
  add_file(*compare, "--calibration", options.predict.calibration, "With --suite: instead of the topology's");
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
  add_file(*explain, "result", options.result, "Result, as stored by simulate --out or run --out")->required();
  add_file(*explain, "--topology", options.topology, "Of a prediction: the machine, where it is not found by itself");
  add_file(*explain, "--calibration", options.calibration,
           "Of a prediction: its calibration, if it is not the topology's");
  explain->add_flag("--json", options.json, "Machine-readable output");
  return explain;
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
  add_set(*audit, options.overrides, "KEY=VALUE",
          "Override a field of every scenario: --set routing.seed=2 (repeatable)");
  add_file(*audit, "--calibration", options.calibration, "Use this calibration instead of the topologies'");
  audit->add_option("--framework", options.framework, "Whose kernels to predict: vllm, sglang, trtllm")
      ->type_name("NAME");
  audit->add_flag("--json", options.json, "Machine-readable output");
  add_file(*audit, "--out", options.out, "Also store the JSON in FILE, whole or not at all");
  return audit;
}

}  // namespace

void add_result_commands(CLI::App& app, ResultCommands& options, std::function<void()>& chosen, std::ostream& out,
                         std::ostream& err) {
  add_compare(app, options.compare)->callback([&] {
    chosen = [&] {
      if (options.compare.suite.empty()) run_compare(options.compare, out, err);
      else run_suite(options.compare, out, err);
    };
  });
  add_explain(app, options.explain)->callback([&] { chosen = [&] { run_explain(options.explain, out, err); }; });
  add_audit(app, options.audit)->callback([&] { chosen = [&] { run_audit(options.audit, out, err); }; });
}

}  // namespace foretoken::cli
