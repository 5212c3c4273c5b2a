#include "tests/plan/plan_files.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "foretoken_places.hpp"
#include "plan/machine/topology.hpp"

namespace foretoken::plan::test {

using Json = nlohmann::json;

std::string repository_file(const std::string& path) { return std::string(FORETOKEN_SOURCE_DIR) + "/" + path; }

std::string text_of_file(const std::string& path) {
  std::ifstream in(repository_file(path), std::ios::binary);
  EXPECT_TRUE(in) << "cannot open " << path;
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

Json base_scenario(const std::string& base) {
  Json scenario = Json::parse(text_of_file("tests/data/plan/" + base + ".json"));
  scenario["cluster"]["topology"] = repository_file("tests/data/plan/machine.json");
  return scenario;
}

Json edited(Json scenario, const std::vector<Edit>& edits) {
  for (const auto& [pointer, json] : edits) {
    const Json::json_pointer place(pointer);
    if (json.empty()) scenario.at(place.parent_pointer()).erase(place.back());
    else scenario[place] = Json::parse(json);
  }
  return scenario;
}

Plan plan_of(const JsonDocument& document) {
  const Scenario scenario = parse_scenario(document);
  const Topology topology =
      read_topology(scenario.cluster.topology, TopologyOverrides{scenario.cluster.nodes, scenario.cluster.nic});
  return make_plan(scenario, build_machine(topology));
}

Plan plan_of_text(const std::string& text, const std::string& name) {
  return plan_of(JsonDocument::from_text(text, name));
}

Plan plan_of_base(const std::string& base, const std::vector<Edit>& edits) {
  return plan_of_text(edited(base_scenario(base), edits).dump(2));
}

}  // namespace foretoken::plan::test
