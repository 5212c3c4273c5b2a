// A sweep's table: CSV, JSON, text.
#pragma once

#include <string>
#include <vector>

#include "tools/planning/space.hpp"

namespace foretoken::cli {

struct SweepTable {
  std::string scenario;  // its name
  const planning::Space& space;
  const std::vector<std::string>& results;  // [point] as planning::point_json()
};

/// A line per point, in order: the fields' values, the figures, and the reason where there are none.
std::string sweep_csv(const SweepTable& table);
/// tools/cli/sweep.schema.json says what it holds.
std::string sweep_json(const SweepTable& table);
/// All points if they are few, else the best by TPS per GPU; and why others cannot be.
std::string sweep_text(const SweepTable& table);

}  // namespace foretoken::cli
