// foretoken topology import: topology files made of what other tools say about a node or a fabric.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <set>
#include <string>

#include "calibrate/import/ibnetdiscover.hpp"
#include "calibrate/import/log_formats.hpp"
#include "calibrate/import/node_shape.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/load.hpp"
#include "tools/cli/shipped_data.hpp"
#include "tools/cli/topology_commands.hpp"
#include "tools/cli/write_file.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::ordered_json;

struct NamedLog {
  std::string text;
  std::string name;

  explicit NamedLog(const std::filesystem::path& file)
      : text(read_log(file)), name(file == "-" ? "stdin" : file.string()) {}
  [[nodiscard]] calibrate::LogPlace place() const { return {text, name}; }
};

Json node_topology(calibrate::LogFormat format, const calibrate::LogPlace& log, const calibrate::TopologyFiles& files,
                   calibrate::ImportSettings& settings, std::set<std::string>& notes) {
  const calibrate::NodeShape shape = calibrate::read_node_shape(format, log);
  notes = shape.notes;
  return calibrate::topology_of(shape, log, files, settings);
}

Json fabric_topology(const calibrate::LogPlace& log, const std::filesystem::path& node_from,
                     const calibrate::TopologyFiles& files, calibrate::ImportSettings& settings,
                     std::set<std::string>& notes) {
  if (node_from.empty()) return calibrate::fabric_topology_of(log, std::nullopt, files, settings, notes);
  const NamedLog node(node_from);
  const calibrate::LogFormat format = calibrate::recognise_log(node.place());
  if (!calibrate::is_topology(format) || calibrate::is_fabric(format))
    throw input_error("--node-from " + node.name, "", "does not describe what a node has inside",
                      "give NCCL's topology file, or what nvidia-smi topo -m prints");
  return calibrate::fabric_topology_of(log, calibrate::NodeFile{format, node.place()}, files, settings, notes);
}

void import_topology(const TopologyImportOptions& options, const std::filesystem::path& node_from, std::ostream& out,
                     std::ostream& err) {
  if (!options.out.empty()) {
    refuse_to_replace(options.out, options.file);
    refuse_to_replace(options.out, node_from);
    require_writable(options.out);
  }
  const NamedLog file(options.file);
  const calibrate::LogPlace log = file.place();
  const calibrate::LogFormat format = calibrate::log_format(log, options.format);
  if (!calibrate::is_topology(format))
    throw input_error(log.name, "", "holds measurements and describes no machine", "use `foretoken import`");
  calibrate::ImportSettings settings(options.settings);
  if (!calibrate::is_fabric(format) && !node_from.empty())
    throw input_error("--node-from " + node_from.string(), "", log.name + " describes a node itself",
                      "leave it out, or give a fabric to import");
  const std::filesystem::path folder =
      options.out.empty() ? std::filesystem::current_path() : std::filesystem::absolute(options.out).parent_path();
  const auto from_there = [&](const std::filesystem::path& shipped) {
    const std::filesystem::path relative = std::filesystem::relative(shipped, folder);
    return relative.empty() ? std::filesystem::absolute(shipped).string() : relative.generic_string();
  };
  const calibrate::TopologyFiles files{from_there(shipped_file("topologies/devices/h100-sxm5-80gb.json")),
                                       from_there(shipped_file("topologies/calibrations/h100-sxm.json"))};
  std::set<std::string> notes;
  const Json json = calibrate::is_fabric(format) ? fabric_topology(log, node_from, files, settings, notes)
                                                 : node_topology(format, log, files, settings, notes);
  for (const std::string& note : notes) err << "foretoken: " << note << "\n";
  const std::string topology = json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  if (options.out.empty()) out << topology;
  else write_file(options.out, topology);
}

}  // namespace

void run_topology_import(const TopologyImportOptions& options, std::ostream& out, std::ostream& err) {
  import_topology(options, {}, out, err);
}

void run_fabric_import(const FabricImportOptions& options, std::ostream& out, std::ostream& err) {
  import_topology(options, options.node_from, out, err);
}

}  // namespace foretoken::cli
