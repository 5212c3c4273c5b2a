// Topologies for tests: shipped ones, and those with a member changed.
#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "plan/machine/topology.hpp"

namespace foretoken::topology {

inline nlohmann::json json_of(const std::filesystem::path& file) {
  std::ifstream in(file);
  return nlohmann::json::parse(in);
}

/// Reads a topology whose text is the JSON. What it names is named by absolute paths.
plan::Topology topology_of(const nlohmann::json& json);

/// topologies/NAME.json, with its files named by absolute paths.
nlohmann::json shipped(const std::string& name);

}  // namespace foretoken::topology
