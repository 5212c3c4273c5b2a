#include "tools/cli/topology_commands.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>

#include "calibrate/import/log_formats.hpp"
#include "tools/cli/common_options.hpp"
#include "tools/cli/validators.hpp"

namespace foretoken::cli {
namespace {

void add_topology_file(CLI::App& command, TopologyOptions& options) {
  add_file(command, "topology", options.topology, "Topology file")->required();
  command.add_flag("--json", options.json, "Machine-readable output");
}

CLI::App* add_show(CLI::App& topology, TopologyShowOptions& options) {
  CLI::App* show = topology.add_subcommand(
      "show",
      "Draw what a topology file comes to: fabric, node, and each kind of cable with its rate\n"
      "What is cabled alike stands once, with how often it is there; rates marked * are assumed");
  show->footer(
      "Examples: foretoken topology show topologies/hgx-h100-32nodes-rails-ndr400.json\n"
      "          foretoken topology show topologies/hgx-h100-8nodes-ndr400.json --svg cluster.svg");
  add_topology_file(*show, options);
  add_file(*show, "--svg", options.svg, "Also store a drawing in FILE, whole or not at all");
  show->add_flag("--links", options.links, "Also every link, a line each");
  return show;
}

CLI::App* add_lint(CLI::App& topology, TopologyLintOptions& options) {
  CLI::App* lint = topology.add_subcommand(
      "lint",
      "What is suspicious about a topology file, though it can be read: where, what and why\n"
      "NICs faster than their slot, bits for bytes, oversubscription that is not stated, more ports than switches "
      "have,\n"
      "cables in the wrong rail, latencies of zero, a calibration of another GPU, faults that name nothing");
  lint->footer(
      "Examples: foretoken topology lint topologies/hgx-h100-8nodes-ndr400.json\n"
      "          foretoken topology lint cluster.json --scenario scenario.json\n"
      "Exit code 4 if anything is found.");
  add_topology_file(*lint, options);
  add_file(*lint, "--scenario", options.scenario, "Also whether its faults hit anything, and whom they part");
  return lint;
}

// The formats that describe machines.
std::vector<std::string> topology_format_names() {
  std::vector<std::string> names;
  for (const auto& [format, name] : calibrate::kLogFormatNames)
    if (calibrate::is_topology(format)) names.emplace_back(name);
  return names;
}

CLI::App* add_import(CLI::App& topology, FabricImportOptions& options) {
  CLI::App* import = topology.add_subcommand(
      "import",
      "Make a topology file of NCCL's topology file (NCCL_TOPO_DUMP_FILE), of what nvidia-smi topo -m prints, or of "
      "the\n"
      "fabric that ibnetdiscover found, whose nodes are given by --node-from or --set\n"
      "Each number says under `sources` whether it is the file's or assumed; what is in neither is asked for with "
      "--set");
  import->footer(
      "Examples: foretoken topology import nccl-topology.xml --set nodes=4 --out cluster.json\n"
      "          nvidia-smi topo -m | foretoken topology import - --set nic='400 Gb/s' --set pcie='63 GB/s' --set "
      "sm=90 "
      "--out cluster.json\n"
      "          ibnetdiscover | foretoken topology import - --node-from nccl-topology.xml --out cluster.json\n"
      "          foretoken simulate scenarios/paper/large-ep64.json --topology cluster.json");
  add_file(*import, "file", options.file, "NCCL's XML, the matrix, or the fabric; - is standard input")->required();
  const std::vector<std::string> names = topology_format_names();
  import->add_option("--format", options.format, "What the file is (default: told from it)")
      ->check(CLI::IsMember(names))
      ->type_name(fmt::format("{{{}}}", fmt::join(names, ",")));
  add_file(*import, "--node-from", options.node_from, "Of a fabric: NCCL's XML or the matrix of one of its nodes");
  import
      ->add_option("--set", options.settings,
                   "What the file does not say: nodes, gpus, nic, pcie, nvlink, sm, device, calibration, name, "
                   "switch_latency, hosts, hcas (repeatable)")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->take_all();
  add_file(*import, "--out", options.out, "Write the topology to FILE, whole or not at all");
  return import;
}

}  // namespace

void add_topology_commands(CLI::App& app, TopologyCommands& options, std::function<void()>& chosen, std::ostream& out,
                           std::ostream& err) {
  CLI::App* topology = app.add_subcommand(
      "topology", "Show, check and import machines; with a file alone, its nodes and every link, a line each");
  topology->footer(
      "Examples: foretoken topology show topologies/hgx-h100-8nodes-ndr400.json --svg cluster.svg\n"
      "          foretoken topology lint cluster.json\n"
      "          foretoken topology import nccl-topology.xml --out cluster.json\n"
      "          foretoken topology topologies/lab/4x2.json");
  add_file(*topology, "topology", options.plain.topology, "Topology file");
  topology->add_flag("--json", options.plain.json, "Machine-readable output");
  add_show(*topology, options.show)->callback([&] { chosen = [&] { run_topology_show(options.show, out); }; });
  add_lint(*topology, options.lint)->callback([&] { chosen = [&] { run_topology_lint(options.lint, out); }; });
  add_import(*topology, options.import)->callback([&] {
    chosen = [&] {
      if (options.import.node_from.empty()) run_topology_import(options.import, out, err);
      else run_fabric_import(options.import, out, err);
    };
  });
  // CLI11 calls a subcommand's callback before that of the command above it.
  topology->callback([&, topology] {
    if (!topology->get_subcommands().empty()) return;
    if (options.plain.topology.empty()) throw CLI::RequiredError("topology");
    chosen = [&] { run_topology(options.plain, out); };
  });
}

}  // namespace foretoken::cli
