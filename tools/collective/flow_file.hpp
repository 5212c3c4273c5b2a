// Explicit flows: a file of them in, the time at which each ends out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "sim/collective/alone.hpp"

namespace foretoken::collective {

/// A table with commas and the columns source, destination (ranks from 0), bytes and start_us; '#' begins a comment
/// line.
/// @param ranks  that there are
/// @throws Error{invalid_input} naming file and line
std::vector<sim::RequestedFlow> read_flows(const std::filesystem::path& file, std::int32_t ranks);

struct FlowReport {
  std::string machine;
  std::string calibration;
  std::int32_t ranks = 0;
  bool zero_latency = false;
  double accuracy = 0;
  std::vector<sim::RequestedFlow> flows;
  sim::FlowTimes times;
};

/// The same table with one more column, completion_us.
std::string flows_text(const FlowReport& report);
/// As tools/cli/collective.schema.json describes.
nlohmann::ordered_json flows_json(const FlowReport& report);

}  // namespace foretoken::collective
