#include "tests/topology/files.hpp"

#include <fmt/format.h>
#include <unistd.h>

namespace foretoken::topology {

plan::Topology topology_of(const nlohmann::json& json) {
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / fmt::format("foretoken_topology_test_{}.json", ::getpid());
  std::ofstream(file) << json.dump();
  plan::Topology topology = plan::read_topology(file);
  std::filesystem::remove(file);
  return topology;
}

nlohmann::json shipped(const std::string& name) {
  nlohmann::json json = json_of("topologies/" + name + ".json");
  for (const char* key : {"device", "calibration"})
    if (json.contains(key))
      json[key] = std::filesystem::absolute("topologies/" + json[key].get<std::string>()).string();
  return json;
}

}  // namespace foretoken::topology
