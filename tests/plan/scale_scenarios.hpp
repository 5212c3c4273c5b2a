// Scenarios of 16,384 ranks: a model of DeepSeek-V3's shape on 2,048 nodes of 8 GPUs, spread in three ways.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace foretoken::plan::test {

struct ScaleScenario {
  std::string name;
  std::string deployment;  // JSON
  std::size_t roles = 0;   // distinct roles that have to come out
  [[nodiscard]] std::string text() const;
};

inline void PrintTo(const ScaleScenario& scenario, std::ostream* out) { *out << scenario.name; }

std::vector<ScaleScenario> scale_scenarios();

}  // namespace foretoken::plan::test
