// foretoken topology: what a topology file comes to, node by node and link by link, for people and for tools/netlab;
// and topology files made of what other tools say about a node.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <ostream>

#include "calibrate/import/log_formats.hpp"
#include "calibrate/import/node_shape.hpp"
#include "plan/machine/topology.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/load.hpp"
#include "tools/cli/shipped_data.hpp"
#include "tools/cli/write_file.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::ordered_json;

// A link and its way back are one after the other; both are shown.
Json links_json(const plan::Machine& machine) {
  Json links = Json::array();
  for (const plan::Link& link : machine.links())
    if (!machine.is_host() || link.link_class == LinkClass::infiniband)
      links.push_back({{"from", machine.vertex_name(link.from)},
                       {"to", machine.vertex_name(link.to)},
                       {"bytes_per_second", link.bandwidth.value()},
                       {"latency_us", link.latency.value() * 1e6}});
  return links;
}

}  // namespace

void run_topology(const TopologyOptions& options, std::ostream& out) {
  const plan::Topology topology = plan::read_topology(options.topology);
  const plan::Machine machine = plan::build_machine(topology);
  Json json{{"schema_version", 1},         {"name", machine.name()},
            {"nodes", machine.nodes()},    {"ranks_per_node", machine.gpus() / machine.nodes()},
            {"host", machine.is_host()},   {"emulated", topology.emulated},
            {"links", links_json(machine)}};
  if (machine.has_core_shares()) json["core_shares"] = topology.core_shares;
  if (options.json) {
    out << json.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
    return;
  }
  out << fmt::format("topology {}\nnodes {}\nranks_per_node {}\nemulated {}\n", machine.name(), machine.nodes(),
                     machine.gpus() / machine.nodes(), topology.emulated ? "yes" : "no");
  for (std::size_t node = 0; node < topology.core_shares.size(); ++node)
    out << fmt::format("share node{} {:g} cores\n", node, topology.core_shares[node]);
  for (const Json& link : json["links"])
    out << fmt::format("link {} {} {:.0f} B/s {:g} us\n", link["from"].get<std::string>(),
                       link["to"].get<std::string>(), link["bytes_per_second"].get<double>(),
                       link["latency_us"].get<double>());
}

void run_topology_import(const TopologyImportOptions& options, std::ostream& out, std::ostream& err) {
  if (!options.out.empty()) {
    refuse_to_replace(options.out, options.file);
    require_writable(options.out);
  }
  const std::string text = read_log(options.file);
  const calibrate::LogPlace log{text, options.file == "-" ? "stdin" : options.file.string()};
  const calibrate::LogFormat format = calibrate::log_format(log, options.format);
  if (!calibrate::is_topology(format))
    throw input_error(log.name, "", "holds measurements and describes no machine", "use `foretoken import`");
  calibrate::ImportSettings settings(options.settings);
  const calibrate::NodeShape shape = calibrate::read_node_shape(format, log);
  const std::filesystem::path folder =
      options.out.empty() ? std::filesystem::current_path() : std::filesystem::absolute(options.out).parent_path();
  const auto from_there = [&](const std::filesystem::path& file) {
    const std::filesystem::path relative = std::filesystem::relative(file, folder);
    return relative.empty() ? std::filesystem::absolute(file).string() : relative.generic_string();
  };
  const calibrate::TopologyFiles files{from_there(shipped_file("topologies/devices/h100-sxm5-80gb.json")),
                                       from_there(shipped_file("topologies/calibrations/h100-sxm.json"))};
  const std::string topology =
      calibrate::topology_of(shape, log, files, settings).dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  for (const std::string& note : shape.notes) err << "foretoken: " << note << "\n";
  if (options.out.empty()) out << topology;
  else write_file(options.out, topology);
}

}  // namespace foretoken::cli
